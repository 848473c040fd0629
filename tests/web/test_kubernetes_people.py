"""People and senders with tokens of Kubernetes: what is asked about them, and what comes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.controller.answers import Person
from receiver.controller.ports import Act, Identity
from receiver.errors import Forbidden, Unavailable
from receiver.web import (
    Credentials,
    Identities,
    KubernetesPeople,
    KubernetesSenders,
    Role,
    StaticPeople,
    Token,
    Web,
)
from receiver.web.auth import Verb
from tests.virtual import LoopClock, virtual
from tests.web.reviewed import ALICE, AUDIENCE, FakeReviews
from tests.web.world import PERSON_TOKEN, WEBHOOK, WEBHOOK_TOKEN, World, world

ONE = "/api/v1/deployments/shop/checkout"
SWITCH = Act(
    verb="patch",
    resource="configmaps",
    namespace="rollback-receiver",
    name="rollback-receiver-switch",
)


def deployments(verb: str, namespace: str, name: str = "") -> Act:
    return Act(verb=verb, group="apps", resource="deployments", namespace=namespace, name=name)


LEAD = Role(name="engineering-lead", users=frozenset({"ann"}), groups=frozenset({"eng-leads"}))
CTO = Role(name="cto", users=frozenset({"ann", ALICE.username}))


def people(reviews: FakeReviews, beside: Any = None, verb: str = "patch") -> KubernetesPeople:
    return KubernetesPeople(
        Identities(reviews, LoopClock()),
        beside or StaticPeople([]),
        audience=AUDIENCE,
        verb=verb,
        namespaces=("shop", "bank"),
        state_namespace="rollback-receiver",
        roles=(LEAD, CTO),
    )


ASKED: list[tuple[Verb, list[Act]]] = [
    ("get", [deployments("get", "shop", "checkout")]),
    ("patch", [deployments("rollback", "shop", "checkout")]),
    (
        "deploy",
        [
            deployments("patch", "shop", "checkout"),
            deployments("patch", "shop", "checkout-canary"),
        ],
    ),
    ("list", [deployments("list", "shop"), deployments("list", "bank")]),
    ("see", []),
    ("stop", [SWITCH]),
    ("start", [SWITCH]),
]


@pytest.mark.parametrize(("verb", "acts"), ASKED, ids=[each[0] for each in ASKED])
@virtual
async def test_what_a_person_may_is_what_the_api_server_lets_him(
    verb: Verb, acts: list[Act]
) -> None:
    for allowed in (True, False):
        reviews = FakeReviews(may=lambda _, __, allowed=allowed: allowed)  # type: ignore[misc] # mypy and defaults
        known = people(reviews, verb="rollback")
        person = await known.identify("Bearer a.l.ice")
        assert person is not None
        assert person.name == "system:serviceaccount:shop:alice"
        assert person.namespaces == ()
        where = ("shop", "checkout") if verb in ("get", "patch", "deploy") else ("", "")
        assert await known.may(person, verb, *where) is (allowed or not acts)
        # A release takes the right to patch both, and the first no is enough.
        assert reviews.asked[1:] == (acts if allowed or verb == "list" else acts[:1])


@virtual
async def test_the_namespaces_of_a_person_are_those_where_he_may_list() -> None:
    reviews = FakeReviews(may=lambda _, act: act.namespace == "bank")
    known = people(reviews)
    person = await known.identify("Bearer a.l.ice")
    assert person is not None
    assert await known.namespaces(person) == ("bank",)
    assert await known.may(person, "list", "", "")
    reviews = FakeReviews(may=lambda _, __: False)
    known = people(reviews)
    assert await known.namespaces(person) == ()
    assert not await known.may(person, "list", "", "")


@virtual
async def test_a_person_of_the_files_is_judged_by_the_files_alone(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("s.t.atic")
    tokens = [Token(name="on-call", file=str(tmp_path / "t"), namespaces=("shop",))]
    reviews = FakeReviews()
    known = people(reviews, StaticPeople([*tokens, Token(name="x", file="/nope")]))
    person = await known.identify("Bearer s.t.atic")
    assert person is not None
    assert (person.name, await known.namespaces(person)) == ("on-call", ("shop",))
    assert await known.may(person, "patch", "shop", "checkout")
    assert not await known.may(person, "patch", "bank", "vault")
    assert reviews.asked == []
    assert known.unusable() == ("/nope",)


# --- roles

# (who it is, the roles that follow)
HELD: list[tuple[Identity, tuple[str, ...]]] = [
    (Identity(username="ann"), ("engineering-lead", "cto")),
    (Identity(username="bob", groups=("dev", "eng-leads")), ("engineering-lead",)),
    (Identity(username=ALICE.username), ("cto",)),
    (Identity(username="bob", groups=("dev",)), ()),
    # The names are the very same, and those of users are none of groups.
    (Identity(username="Ann", groups=("Eng-Leads", "eng-leads ")), ()),
    (Identity(username="eng-leads", groups=("ann",)), ()),
    (Identity(username="ann\u200b"), ()),
    (Identity(username="bob", extra={"groups": ("eng-leads",)}), ()),
    (Identity(username="", groups=("",)), ()),
]


@pytest.mark.parametrize(("identity", "roles"), HELD, ids=range(len(HELD)))
@virtual
async def test_roles_are_those_of_the_user_and_of_his_groups(
    identity: Identity, roles: tuple[str, ...]
) -> None:
    person = await people(FakeReviews(tokens={"a.b.c": identity})).identify("Bearer a.b.c")
    assert person is not None
    assert person.roles == roles


@virtual
async def test_a_token_of_the_files_has_no_role_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("s.t.atic")
    tokens = [Token(name="ann", file=str(tmp_path / "t"), namespaces=("shop",))]
    person = await people(FakeReviews(), StaticPeople(tokens)).identify("Bearer s.t.atic")
    assert person == Person(name="ann", namespaces=("shop",), roles=())


@virtual
async def test_an_approval_reaches_the_service_with_the_roles_of_the_person(
    tmp_path: Path,
) -> None:
    patching = deployments("patch", "shop", "checkout")
    reviews = FakeReviews(may=lambda _, act: act == patching)
    async with world(tmp_path, on_build=with_reviews(reviews)) as here:
        body = {"reason": "looks well"}
        path = f"{ONE}/release/approve"
        assert (await here.ask("POST", path, token="a.l.ice", json_body=body)).status == 200
        [(verb, namespace, name, what, person, why)] = here.service.calls
        assert (verb, namespace, name, what) == ("steer_release", "shop", "checkout", "approve")
        assert (person.name, person.roles, why) == (ALICE.username, ("cto",), "looks well")


@virtual
async def test_a_role_alone_lets_nobody_approve_who_may_not_patch(tmp_path: Path) -> None:
    reading = deployments("get", "shop", "checkout")
    reviews = FakeReviews(may=lambda _, act: act == reading)
    async with world(tmp_path, on_build=with_reviews(reviews)) as here:
        for path in ("", "/approve", "/promote", "/checks/ci"):
            reply = await here.ask(
                "POST", f"{ONE}/release{path}", token="a.l.ice", json_body={"reason": "x"}
            )
            assert (reply.status, reply.reason) == (403, "forbidden")
        assert here.service.calls == []
        for path in ("", "/log.md"):
            assert (await here.ask("GET", f"{ONE}/release{path}", token="a.l.ice")).status == 200


# --- over HTTP


def with_reviews(reviews: FakeReviews, *accounts: str) -> Any:
    """Return what puts tokens of Kubernetes beside the others, before the application is built."""

    def change(parts: Web) -> None:
        identities = Identities(reviews, parts.clock)
        beside = parts.people
        object.__setattr__(
            parts,
            "people",
            KubernetesPeople(
                identities,
                beside,
                audience=AUDIENCE,
                verb="patch",
                namespaces=("shop", "bank"),
                state_namespace="rollback-receiver",
                roles=(LEAD, CTO),
            ),
        )
        if accounts:
            senders = KubernetesSenders(
                identities=identities, audience=AUDIENCE, service_accounts=accounts
            )
            parts.credentials._kubernetes = senders

    return change


@virtual
async def test_lists_hold_what_a_person_may_list_and_never_all_for_none(tmp_path: Path) -> None:
    reviews = FakeReviews(may=lambda _, act: act.namespace == "bank")
    async with world(tmp_path, on_build=with_reviews(reviews)) as here:
        assert (await here.ask("GET", "/api/v1/deployments", token="a.l.ice")).status == 200
        found = await here.ask("GET", "/api/v1/incidents", token="a.l.ice")
        assert [each["namespace"] for each in found.json["incidents"]] == ["bank"]
        assert here.service.calls == [("deployments", ("bank",)), ("incidents", ("bank",))]
    reviews = FakeReviews(may=lambda _, __: False)
    async with world(tmp_path, on_build=with_reviews(reviews)) as here:
        for path in ("/api/v1/deployments", "/api/v1/incidents", "/api/v1/stop", ONE):
            reply = await here.ask("GET", path, token="a.l.ice")
            assert (reply.status, reply.reason) == (403, "forbidden")
        assert here.service.calls == []


class Fickle(StaticPeople):
    """People who lose the right to list between the guard and the list."""

    async def namespaces(self, person: Person) -> tuple[str, ...]:
        return ()


@virtual
async def test_a_right_that_goes_between_guard_and_list_does_not_show_all(tmp_path: Path) -> None:
    def change(parts: Web) -> None:
        tokens = [Token(name="x", file=str(tmp_path / "person"), namespaces=("shop",))]
        object.__setattr__(parts, "people", Fickle(tokens))

    async with world(tmp_path, on_build=change) as here:
        for path in ("/api/v1/deployments", "/api/v1/incidents"):
            reply = await here.ask("GET", path, token=PERSON_TOKEN)
            assert (reply.status, reply.reason) == (403, "forbidden")
        assert here.service.calls == []


@virtual
async def test_one_incident_is_seen_by_who_may_get_its_deployment(tmp_path: Path) -> None:
    allowed = deployments("get", "shop", "checkout")
    reviews = FakeReviews(may=lambda _, act: act == allowed)
    async with world(tmp_path, on_build=with_reviews(reviews)) as here:
        seen = await here.ask("GET", "/api/v1/incidents/inc-0123456789ab", token="a.l.ice")
        assert seen.json["namespace"] == "shop"
        hidden = await here.ask("GET", "/api/v1/incidents/inc-ba9876543210", token="a.l.ice")
        missing = await here.ask("GET", "/api/v1/incidents/inc-000000000000", token="a.l.ice")
        assert hidden.status == missing.status == 404
        assert hidden.text == missing.text


EVERYTHING = [
    ("GET", "/api/v1/deployments"),
    ("GET", ONE),
    ("POST", f"{ONE}/rollback"),
    ("POST", f"{ONE}/pause"),
    ("POST", f"{ONE}/resume"),
    ("POST", f"{ONE}/revisions/abc/clear"),
    ("POST", f"{ONE}/release"),
    ("GET", f"{ONE}/release"),
    ("GET", f"{ONE}/release/log.md"),
    ("POST", f"{ONE}/release/approve"),
    ("POST", f"{ONE}/release/checks/ci"),
    ("GET", "/api/v1/incidents"),
    ("GET", "/api/v1/incidents/inc-0123456789ab"),
    ("GET", "/api/v1/stop"),
    ("PUT", "/api/v1/stop"),
    ("DELETE", "/api/v1/stop"),
    ("POST", "/api/v1/alerts"),
]
LACKING = "we may not create tokenreviews.authentication.k8s.io: 403 Forbidden"


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize("error", [Unavailable("not reached"), Forbidden(LACKING)])
@virtual
async def test_what_cannot_be_asked_lets_nobody_in_and_says_why(
    tmp_path: Path, method: str, path: str, error: Exception
) -> None:
    reviews = FakeReviews(error=error)
    async with world(tmp_path, on_build=with_reviews(reviews, "monitoring/am")) as here:
        reply = await here.ask(method, path, token="a.l.ice", json_body={"reason": "x"})
        assert (reply.status, reply.reason) == (503, "auth_unavailable")
        assert reply.headers["Retry-After"] == "5"
        assert str(error) in reply.json["error"]["message"]
        assert here.service.calls == []
        [told] = here.complaints
        assert told["event"] == "auth_unavailable"
        assert str(error) in told["error"]
        assert here.count("http_rejections_total", reason="auth_unavailable") == 1
        for realm in ("people", "webhook"):
            assert here.count("auth_failures_total", realm=realm) == 0


@virtual
async def test_an_incident_whose_reader_cannot_be_judged_is_503_not_500(tmp_path: Path) -> None:
    reviews = FakeReviews()
    async with world(tmp_path, on_build=with_reviews(reviews)) as here:
        await here.ask("GET", ONE, token="a.l.ice")
        reviews.error = Forbidden(LACKING)
        reply = await here.ask("GET", "/api/v1/incidents/inc-ba9876543210", token="a.l.ice")
        assert (reply.status, reply.reason) == (503, "auth_unavailable")


# --- senders


async def _posts(here: World, token: str) -> tuple[int, str]:
    reply = await here.ask("POST", "/api/v1/alerts", token=token, json_body=WEBHOOK)
    return reply.status, reply.json.get("error", {}).get("message", "")


@virtual
async def test_a_named_service_account_may_post_and_no_other(tmp_path: Path) -> None:
    am = Identity(username="system:serviceaccount:monitoring:am")
    user = replace(ALICE, username="monitoring/am")
    tokens = {"a.l.ice": ALICE, "a.m.am": am, "u.s.er": user}
    reviews = FakeReviews(tokens=tokens)
    build = with_reviews(reviews, "monitoring/other", "monitoring/am")
    async with world(tmp_path, on_build=build) as here:
        assert (await _posts(here, "a.m.am"))[0] == 200
        sender = here.service.calls[0][2]
        assert (sender.name, sender.namespaces) == ("system:serviceaccount:monitoring:am", ())
        named = "is not among auth.webhook.kubernetes.service_accounts"
        assert await _posts(here, "a.l.ice") == (403, f"{ALICE.username} {named}")
        assert await _posts(here, "u.s.er") == (403, f"monitoring/am {named}")
        assert (await _posts(here, "n.o.body"))[0] == 401
        assert here.count("auth_failures_total", realm="webhook") == 1
        assert here.count("http_requests_total", route="/api/v1/alerts", code="403") == 2
        assert len(here.service.calls) == 1


@virtual
async def test_who_shows_a_token_of_the_files_is_not_asked_about(tmp_path: Path) -> None:
    reviews = FakeReviews(error=Unavailable("not reached"))
    async with world(tmp_path, on_build=with_reviews(reviews, "monitoring/am")) as here:
        assert (await _posts(here, WEBHOOK_TOKEN))[0] == 200
        assert (await here.ask("GET", ONE, token=PERSON_TOKEN)).status == 200
        assert (await here.ask("GET", "/api/v1/deployments", token=PERSON_TOKEN)).status == 200
        assert reviews.asked == []


@virtual
async def test_insecure_opens_nothing_where_service_accounts_are_named() -> None:
    senders = KubernetesSenders(
        identities=Identities(FakeReviews(), LoopClock()),
        audience=AUDIENCE,
        service_accounts=("monitoring/am",),
    )
    credentials = Credentials([], None, insecure=True, kubernetes=senders)
    assert await credentials.sender("") is None
    assert await credentials.sender("Bearer nothing") is None
