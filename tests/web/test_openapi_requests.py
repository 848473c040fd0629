"""What the document of the API says can be sent: its schemas and the server judge alike."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from receiver import alerts as al
from receiver.web import ROUTES
from tests.alerts.test_parse import BAD_ALERTS, NOT_A_WEBHOOK
from tests.alerts.webhooks import ALERT, body, changed
from tests.captured import scenarios
from tests.virtual import virtual
from tests.web import test_people, test_releases
from tests.web.described import ALERTS, ONE, RELEASE, fits, operation, parameter, takes, there
from tests.web.test_requests import BAD_NAMES
from tests.web.world import PERSON_TOKEN, WEBHOOK, WEBHOOK_TOKEN, world

REASONS: list[Any] = [
    None,
    {},
    [],
    {"reason": ""},
    {"reason": " "},
    {"reason": "a\nb"},
    {"reason": "a\n"},
    {"reason": "x" * 501},
    {"reason": None},
    {"reason": "x", "role": "cto"},
    {"why": "x"},
    {"reason": "x"},
    {"reason": " caf\u00e9 \u65e5\u672c \U0001f680 "},
    {"reason": "a\u00a0b"},
    {"reason": "x" * 500},
]
BODIES: dict[tuple[str, str], list[Any]] = {
    ("POST", f"{ONE}/rollback"): [
        *(sent for sent, _ in test_people.WISHES),
        *(sent for sent, _ in test_people.REFUSED),
        *REASONS,
        {"reason": "x", "to_revision": 2**53 - 1},
        {"reason": "x", "to_revision": 2**53},
        {"reason": "x", "wait": None},
    ],
    ("POST", RELEASE): [
        *(sent for sent, _ in test_releases.WISHES),
        *(sent for sent, _ in test_releases.REFUSED),
        *REASONS,
        {"reason": "x", "images": {"c" * 63: "a" * 500}},
        {"reason": "x", "images": {"c" * 64: "a:1"}},
        {"reason": "x", "images": {"c\n": "a:1"}},
        {"reason": "x", "images": {f"c{i}": "a:1" for i in range(50)}},
        {"reason": "x", "version": "1" * 240},
        {"reason": "x", "plan": "p" * 501},
    ],
    ("POST", f"{RELEASE}/checks/{{id}}"): [
        *(sent for sent, _ in test_releases.TICKS),
        {"done": "yes"},
        {"done": 1},
        {"done": None},
        {"note": ""},
        {"note": "a\nb"},
        {"note": "x" * 240},
        {"note": "x" * 241},
        {"node": "x"},
        [],
    ],
    ("POST", f"{ONE}/pause"): REASONS,
    ("PUT", "/api/v1/stop"): REASONS,
    **{("POST", f"{RELEASE}/{what}"): REASONS for what in test_releases.STEERINGS},
}

# What fits and is refused: for JSON Schema 1.0 is an integer (2020-12 core, 4.2.3).
UNSAID = {("POST", f"{ONE}/rollback"): ["{'reason': 'x', 'to_revision': 1.0}"]}


def test_all_that_takes_a_body_is_in_the_table() -> None:
    asked = {
        (route.method, route.path)
        for route in ROUTES
        if "requestBody" in operation(route.method, route.path)
    }
    assert asked == {*BODIES, ("POST", ALERTS)}


@pytest.mark.parametrize(("method", "path"), BODIES)
@virtual
async def test_a_body_fits_its_schema_just_when_the_server_takes_it(
    tmp_path: Path, method: str, path: str
) -> None:
    async with world(tmp_path) as here:
        unlike, seen = [], set()
        for sent in BODIES[method, path]:
            reply = await here.ask(method, there(path), token=PERSON_TOKEN, json_body=sent)
            assert reply.status == 200 or (reply.status, reply.reason) == (400, "bad_field")
            seen.add(reply.status)
            if takes(method, path, sent) != (reply.status == 200):
                unlike.append(repr(sent))
        assert unlike == UNSAID.get((method, path), [])
        assert seen == {200, 400}


WEBHOOKS = [
    *NOT_A_WEBHOOK.values(),
    *(body(alerts=[changed(ALERT, **changes)]) for changes in BAD_ALERTS.values()),
    *(body(alerts=[one]) for one in (None, 1, "x", [], [ALERT])),
    *(body(version=version) for version in ("3", "", 4, None, ["4"])),
    *(sent for one in scenarios() for sent in one.bodies),
    json.dumps(WEBHOOK).encode(),
    body(alerts=[]),
    body(x={"y": 1}, truncatedAlerts=2**64 - 1),
    body(alerts=[changed(ALERT, endsAt=None, startsAt="2026-11-23T09:00:00.123456789+08:00")]),
]

# What fits and is refused: the moment that stands for none, one that no calendar has once it is
# written in UTC, and what this reader of schemas lets pass.
NO_MOMENTS = ("0001-01-01T00:00:00Z", "2026-11-23T01:00:00Z\n", "9999-12-31T23:59:59-01:00")


@virtual
async def test_a_webhook_fits_its_schema_just_when_the_server_takes_it(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        unlike = []
        for sent in WEBHOOKS:
            reply = await here.ask("POST", ALERTS, token=WEBHOOK_TOKEN, data=sent)
            assert reply.status in (200, 400)
            if takes("POST", ALERTS, json.loads(sent)) != (reply.status == 200):
                unlike.append(sent)
        assert unlike == [body(alerts=[changed(ALERT, startsAt=none)]) for none in NO_MOMENTS]


@pytest.mark.parametrize("value", ["true", "false", "", "1", "yes", "True", "null"])
@virtual
async def test_a_dry_run_is_a_boolean(tmp_path: Path, value: str) -> None:
    said = parameter("POST", ALERTS, "dry_run")
    assert (said["in"], said.get("required", False)) == ("query", False)
    async with world(tmp_path) as here:
        reply = await here.post(path=f"{ALERTS}?dry_run={value}")
        read = json.loads(value) if value in ("true", "false", "null", "1") else value
        assert fits(said["schema"], read) == (reply.status == 200)


@pytest.mark.parametrize("key", [None, "", "a", "x" * 200, "x" * 201])
@virtual
async def test_a_key_is_as_long_as_the_document_says(tmp_path: Path, key: str | None) -> None:
    said = parameter("POST", f"{ONE}/rollback", "Idempotency-Key")
    assert (said["in"], said.get("required", False)) == ("header", False)
    async with world(tmp_path) as here:
        headers = {} if key is None else {"Idempotency-Key": key}
        path = there(f"{ONE}/rollback")
        sent = {"reason": "x"}
        reply = await here.ask("POST", path, token=PERSON_TOKEN, headers=headers, json_body=sent)
        assert (key is None or fits(said["schema"], key)) == (reply.status == 200)


def test_no_other_route_takes_a_query_or_a_header() -> None:
    assert {
        (route.method, route.path, each["name"])
        for route in ROUTES
        for each in operation(route.method, route.path).get("parameters", ())
        if each["in"] != "path"
    } == {("POST", ALERTS, "dry_run"), ("POST", f"{ONE}/rollback", "Idempotency-Key")}


NAMES = [*map(unquote, BAD_NAMES.values()), "a", "a" * 63, "a" * 64, "a.b", "a-.b", "a..b", "0-9"]
NAMES += ["a" * 253, "a" * 254, "a-", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_path_is_one_of_kubernetes(name: str) -> None:
    for step, right in (("namespace", al.is_namespace), ("name", al.is_name)):
        said = parameter("GET", ONE, step)
        assert said["required"]
        assert fits(said["schema"], name) == right(name)


@pytest.mark.parametrize(
    ("method", "path", "step"),
    [
        ("POST", f"{ONE}/revisions/{{hash}}/clear", "hash"),
        ("POST", f"{RELEASE}/checks/{{id}}", "id"),
        ("GET", "/api/v1/incidents/{id}", "id"),
    ],
)
@virtual
async def test_an_id_in_a_path_fits_its_schema_just_when_it_is_looked_for(
    tmp_path: Path, method: str, path: str, step: str
) -> None:
    said = parameter(method, path, step)
    async with world(tmp_path) as here:
        found = set()
        for id_ in ("5d4f8c7b9d", "CI", "a-b", "a_b", *("x" * n for n in (40, 41, 63, 64, 101))):
            here.service.calls.clear()
            asked = there(path.replace(f"{{{step}}}", id_))
            await here.ask(method, asked, token=PERSON_TOKEN)
            assert fits(said["schema"], id_) == bool(here.service.calls), id_
            found.add(bool(here.service.calls))
        assert found == {True, False}
