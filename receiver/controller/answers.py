"""What the service answers to those who call it: plain frozen values that `web` writes as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

from receiver.alerts import Payload
from receiver.errors import Rejected
from receiver.reasons import Reason, about

Json: TypeAlias = dict[str, Any]


class Action(StrEnum):
    """What is done about one alert."""

    ROLL_BACK = "roll_back"  # an incident is open: it will be, or has been
    REFUSE = "refuse"
    WAIT = "wait"  # written down; decided again later by any replica
    NOTIFY = "notify"
    NONE = "none"  # nothing to do: resolved, stale, already handled


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was decided about one alert, and why."""

    fingerprint: str
    alertname: str
    action: Action
    reason: Reason
    text: str
    namespace: str = ""
    deployment: str = ""
    incident: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent a webhook. `namespaces`: what its token is limited to; empty: no limit."""

    name: str
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who calls the API by hand. `namespaces`: what the token is limited to.

    `roles` are those of `release.roles`: only a person that Kubernetes knows has any.
    """

    name: str
    namespaces: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A rollback that a person asks for.

    `to_revision`: a number, None for the previous good one. `expect_current`: revision number or
    pod-template-hash. `key` is the Idempotency-Key, `digest` the digest of the body it came with.
    """

    reason: str
    to_revision: int | None = None
    expect_current: str | None = None
    dry_run: bool = False
    force: bool = False
    quarantine: bool = True
    wait: bool = False
    key: str | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWish:
    """A staged release that a person asks for.

    `images` are (container, image) that the canary is to get; none: what it has is released.
    `plan` "": the first of the configuration. `version` is for people, "": the new images.
    """

    reason: str
    images: tuple[tuple[str, str], ...] = ()
    plan: str = ""
    version: str = ""
    force: bool = False
    dry_run: bool = False


# What people can do with a release in progress.
Steering: TypeAlias = Literal["approve", "reject", "pause", "resume", "abort", "promote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to a `Wish`: an HTTP status and what it says."""

    status: int
    body: Json


def refusal(reason: Reason, text: str) -> Json:
    """Return the body of an answer that says no."""
    return {"error": {"reason": reason.value, "message": text}}


def rejected(reason: Reason, status: int) -> Rejected:
    """Return the error of a request that can never be granted as it is."""
    return Rejected(about(reason).text, status=status, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How we are. `status` is `healthy` or `degraded`; each dependency has one word.

    Each sink has a few: how its last delivery ended, and how many notices it made us give up.
    """

    status: str
    dependencies: Mapping[str, str] = field(default_factory=dict)
    sinks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether to send us work. Each check is `ok`, or says what is wrong."""

    ready: bool
    checks: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """All that `web` asks for. Raises the errors of `receiver.errors`."""

    async def receive(
        self, payload: Payload, sender: Sender, *, dry_run: bool = False
    ) -> tuple[Answer, ...]:
        """Decide each alert; what must be remembered is durable when this returns."""
        ...

    async def rollback(self, namespace: str, name: str, wish: Wish, person: Person) -> Outcome:
        """Roll back by hand."""
        ...

    async def begin_release(
        self, namespace: str, name: str, wish: ReleaseWish, person: Person
    ) -> Outcome:
        """Begin a staged release."""
        ...

    async def release(self, namespace: str, name: str) -> Json | None:
        """Return the release in progress, or the last one; None: there was none."""
        ...

    async def release_log(self, namespace: str, name: str) -> str | None:
        """Return the deployment log of that release, in Markdown."""
        ...

    async def steer_release(
        self, namespace: str, name: str, what: Steering, person: Person, why: str
    ) -> Outcome:
        """Approve, reject, pause, resume, abort or promote the release in progress."""
        ...

    async def tick_check(
        self, namespace: str, name: str, item: str, person: Person, note: str, *, done: bool
    ) -> Outcome:
        """Tick a line of the checklists of that release, or untick it."""
        ...

    async def deployments(self, namespaces: tuple[str, ...]) -> list[Json]:
        """Return the opted-in Deployments of these namespaces (empty: all ours), in short."""
        ...

    async def deployment(self, namespace: str, name: str) -> Json | None:
        """Return one Deployment: current revision, history with marks, incidents."""
        ...

    async def incidents(self, namespaces: tuple[str, ...]) -> list[Json]:
        """Return the remembered incidents, newest first."""
        ...

    async def incident(self, incident: str) -> Json | None:
        """Return one incident."""
        ...

    async def scorecard(self, namespaces: tuple[str, ...]) -> list[Json]:
        """Return what shadow mode would have done, for each alert name."""
        ...

    async def stopped(self) -> Json:
        """Return the kill switch: `{stopped, why}`."""
        ...

    async def stop(self, person: Person, why: str) -> Json:
        """Set the kill switch."""
        ...

    async def start(self, person: Person) -> Json:
        """Release the kill switch."""
        ...

    async def breaker(self) -> Json:
        """Return the breaker: `{open, since, count, targets}`."""
        ...

    async def close_breaker(self, person: Person) -> Json:
        """Close the breaker; what it refused stays refused."""
        ...

    async def pause(self, namespace: str, name: str, person: Person, why: str) -> Json:
        """Pause the automation of one Deployment."""
        ...

    async def resume(self, namespace: str, name: str, person: Person) -> Json:
        """Resume the automation of one Deployment."""
        ...

    async def clear(self, namespace: str, name: str, hash_: str, person: Person) -> Json:
        """Take a revision out of quarantine."""
        ...

    def health(self) -> Health:
        """Return how we are, from what was last seen: never waits."""
        ...

    def readiness(self) -> Readiness:
        """Return whether to send us work, from what was last seen: never waits."""
        ...
