"""The API for people: what is asked reaches the service as it was meant, or not at all."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from receiver.controller.answers import Outcome, Person, Wish
from tests.virtual import virtual
from tests.web.world import INCIDENTS, PERSON_TOKEN, SHOWN, Reply, World, world

ONE = "/api/v1/deployments/shop/checkout"
ROLLBACK = f"{ONE}/rollback"
ON_CALL = Person(name="on-call", namespaces=("shop",))
DIGEST = len(sha256().hexdigest())


async def ask(here: World, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await here.ask(method, path, token=PERSON_TOKEN, json_body=body, headers=named)


WISHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"reason": "down"}, {}),
    ({"reason": "  down "}, {}),
    ({"reason": "down", "to_revision": 41}, {"to_revision": 41}),
    ({"reason": "down", "to_revision": None}, {}),
    ({"reason": "down", "expect_current": 43}, {"expect_current": "43"}),
    ({"reason": "down", "expect_current": "5d4f8c7b9d"}, {"expect_current": "5d4f8c7b9d"}),
    (
        {"reason": "down", "dry_run": True, "force": True, "quarantine": False, "wait": True},
        {"dry_run": True, "force": True, "quarantine": False, "wait": True},
    ),
]


@pytest.mark.parametrize(("body", "expected"), WISHES, ids=range(len(WISHES)))
@virtual
async def test_a_wish_reaches_the_service_as_it_was_meant(
    tmp_path: Path, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    async with world(tmp_path) as here:
        assert (await ask(here, "POST", ROLLBACK, body)).status == 200
        [(verb, namespace, name, wish, person)] = here.service.calls
        assert (verb, namespace, name, person) == ("rollback", "shop", "checkout", ON_CALL)
        assert len(wish.digest) == DIGEST
        assert wish == Wish(reason="down", digest=wish.digest, **expected)


LONG = "x" * 501
REFUSED: list[tuple[Any, str]] = [
    ({}, "reason: Field required"),
    ([], "body: "),
    ("down", "body: "),
    ({"reason": ""}, "reason: must be one line of text"),
    ({"reason": "   "}, "reason: must be one line of text"),
    ({"reason": 5}, "reason: "),
    ({"reason": LONG}, "reason: "),
    ({"reason": "a\nb"}, "reason: must be one line of text"),
    ({"reason": "\x1b[31m"}, "reason: must be one line of text"),
    ({"reason": "\u202eevil"}, "reason: must be one line of text"),
    ({"reason": "x", "to_revision": 0}, "to_revision: "),
    ({"reason": "x", "to_revision": -1}, "to_revision: "),
    ({"reason": "x", "to_revision": 1.0}, "to_revision: "),
    ({"reason": "x", "to_revision": "41"}, "to_revision: "),
    ({"reason": "x", "to_revision": True}, "to_revision: "),
    ({"reason": "x", "to_revision": 2**70}, "to_revision: "),
    ({"reason": "x", "expect_current": ""}, "expect_current: "),
    ({"reason": "x", "expect_current": 0}, "expect_current: "),
    ({"reason": "x", "expect_current": True}, "expect_current: "),
    ({"reason": "x", "force": "yes"}, "force: "),
    ({"reason": "x", "force": 1}, "force: "),
    ({"reason": "x", "to_revison": 1}, "to_revison: is no field of this request; did you mean to_"),
    ({"reason": "x", "dryRun": True}, "dryRun: is no field of this request; did you mean dry_run?"),
    ({"reason": "x", "zzz": 1}, "zzz: is no field of this request"),
]


@pytest.mark.parametrize(("body", "text"), REFUSED, ids=range(len(REFUSED)))
@virtual
async def test_a_wish_that_is_not_understood_is_refused_with_its_field(
    tmp_path: Path, body: Any, text: str
) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "POST", ROLLBACK, body)
        assert (reply.status, reply.reason) == (400, "bad_field")
        assert reply.json["error"]["message"].startswith(text)
        assert here.service.calls == []


@virtual
async def test_a_wish_that_is_no_json_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for data, reason in ((b"{", "not_json"), (b"\xff", "not_json"), (b"", "bad_field")):
            reply = await here.ask("POST", ROLLBACK, token=PERSON_TOKEN, data=data)
            assert (reply.status, reply.reason) == (400, reason)


@virtual
async def test_the_key_goes_along_and_the_digest_is_of_what_was_asked_not_how(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        await here.ask(
            "POST",
            ROLLBACK,
            token=PERSON_TOKEN,
            data=b'{"reason": "down", "force": false}',
            headers={"Idempotency-Key": "abc"},
        )
        await ask(here, "POST", ROLLBACK, {"reason": "down"}, Idempotency_Key="abc")
        await ask(here, "POST", ROLLBACK, {"reason": "up"}, Idempotency_Key="abc")
        first, second, third = (call[3] for call in here.service.calls)
        assert first.key == second.key == third.key == "abc"
        assert first.digest == second.digest != third.digest


@pytest.mark.parametrize("key", ["", "x" * 201, "caf\u00e9\u202e"])
@virtual
async def test_a_key_that_is_no_key_is_refused(tmp_path: Path, key: str) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "POST", ROLLBACK, {"reason": "x"}, Idempotency_Key=key)
        assert reply.status == 400
        assert here.service.calls == []


OUTCOMES = [
    (Outcome(status=200, body={"id": "inc-1"}), None),
    (Outcome(status=202, body={"id": "inc-1"}), None),
    (Outcome(status=409, body={"error": {"reason": "cooldown", "message": "x"}}), "cooldown"),
]


@pytest.mark.parametrize(("outcome", "reason"), OUTCOMES, ids=["200", "202", "409"])
@virtual
async def test_an_outcome_is_answered_as_it_is(
    tmp_path: Path, outcome: Outcome, reason: str | None
) -> None:
    async with world(tmp_path) as here:
        here.service.outcome = outcome
        reply = await ask(here, "POST", ROLLBACK, {"reason": "x"})
        assert (reply.status, reply.json) == (outcome.status, outcome.body)
        if reason is not None:
            assert here.count("http_rejections_total", reason=reason) == 1


ASKED: list[tuple[str, str, Any, tuple[Any, ...], Any]] = [
    ("GET", "/api/v1/deployments", None, ("deployments", ("shop",)), {"deployments": [SHOWN]}),
    ("GET", ONE, None, ("deployment", "shop", "checkout"), SHOWN),
    (
        "GET",
        "/api/v1/incidents",
        None,
        ("incidents", ("shop",)),
        {"incidents": [INCIDENTS["inc-0123456789ab"]]},
    ),
    (
        "GET",
        "/api/v1/incidents/inc-0123456789ab",
        None,
        ("incident", "inc-0123456789ab"),
        INCIDENTS["inc-0123456789ab"],
    ),
    (
        "POST",
        f"{ONE}/pause",
        {"reason": "migration"},
        ("pause", "shop", "checkout", ON_CALL, "migration"),
        SHOWN,
    ),
    ("POST", f"{ONE}/resume", None, ("resume", "shop", "checkout", ON_CALL), SHOWN),
    (
        "POST",
        f"{ONE}/revisions/5d4f8c7b9d/clear",
        None,
        ("clear", "shop", "checkout", "5d4f8c7b9d", ON_CALL),
        SHOWN,
    ),
    ("GET", "/api/v1/stop", None, ("stopped",), {"stopped": False, "why": ""}),
    (
        "PUT",
        "/api/v1/stop",
        {"reason": "storm"},
        ("stop", ON_CALL, "storm"),
        {"stopped": True, "why": "storm"},
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "call", "answer"), ASKED, ids=[f"{a[0]} {a[1]}" for a in ASKED]
)
@virtual
async def test_each_route_asks_the_service_one_thing_and_shows_its_answer(
    tmp_path: Path, method: str, path: str, body: Any, call: tuple[Any, ...], answer: Any
) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, method, path, body)
        assert (reply.status, reply.json) == (200, answer)
        assert here.service.calls == [call]


@pytest.mark.parametrize("path", [f"{ONE}/pause", "/api/v1/stop"])
@virtual
async def test_to_hold_back_needs_a_reason(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as here:
        method = "PUT" if path.endswith("stop") else "POST"
        for body in (None, {}, {"reason": ""}, {"reason": "a\nb"}, {"why": "x"}):
            reply = await ask(here, method, path, body)
            assert (reply.status, reply.reason) == (400, "bad_field")
        assert here.service.calls == []


@virtual
async def test_what_is_not_there_is_404(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for path in ("/api/v1/deployments/shop/other", "/api/v1/incidents/nope"):
            assert (await ask(here, "GET", path)).status == 404


@pytest.mark.parametrize("id_", ["..%2F..", "inc-%0A", "x" * 101, "%00"])
@virtual
async def test_what_cannot_be_an_incident_is_not_looked_for(tmp_path: Path, id_: str) -> None:
    async with world(tmp_path) as here:
        assert (await ask(here, "GET", f"/api/v1/incidents/{id_}")).status in (400, 404)
        assert here.service.calls == []


@pytest.mark.parametrize("hash_", ["A", "x" * 64, "a%2Fb", "a%0A", "..%2Fx"])
@virtual
async def test_what_cannot_be_a_hash_is_refused(tmp_path: Path, hash_: str) -> None:
    async with world(tmp_path) as here:
        path = f"{ONE}/revisions/{hash_}/clear"
        said = await here.raw(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
            f"Authorization: Bearer {PERSON_TOKEN}\r\n\r\n".encode()
        )
        assert said.split()[1] in (b"400", b"404")
        assert here.service.calls == []
