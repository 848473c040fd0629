"""The section `release`: what a good one becomes, and all that is wrong with another at once."""

import random  # noqa: TID251 - a seed makes each run the same
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.app import World, _people, _setup
from receiver.clock import SystemClock
from receiver.config import Settings, parse
from receiver.controller.ports import Identity
from receiver.journal import HealthCheck, Item, Plan, Stage
from receiver.web import Identities
from tests.web.reviewed import FakeReviews

PLANS = """\
  plans:
  - name: standard
    stages:
    - {name: canary, percent: 10, soak: 24h}
    - name: beta
      percent: 50
      soak: 24h
      approvals: [engineering-lead]
      health_checks: [{name: Redis hit rate, alert: RedisHitRateLow}]
    - {name: full, percent: 100, approvals: [cto]}
    watch: 4h
    health_checks: [{name: p95 latency, alert: ReleaseLatencyHigh}]
    before: [{id: ci, text: All tests passing in CI}]
    after: [{id: smoke, text: User-facing features tested}]
"""
ROLES = """\
  roles:
    engineering-lead: {users: [], groups: [eng-leads]}
    cto: {users: [cto@flexoraa.com]}
"""


@pytest.fixture
def base(tmp_path: Path) -> str:
    """Return a good file of three lines, without releases."""
    (tmp_path / "token").write_text("a-token")
    (tmp_path / "url").write_text("https://hooks.slack.com/services/T0/B0/x")
    webhook = f"{{bearer_tokens: [{{file: {tmp_path}/token}}]}}"
    sinks = f"{{all: {{kind: slack-webhook, url_file: {tmp_path}/url}}}}"
    return (
        f"auth: {{webhook: {webhook}, people: {{kubernetes: {{}}}}}}\n"
        "kubernetes: {namespaces: [shop]}\n"
        f"notify: {{sinks: {sinks}, routes: {{default: [all]}}}}\n"
    )


MONITORED = "prometheus: {url: 'http://prometheus:9090'}\n"


def good(text: str) -> Settings:
    found = parse(text)
    assert isinstance(found, Settings), [str(each) for each in found]
    return found


def wrong(text: str) -> list[str]:
    found = parse(text)
    assert isinstance(found, list)
    return [str(each) for each in found]


def with_plans(base: str, *plans: Any, roles: Any = None, monitored: str = MONITORED) -> str:
    release = {"roles": roles or {"lead": {"users": ["ann"]}}, "plans": list(plans)}
    return base + monitored + yaml.safe_dump({"release": release}, sort_keys=False)


def stage(name: str, percent: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "percent": percent} | more


def plan(*stages: Any, **more: Any) -> dict[str, Any]:
    usual = (stage("canary", 10, soak="1h"), stage("full", 100))
    return {"name": "standard", "stages": list(stages or usual)} | more


STANDARD = Plan(
    name="standard",
    stages=(
        Stage(name="canary", percent=10, soak=timedelta(hours=24)),
        Stage(
            name="beta",
            percent=50,
            soak=timedelta(hours=24),
            approvals=("engineering-lead",),
            health_checks=(HealthCheck(name="Redis hit rate", alert="RedisHitRateLow"),),
        ),
        Stage(name="full", percent=100, approvals=("cto",)),
    ),
    watch=timedelta(hours=4),
    health_checks=(HealthCheck(name="p95 latency", alert="ReleaseLatencyHigh"),),
    checklist=(
        Item(id="ci", text="All tests passing in CI", when="before"),
        Item(id="smoke", text="User-facing features tested", when="after"),
    ),
)


def test_the_rollout_plan_becomes_a_plan_of_releases(base: str) -> None:
    settings = good(base + MONITORED + "release:\n" + ROLES + PLANS)
    assert [each.value() for each in settings.release.plans] == [STANDARD]


def test_without_the_section_nothing_is_released_by_stages(base: str) -> None:
    release = good(base).release
    assert (release.roles, release.plans) == ({}, ())


def test_plans_are_watched_for_four_hours_where_they_do_not_say(base: str) -> None:
    [found] = good(with_plans(base, plan())).release.plans
    assert found.value().watch == timedelta(hours=4)


# --- what the wiring makes of it


def test_the_service_gets_the_plans_in_their_order(base: str) -> None:
    names = ["slow", "quick", "a"]
    settings = good(with_plans(base, *(plan() | {"name": name} for name in names)))
    rng = random.Random(1)  # noqa: S311 - a test
    world = World(clock=SystemClock(), rng=rng, log=None)
    setup = _setup(settings, world, None, None, None)  # type: ignore[arg-type] # not looked at
    assert list(setup.plans) == names
    assert all(setup.plans[name].name == name for name in names)


async def test_people_of_kubernetes_get_the_roles_of_the_section(base: str) -> None:
    settings = good(base + MONITORED + "release:\n" + ROLES + PLANS)
    tokens = {
        "c.t.o": Identity(username="cto@flexoraa.com"),
        "l.e.ad": Identity(username="ann", groups=("dev", "eng-leads")),
        "d.e.v": Identity(username="bob", groups=("dev",)),
    }
    people = _people(settings, Identities(FakeReviews(tokens=tokens), SystemClock()))
    found = [await people.identify(f"Bearer {token}") for token in tokens]
    roles = [person.roles for person in found if person is not None]
    assert roles == [("cto",), ("engineering-lead",), ()]


# --- what is wrong with a plan


def checks(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "alert": f"Alert{name}"} for name in names]


def lines(*ids: str) -> list[dict[str, str]]:
    return [{"id": id_, "text": f"do {id_}"} for id_ in ids]


CANARY, FULL = stage("canary", 10, soak="1h"), stage("full", 100)
BETA = stage("beta", 50, soak="1h")
P = "release.plans[0]"

# (the plan, what is said of it without the lines)
WRONG: dict[str, tuple[Any, list[str]]] = {
    "one stage": (plan(FULL), [f"{P}.stages: must be 2 to 10: a canary first, everybody last"]),
    "no stage": ({"name": "x", "stages": []}, [f"{P}.stages: must be 2 to 10: a canary first"]),
    "no stages": ({"name": "x"}, [f"{P}.stages: is missing"]),
    "eleven": (
        plan(*(stage(f"s{i}", i, soak="1h") for i in range(1, 11)), FULL),
        [f"{P}.stages: must be 2 to 10"],
    ),
    "a stage twice": (
        plan(CANARY, BETA | {"name": "canary"}, FULL),
        [f"{P}.stages[1].name: another stage has that name"],
    ),
    "not ascending": (
        plan(CANARY, BETA | {"percent": 10}, FULL),
        [f"{P}.stages[1].percent: must be more than the 10 of the stage before"],
    ),
    "descending": (
        plan(BETA, CANARY, FULL),
        [f"{P}.stages[1].percent: must be more than the 50 of the stage before"],
    ),
    "everybody twice": (
        plan(CANARY, BETA | {"percent": 100}, FULL),
        [f"{P}.stages[2].percent: must be more than the 100 of the stage before"],
    ),
    "not everybody": (
        plan(CANARY, stage("full", 99)),
        [f"{P}.stages[1].percent: must be 100 in the last stage: everybody"],
    ),
    "nobody": (
        plan(CANARY | {"percent": 0}, FULL),
        [f"{P}.stages[0].percent: must be greater than or equal to 1"],
    ),
    "more than all": (
        plan(CANARY, FULL | {"percent": 101}),
        [f"{P}.stages[1].percent: must be less than or equal to 100"],
    ),
    "a share": (
        plan(CANARY | {"percent": "10%"}, FULL),
        [f"{P}.stages[0].percent: must be a valid integer"],
    ),
    "half a percent": (
        plan(CANARY | {"percent": 0.5}, FULL),
        [f"{P}.stages[0].percent: must be a valid integer"],
    ),
    "true percent": (
        plan(CANARY | {"percent": True}, FULL),
        [f"{P}.stages[0].percent: must be a valid integer"],
    ),
    "no soak": (
        plan(stage("canary", 10), FULL),
        [f"{P}.stages[0].soak: is missing: for how long it has to go well"],
    ),
    "a soak of nothing": (
        plan(CANARY | {"soak": "0s"}, FULL),
        [f"{P}.stages[0].soak: must be longer than 0"],
    ),
    "a last soak": (
        plan(CANARY, FULL | {"soak": "1h"}),
        [f"{P}.stages[1].soak: has no meaning in the last stage: `watch` of the plan is its soak"],
    ),
    "a first approval": (
        plan(CANARY | {"approvals": ["lead"]}, FULL),
        [f"{P}.stages[0].approvals: has no meaning in the first stage"],
    ),
    "an unknown role": (
        plan(CANARY, FULL | {"approvals": ["leed"]}),
        [f"{P}.stages[1].approvals[0]: there is no role 'leed'; did you mean lead?"],
    ),
    "a role twice": (
        plan(CANARY, FULL | {"approvals": ["lead", "lead"]}),
        [f"{P}.stages[1].approvals[1]: is there twice"],
    ),
    "a role alone": (
        plan(CANARY, FULL | {"approvals": "lead"}),
        [f"{P}.stages[1].approvals: must be a valid tuple"],
    ),
    "a check twice": (
        plan(health_checks=checks("a", "b", "a")),
        [f"{P}.health_checks[2].name: another health check of the stage has that name"],
    ),
    "a check of plan and stage": (
        plan(CANARY | {"health_checks": checks("b")}, FULL, health_checks=checks("a", "b")),
        [f"{P}.stages[0].health_checks[0].name: another health check of the stage has that name"],
    ),
    "a check of no alert": (
        plan(health_checks=[{"name": "a"}]),
        [f"{P}.health_checks[0].alert: is missing"],
    ),
    "too many checks": (
        plan(
            CANARY | {"health_checks": checks(*"abcdefghij")},
            FULL | {"health_checks": checks(*"abcde")},
            health_checks=checks(*"uvwxyz"),
        ),
        [f"{P}.health_checks: has 21 health checks with those of its stages: at most 20"],
    ),
    "an id twice": (
        plan(before=lines("ci", "db"), after=lines("db")),
        [f"{P}.after[0].id: another line of the plan has that id"],
    ),
    "an id in capitals": (
        plan(before=lines("CI")),
        [f"{P}.before[0].id: is up to 40 of lower case, digits and dashes"],
    ),
    "a long id": (plan(before=lines("x" * 41)), [f"{P}.before[0].id: is up to 40 of lower"]),
    "too many lines": (
        plan(before=lines(*map(str, range(30))), after=lines(*map(str, range(30, 51)))),
        [f"{P}: its checklists have 51 lines together: at most 50"],
    ),
    "too many approvals": (
        plan(CANARY, BETA | {"approvals": ["lead"] * 25}, FULL | {"approvals": ["lead"] * 26}),
        [f"{P}.stages: its stages ask for 51 approvals together: at most 50"]
        + [f"{P}.stages[1].approvals[{n}]: is there twice" for n in range(1, 25)]
        + [f"{P}.stages[2].approvals[{n}]: is there twice" for n in range(1, 26)],
    ),
    "two lines of text": (
        plan(before=[{"id": "a", "text": "a\nb"}]),
        [f"{P}.before[0].text: must be one line of text, without blanks around it"],
    ),
    "long text": (
        plan(before=[{"id": "a", "text": "a" * 201}]),
        [f"{P}.before[0].text: String should have at most"],
    ),
    "a blank name": (plan(name=" x"), [f"{P}.name: must be one line of text, without blanks"]),
    "an unknown setting": (
        plan(CANARY, FULL | {"approval": []}),
        [f"{P}.stages[1].approval: is no setting; did you mean approvals?"],
    ),
    "an unknown setting of a plan": (
        plan(health_check=[]),
        [f"{P}.health_check: is no setting; did you mean health_checks?"],
    ),
}


def unnumbered(problems: list[str]) -> list[str]:
    """Return problems without their lines, which depend on how a file is written."""
    return [
        f"{path.partition(' (line')[0]}: {text}"
        for path, _, text in (each.partition(": ") for each in problems)
    ]


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_plan_is_said_with_its_path(
    base: str, given: Any, said: list[str]
) -> None:
    found = unnumbered(wrong(with_plans(base, given)))
    assert len(found) == len(said), found
    for problem, start in zip(sorted(found), sorted(said), strict=True):
        assert problem.startswith(start)


LEAD = {"approvals": ["lead"]}
FINE = {
    "ten stages": plan(*(stage(f"s{i}", i, soak="1h") for i in range(1, 10)), FULL),
    "the same check in two stages": plan(
        CANARY | {"health_checks": checks("a")}, FULL | {"health_checks": checks("a")}
    ),
    "twenty checks": plan(
        CANARY | {"health_checks": checks(*"abcdefghij")}, FULL, health_checks=checks(*"qrstuvwxyz")
    ),
    "fifty lines": plan(before=lines(*map(str, range(25))), after=lines(*map(str, range(25, 50)))),
    "one role twice": plan(CANARY, BETA | LEAD, FULL | LEAD),
    "1 and 99": plan(CANARY | {"percent": 1}, BETA | {"percent": 99}, FULL),
}


@pytest.mark.parametrize("given", FINE.values(), ids=FINE)
def test_what_is_just_within_the_rules_is_fine(base: str, given: Any) -> None:
    assert good(with_plans(base, given)).release.plans[0].value().name == "standard"


def test_two_plans_have_two_names(base: str) -> None:
    [found] = unnumbered(wrong(with_plans(base, plan(), plan())))
    assert found == "release.plans[1].name: another plan has that name"


# --- what plans need of the rest


def test_a_plan_needs_a_prometheus(base: str) -> None:
    [found] = wrong(with_plans(base, plan(), monitored=""))
    text = "is missing: without it nobody can tell how a release of release.plans is doing"
    assert found == f"prometheus.url: {text}"


@pytest.mark.parametrize("approvals", [[], ["lead"]])
def test_approvals_need_people_of_kubernetes(base: str, approvals: list[str]) -> None:
    given = plan(CANARY, FULL | {"approvals": approvals})
    text = with_plans(base.replace(", people: {kubernetes: {}}", ""), given)
    if not approvals:
        good(text)
        return
    [found] = unnumbered(wrong(text))
    expected = "is missing: stages ask for approvals, and no other token has a role"
    assert found == f"auth.people.kubernetes: {expected}"


ROLES_WRONG = {
    "nobody": ({"lead": {}}, "release.roles.lead: needs a user or a group: stages ask for its"),
    "empty": (
        {"lead": {"users": [], "groups": []}},
        "release.roles.lead: needs a user or a group: stages ask for its approval",
    ),
    "everybody": (
        {"lead": {"groups": ["system:authenticated"]}},
        "release.roles.lead.groups[0]: is everybody: whoever has a role is named",
    ),
    "every pod": (
        {"lead": {"groups": ["system:serviceaccounts"]}},
        "release.roles.lead.groups[0]: is everybody",
    ),
    "anybody": (
        {"lead": {"users": ["system:anonymous"]}},
        "release.roles.lead.users[0]: is everybody",
    ),
    "no text": ({"lead": {"users": [5]}}, "release.roles.lead.users[0]: must be a valid string"),
    "an empty name": ({"lead": {"users": [""]}}, "release.roles.lead.users[0]: String should"),
    "no list": ({"lead": {"users": "ann"}}, "release.roles.lead.users: must be a valid tuple"),
    "unknown": (
        {"lead": {"users": ["ann"], "group": []}},
        "release.roles.lead.group: is no setting; did you mean groups?",
    ),
    "a name in capitals": (
        {"lead": {"users": ["ann"]}, "CTO": {"users": ["bob"]}},
        "release.roles.CTO: a role is named in lower case, digits and dashes",
    ),
}


@pytest.mark.parametrize(("roles", "said"), ROLES_WRONG.values(), ids=ROLES_WRONG)
def test_what_is_wrong_with_a_role_is_said_once(base: str, roles: Any, said: str) -> None:
    given = plan(CANARY, BETA | LEAD, FULL | LEAD)
    [found] = unnumbered(wrong(with_plans(base, given, roles=roles)))
    assert found.startswith(said)


PAIR = {"approvals": ["lead", "cto"]}
ANN, BOB = {"users": ["ann"]}, {"users": ["bob"]}
ENOUGH = [
    (ANN, ANN, False),
    (ANN, BOB, True),
    (ANN, {"users": ["ann", "bob"]}, True),
    (ANN, {"users": ["ann", "ann"]}, False),
    # Who is in a group nobody knows here.
    (ANN, ANN | {"groups": ["eng-leads"]}, True),
    ({"groups": ["one"]}, {"groups": ["one"]}, True),
]


@pytest.mark.parametrize(("lead", "cto", "enough"), ENOUGH)
def test_a_stage_that_asks_two_roles_needs_two_people(
    base: str, lead: Any, cto: Any, enough: bool
) -> None:
    text = with_plans(base, plan(CANARY, FULL | PAIR), roles={"lead": lead, "cto": cto})
    if enough:
        good(text)
        return
    [found] = unnumbered(wrong(text))
    said = "needs another person for each role, and its roles have too few users for that"
    assert found == f"{P}.stages[1].approvals: {said}"


def test_a_role_that_no_stage_asks_for_may_be_empty(base: str) -> None:
    roles = {"lead": {"users": ["ann"]}, "cto": {}}
    assert set(good(with_plans(base, plan(), roles=roles)).release.roles) == set(roles)


def test_all_that_is_wrong_is_told_at_once_from_top_to_bottom(base: str) -> None:
    text = """\
release:
  roles:
    lead: {users: []}
  plans:
  - name: standard
    stages:
    - {name: canary, percent: 100, approvals: [lead]}
    - {name: canary, percent: 50, soak: 1h, approvals: [boss]}
    wach: 4h
    before: [{id: A B, text: x}, {id: a, text: x}]
    after: [{id: a, text: x}]
  - name: standard
"""
    assert wrong(base + text) == [
        (
            "prometheus.url: is missing: without it nobody can tell how a release of release.plans"
            " is doing"
        ),
        (
            "release.roles.lead (line 6): needs a user or a group: stages ask for its approval, and"
            " nobody has it"
        ),
        (
            "release.plans[0].stages[0].approvals (line 10): has no meaning in the first stage:"
            " nothing has soaked that could be approved"
        ),
        "release.plans[0].stages[0].soak (line 10): is missing: for how long it has to go well",
        "release.plans[0].stages[1].approvals[0] (line 11): there is no role 'boss'",
        "release.plans[0].stages[1].name (line 11): another stage has that name",
        (
            "release.plans[0].stages[1].percent (line 11): must be more than the 100 of the stage"
            " before"
        ),
        "release.plans[0].stages[1].percent (line 11): must be 100 in the last stage: everybody",
        (
            "release.plans[0].stages[1].soak (line 11): has no meaning in the last stage: `watch`"
            " of the plan is its soak"
        ),
        "release.plans[0].wach (line 12): is no setting; did you mean watch?",
        "release.plans[0].before[0].id (line 13): is up to 40 of lower case, digits and dashes",
        "release.plans[0].after[0].id (line 14): another line of the plan has that id",
        "release.plans[1].name (line 15): another plan has that name",
        "release.plans[1].stages (line 15): is missing",
    ]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(0, 101) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "percent",
                    "soak",
                    "approvals",
                    "stages",
                    "health_checks",
                    "before",
                    "users",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(roles=ANY, plans=ANY | st.lists(ANY, max_size=2))
def test_no_section_at_all_makes_it_fail_otherwise(roles: Any, plans: Any) -> None:
    document = {"release": {"roles": roles, "plans": plans}}
    assert isinstance(parse(yaml.safe_dump(document)), list)
