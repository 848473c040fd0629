"""Who is let in, and that nothing is read before that is known."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from receiver.web import PUBLIC, ROUTES, Credentials, StaticPeople, Token
from receiver.web.application import GUARDED
from tests.virtual import LoopClock, virtual
from tests.web.world import (
    NEXT_TOKEN,
    OPERATOR_TOKEN,
    PASSWORD,
    PERSON_TOKEN,
    SECRETS,
    WEBHOOK,
    WEBHOOK_TOKEN,
    World,
    world,
)

ALERTS = "/api/v1/alerts"
ONE = "/api/v1/deployments/shop/checkout"
HUGE = 10**13


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


NOBODY = {
    "absent": None,
    "empty": "",
    "no token": "Bearer",
    "empty token": "Bearer ",
    "unknown token": "Bearer nothing",
    "another scheme": f"Token {WEBHOOK_TOKEN}",
    "no scheme": WEBHOOK_TOKEN,
    "token and more": f"Bearer {WEBHOOK_TOKEN} x",
    "half of it": f"Bearer {WEBHOOK_TOKEN[:-1]}",
    "another case": f"Bearer {WEBHOOK_TOKEN.upper()}",
    "not ascii": "Bearer t\u00f6ken",
    "a person's": f"Bearer {PERSON_TOKEN}",
    "wrong password": basic("alertmanager", "wrong"),
    "wrong name": basic("root", PASSWORD),
    "no password": basic("alertmanager", ""),
    "no base64": "Basic !!!",
}


@pytest.mark.parametrize("header", NOBODY.values(), ids=NOBODY)
@pytest.mark.parametrize("path", [ALERTS, f"{ONE}/rollback"])
@virtual
async def test_all_who_are_nobody_get_the_same_401(
    tmp_path: Path, path: str, header: str | None
) -> None:
    if path != ALERTS and header is not None and PERSON_TOKEN in header:
        header = f"Bearer {WEBHOOK_TOKEN}"
    async with world(tmp_path) as here:
        headers = {} if header is None else {"Authorization": header}
        reply = await here.ask("POST", path, headers=headers, json_body={})
        assert (reply.status, reply.reason) == (401, "unauthorized")
        assert reply.text == (
            '{"error": {"reason": "unauthorized", "message": "no valid credential"}}'
        )
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="rollback-receiver"'
        assert here.service.calls == []
        realm = "webhook" if path == ALERTS else "people"
        assert here.count("auth_failures_total", realm=realm) == 1
        assert here.count("http_rejections_total", reason="unauthorized") == 1


KNOWN = {
    "bearer": (f"Bearer {WEBHOOK_TOKEN}", "token-0", ()),
    "the scheme in lower case": (f"bearer {WEBHOOK_TOKEN}", "token-0", ()),
    "the next token": (f"Bearer {NEXT_TOKEN}", "token-1", ("shop",)),
    "basic": (basic("alertmanager", PASSWORD), "alertmanager", ()),
}


@pytest.mark.parametrize(("header", "name", "namespaces"), KNOWN.values(), ids=KNOWN)
@virtual
async def test_a_sender_is_known_by_name_and_namespaces(
    tmp_path: Path, header: str, name: str, namespaces: tuple[str, ...]
) -> None:
    async with world(tmp_path) as here:
        headers = {"Authorization": header}
        reply = await here.ask("POST", ALERTS, headers=headers, json_body=WEBHOOK)
        assert reply.status == 200
        sender = here.service.calls[0][2]
        assert (sender.name, sender.namespaces) == (name, namespaces)


@virtual
async def test_two_authorization_headers_are_no_credential(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        body = json.dumps(WEBHOOK)
        said = await here.raw(
            f"POST {ALERTS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\nAuthorization: Bearer {WEBHOOK_TOKEN}\r\n"
            f"Authorization: Bearer no\r\n\r\n{body}".encode()
        )
        assert said.startswith(b"HTTP/1.1 401 ")
        assert here.service.calls == []


# --- not a byte is read


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (ALERTS, ""),
        (ALERTS, "Authorization: Bearer wrong\r\n"),
        (f"{ONE}/rollback", "Authorization: Bearer wrong\r\n"),
        (f"{ONE}/pause", ""),
        (f"{ONE}/release", ""),
        (f"{ONE}/release/approve", "Authorization: Bearer wrong\r\n"),
        (f"{ONE}/release/checks/ci", ""),
    ],
)
@virtual
async def test_who_announces_a_huge_body_and_sends_none_is_refused_at_once(
    tmp_path: Path, path: str, header: str
) -> None:
    async with world(tmp_path) as here:
        clock = LoopClock()
        began = clock.monotonic()
        said = await _first_bytes(
            here, f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {HUGE}\r\n\r\n"
        )
        assert said.startswith(b"HTTP/1.1 401 ")
        assert b"Connection: close" in said
        assert clock.monotonic() - began < 0.5


@virtual
async def test_a_body_is_not_asked_for_before_its_sender_is_known(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        head = f"POST {ALERTS} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n"
        said = await _first_bytes(here, head + "\r\n")
        assert said.startswith(b"HTTP/1.1 401 ")
        said = await _first_bytes(here, head + f"Authorization: Bearer {WEBHOOK_TOKEN}\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _first_bytes(here: World, head: str) -> bytes:
    """Return what is answered to a header that is followed by nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(head.encode())
    said = await reader.read(65536)
    writer.close()
    return said


# --- rotation


@virtual
async def test_a_rotated_token_is_good_at_once_and_the_old_one_is_not(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (await here.post()).status == 200
        here.replace("webhook", "a-new-token")
        assert (await here.post()).status == 401
        assert (await here.ask("POST", ALERTS, token="a-new-token", data=b"")).status == 400
        assert (await here.ask("POST", ALERTS, token=NEXT_TOKEN, data=b"")).status == 400


@pytest.mark.parametrize("content", [None, "", "\n", "  \n "])
@virtual
async def test_a_token_file_that_vanishes_or_is_empty_lets_nobody_in_and_is_told_once(
    tmp_path: Path, content: str | None
) -> None:
    async with world(tmp_path) as here:
        if content is None:
            (tmp_path / "webhook").unlink()
        else:
            here.replace("webhook", content)
        for header in ("Bearer ", f"Bearer {WEBHOOK_TOKEN}", ""):
            headers = {"Authorization": header}
            assert (await here.ask("POST", ALERTS, headers=headers)).status == 401
        told = [each for each in here.log if each["event"] == "tokens_unusable"]
        assert [each["files"] for each in told] == [[str(tmp_path / "webhook")]]
        here.replace("webhook", WEBHOOK_TOKEN)
        assert (await here.post()).status == 200


async def test_tokens_are_stripped_and_a_token_of_a_directory_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("  spaced \n")
    tokens = [Token(name=name, file=str(tmp_path / name)) for name in ("a", "missing", ".")]
    found = Credentials(tokens, None, insecure=False)
    assert await found.sender("Bearer spaced") is not None
    assert found.unusable() == (str(tmp_path / "missing"), str(tmp_path))


async def test_insecure_lets_anybody_in_only_where_no_credential_is_configured(
    tmp_path: Path,
) -> None:
    opened = Credentials([], None, insecure=True)
    assert await opened.sender("") is not None
    assert await Credentials([], None, insecure=False).sender("") is None
    (tmp_path / "a").write_text("x")
    some = [Token(name="a", file=str(tmp_path / "a"))]
    assert await Credentials(some, None, insecure=True).sender("") is None


# --- people

FORBIDDEN = [
    ("GET", "/api/v1/deployments/bank/vault", None),
    ("POST", "/api/v1/deployments/bank/vault/rollback", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/nothing-there/rollback", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/pause", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/resume", None),
    ("POST", "/api/v1/deployments/bank/vault/revisions/abc/clear", None),
    ("POST", "/api/v1/deployments/bank/vault/release", {"reason": "x"}),
    ("GET", "/api/v1/deployments/bank/vault/release", None),
    ("GET", "/api/v1/deployments/bank/vault/release/log.md", None),
    ("POST", "/api/v1/deployments/bank/vault/release/approve", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/release/reject", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/release/pause", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/release/resume", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/release/abort", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/release/promote", {"reason": "x"}),
    ("POST", "/api/v1/deployments/bank/vault/release/checks/ci", None),
    ("DELETE", "/api/v1/stop", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FORBIDDEN)
@virtual
async def test_a_token_is_good_for_its_own_namespaces_only(
    tmp_path: Path, method: str, path: str, body: Any
) -> None:
    async with world(tmp_path) as here:
        reply = await here.ask(method, path, token=PERSON_TOKEN, json_body=body)
        assert (reply.status, reply.reason) == (403, "forbidden")
        assert here.service.calls == []


@virtual
async def test_whoever_is_known_may_stop_but_only_who_may_act_there_may_start(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        stop = {"reason": "storm"}
        reply = await here.ask("PUT", "/api/v1/stop", token=PERSON_TOKEN, json_body=stop)
        assert (reply.status, reply.json) == (200, {"stopped": True, "why": "storm"})
        assert (await here.ask("DELETE", "/api/v1/stop", token=OPERATOR_TOKEN)).status == 200
        assert [(call[0], call[1].name) for call in here.service.calls] == [
            ("stop", "on-call"),
            ("start", "operator"),
        ]


@virtual
async def test_an_incident_of_another_namespace_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        hidden = await here.ask("GET", "/api/v1/incidents/inc-ba9876543210", token=PERSON_TOKEN)
        missing = await here.ask("GET", "/api/v1/incidents/inc-000000000000", token=PERSON_TOKEN)
        assert hidden.status == missing.status == 404
        assert hidden.text == missing.text
        seen = await here.ask("GET", "/api/v1/incidents/inc-0123456789ab", token=PERSON_TOKEN)
        assert seen.json["namespace"] == "shop"
        listed = await here.ask("GET", "/api/v1/incidents", token=PERSON_TOKEN)
        assert [each["id"] for each in listed.json["incidents"]] == ["inc-0123456789ab"]


@virtual
async def test_a_person_without_namespaces_may_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, namespaces=()) as here:
        for method, path in (
            ("GET", "/api/v1/deployments"),
            ("GET", "/api/v1/incidents"),
            ("GET", "/api/v1/stop"),
            ("DELETE", "/api/v1/stop"),
            ("GET", ONE),
        ):
            assert (await here.ask(method, path, token=PERSON_TOKEN)).status == 403
        assert here.service.calls == []


async def test_without_a_state_namespace_nobody_may_start(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    people = StaticPeople([Token(name="a", file=str(tmp_path / "a"), namespaces=("shop",))])
    person = await people.identify("Bearer x")
    assert person is not None
    assert not await people.may(person, "start", "", "")


# --- every route


@virtual
async def test_every_route_has_a_guard_except_the_public_ones(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        open_paths = set()
        for route in here.app.router.routes():
            assert route.resource is not None
            path = route.resource.canonical
            if getattr(route.handler, GUARDED, None) is None:
                open_paths.add(path)
        assert open_paths == {"/", "/health", "/ready", "/metrics", "/openapi.json"} == PUBLIC


@virtual
async def test_every_route_that_is_not_public_answers_401_to_nobody(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for route in ROUTES:
            path = (
                route.path.replace("{namespace}", "shop")
                .replace("{name}", "checkout")
                .replace("{hash}", "abc")
                .replace("{id}", "inc-1")
            )
            reply = await here.ask(route.method, path)
            assert (reply.status == 401) == (route.path not in PUBLIC), route.path
        assert here.service.calls == []


@virtual
async def test_no_secret_is_in_any_answer_or_line_of_the_log(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.service.error = RuntimeError("internal detail")
        texts = []
        for secret in SECRETS:
            for method, path in (
                ("POST", ALERTS),
                ("GET", ONE),
                ("POST", f"{ONE}/rollback"),
                ("GET", f"/api/v1/incidents/{secret}"),
                ("GET", "/nowhere"),
                ("GET", "/metrics"),
                ("GET", "/"),
            ):
                reply = await here.ask(method, path, token=secret, data=secret.encode())
                texts += [reply.text, str(reply.headers)]
        everything = "\n".join([*texts, here.written.getvalue()])
        assert not [secret for secret in SECRETS if secret in everything]
        assert "internal detail" not in "\n".join(texts)
