"""The settings of staged releases: who approves, and by which plan a version gets to everybody.

What they say together, `plans` judges.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from receiver import journal as jr
from receiver.config.part import Part, setting
from receiver.config.values import CheckId, Duration, Line, RoleName, Text

# Whoever has any credential, or none, is one of these; so is every pod.
_EVERYBODY = frozenset(
    {
        "system:anonymous",
        "system:authenticated",
        "system:serviceaccounts",
        "system:unauthenticated",
    }
)


def _somebody(value: str) -> str:
    if value in _EVERYBODY:
        raise ValueError("is everybody: whoever has a role is named")
    return value


# As the Kubernetes API writes them, so nothing is said about their form.
_Named = Annotated[Text, AfterValidator(_somebody)]


class Role(Part):
    """Who has a role, by names of the Kubernetes API; a user or a group is enough."""

    users: tuple[_Named, ...] = setting(
        (), "who has this role, as Kubernetes names users: `system:serviceaccount:shop:alice`"
    )
    groups: tuple[_Named, ...] = setting((), "or is in one of these groups of Kubernetes")


class HealthCheck(Part):
    """An alert that must not be true."""

    name: Line = Field(description="what it is called, once in its stage: `p95 latency`")
    alert: Line = Field(description="alert whose expression must be false, with data")

    def value(self) -> jr.HealthCheck:
        """Return it as releases know it."""
        return jr.HealthCheck(name=self.name, alert=self.alert)


class Check(Part):
    """A line of a checklist."""

    id: CheckId = Field(description="name to tick it by, once in the plan")
    text: Annotated[Line, Field(max_length=200)] = Field(description="what somebody has to see to")

    def value(self, when: Literal["before", "after"]) -> jr.Item:
        """Return it as releases know it."""
        return jr.Item(id=self.id, text=self.text, when=when)


class Stage(Part):
    """One stage of a plan."""

    name: Line = Field(description="what it is called: `canary`")
    percent: int = Field(
        ge=1,
        le=100,
        strict=True,
        description="share of the pods that run the new version; ascending, the last is 100",
    )
    soak: Duration | None = setting(
        None, "for so long it has to go well; required but for the last, which has `watch`"
    )
    approvals: tuple[Text, ...] = setting(
        (), "roles that have to approve before it begins, each by another person; not the first"
    )
    health_checks: tuple[HealthCheck, ...] = setting((), "asked in this stage, beside the plan's")

    def value(self) -> jr.Stage:
        """Return it as releases know it."""
        return jr.Stage(
            name=self.name,
            percent=self.percent,
            soak=self.soak or timedelta(0),
            approvals=self.approvals,
            health_checks=tuple(check.value() for check in self.health_checks),
        )


class Plan(Part):
    """How a version gets to everybody."""

    name: Line = Field(description="what it is called; the first plan is the usual one")
    stages: tuple[Stage, ...] = Field(description="its stages in order, from two to ten")
    watch: Duration = setting(
        timedelta(hours=4), "for so long it has to go well once everybody has it"
    )
    health_checks: tuple[HealthCheck, ...] = setting((), "asked in every stage")
    before: tuple[Check, ...] = setting((), "checklist that has to be ticked before it begins")
    after: tuple[Check, ...] = setting((), "checklist for when everybody has it")

    def value(self) -> jr.Plan:
        """Return it as releases know it: it is copied into each that begins."""
        before = (check.value("before") for check in self.before)
        after = (check.value("after") for check in self.after)
        return jr.Plan(
            name=self.name,
            stages=tuple(stage.value() for stage in self.stages),
            watch=self.watch,
            health_checks=tuple(check.value() for check in self.health_checks),
            checklist=(*before, *after),
        )


class Release(Part):
    """How versions are released by stages."""

    roles: dict[RoleName, Role] = setting({}, "the roles that approve, by name")
    plans: tuple[Plan, ...] = setting((), "the plans; none: nothing is released by stages")
