"""The document of the API: it says all that the server does, and no more."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from receiver import __version__
from receiver.controller.answers import Readiness
from receiver.errors import Broken, Rejected, TryAgain
from receiver.web import PUBLIC, ROUTES, Limits
from receiver.web.openapi import document, operation_id
from tests.virtual import virtual
from tests.web.described import ALERTS, DOCUMENT, ONE, RELEASE, operation, promised, there
from tests.web.world import (
    OPERATOR_TOKEN,
    PASSWORD,
    PERSON_TOKEN,
    WEBHOOK,
    WEBHOOK_TOKEN,
    World,
    world,
)

BASIC = "Basic " + base64.b64encode(f"alertmanager:{PASSWORD}".encode()).decode()

# --- the document itself


def test_it_is_valid_openapi_3_1() -> None:
    from openapi_spec_validator import (  # noqa: PLC0415 - slow to import: only here
        OpenAPIV31SpecValidator,
    )

    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_holds_each_route_with_each_of_its_codes_and_nothing_else() -> None:
    held = {
        (method.upper(), path, code)
        for path, methods in DOCUMENT["paths"].items()
        for method, each in methods.items()
        for code in each["responses"]
    }
    assert held == {
        (route.method, route.path, str(code)) for route in ROUTES for code in route.codes
    }


def test_each_operation_has_a_name_of_its_own_and_says_what_its_route_is_for() -> None:
    names = set()
    for route in ROUTES:
        found = operation(route.method, route.path)
        assert found["summary"] == route.meaning
        names.add(found["operationId"])
    assert len(names) == len(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", ALERTS, "post_alerts"),
        ("POST", f"{ONE}/rollback", "post_deployments_namespace_name_rollback"),
        ("GET", f"{RELEASE}/log.md", "get_deployments_namespace_name_release_log_md"),
        ("GET", "/openapi.json", "get_openapi_json"),
        ("GET", "/", "get_page"),
    ],
)
def test_the_name_of_an_operation_stays_for_it_becomes_one_in_the_code_of_clients(
    method: str, path: str, name: str
) -> None:
    assert operation_id(method, path) == name == operation(method, path)["operationId"]


def test_each_schema_of_it_is_used() -> None:
    text = json.dumps(DOCUMENT)
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text


def test_each_field_of_a_body_of_people_is_explained() -> None:
    for name in ("Rollback", "NewRelease", "Tick", "Why"):
        fields = DOCUMENT["components"]["schemas"][name]["properties"]
        assert all(each["description"] for each in fields.values())


@virtual
async def test_anybody_can_read_it_and_no_credential_makes_it_another(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for token in (None, "wrong", PERSON_TOKEN):
            reply = await here.ask("GET", "/openapi.json", token=token)
            assert reply.status == 200
            assert reply.headers["Content-Type"].startswith("application/json")
            assert reply.json == document(ROUTES, __version__)
        assert here.service.calls == []
        assert here.count("http_requests_total", route="/openapi.json", code="200") == 3


# --- who may ask


@virtual
async def test_what_needs_a_credential_says_so_and_which(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for route in ROUTES:
            said = operation(route.method, route.path)["security"]
            assert [list(each.values()) for each in said] == [[[]]] * len(said)
            kinds = {kind for each in said for kind in each}
            assert kinds <= DOCUMENT["components"]["securitySchemes"].keys()
            path = there(route.path)
            token = WEBHOOK_TOKEN if route.path == ALERTS else PERSON_TOKEN
            refused = {
                kind: (await here.ask(route.method, path, headers=headers)).status == 401
                for kind, headers in (
                    ("nobody", {}),
                    ("bearer", {"Authorization": f"Bearer {token}"}),
                    ("basic", {"Authorization": BASIC}),
                )
            }
            needed = bool(kinds)
            assert refused == {
                "nobody": needed,
                "bearer": needed and "bearer" not in kinds,
                "basic": needed and "basic" not in kinds,
            }, route.path


# --- what is answered

SHOWN = [
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("GET", f"{RELEASE}/log.md"),
    ("GET", "/api/v1/stop"),
    ("GET", "/api/v1/breaker"),
    ("GET", "/api/v1/scorecard"),
    ("DELETE", "/api/v1/stop"),
    ("DELETE", "/api/v1/breaker"),
]


@pytest.mark.parametrize(("method", "path"), SHOWN)
@virtual
async def test_what_is_shown_is_as_the_document_says(
    tmp_path: Path, method: str, path: str
) -> None:
    async with world(tmp_path) as here:
        reply = await here.ask(method, there(path), token=OPERATOR_TOKEN)
        assert reply.status == 200
        promised(method, path, reply)


@virtual
async def test_the_decisions_about_a_webhook_are_as_the_document_says(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        reply = await here.post()
        assert reply.status == 200
        promised("POST", ALERTS, reply)


@virtual
async def test_not_being_ready_is_no_error_and_answered_in_the_same_form(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.service.ready = Readiness(ready=False, checks={"kubernetes": "not reached"})
        reply = await here.ask("GET", "/ready")
        assert reply.status == 503
        promised("GET", "/ready", reply)


GUARDED = [(route.method, route.path) for route in ROUTES if route.path not in PUBLIC]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@virtual
async def test_a_refusal_is_as_the_document_says(tmp_path: Path, method: str, path: str) -> None:
    token = WEBHOOK_TOKEN if path == ALERTS else OPERATOR_TOKEN
    sent: Any = WEBHOOK if path == ALERTS else {"reason": "x"}
    if path.endswith("checks/{id}"):
        sent = {}

    async def asked(here: World, token: str | None = token) -> int:
        reply = await here.ask(method, there(path), token=token, json_body=sent)
        promised(method, path, reply)
        return reply.status

    async with world(tmp_path) as here:
        assert await asked(here, None) == 401
        for error in (TryAgain("later"), Broken("never"), RuntimeError("a bug")):
            here.service.error = error
            assert await asked(here) in (500, 503)
        for code in rejections(method, path):
            here.service.error = Rejected("no", status=code)
            assert await asked(here) == code
    async with world(tmp_path, limits=Limits(requests=0)) as here:
        assert await asked(here) == 503


def rejections(method: str, path: str) -> list[int]:
    """Return the codes with which the service itself rejects: of a webhook it rejects nothing."""
    if path == ALERTS:
        return []
    changes = [409] * (method in ("POST", "PUT"))
    return [400, 403, 404, *changes, *([422] * path.endswith("rollback"))]


@pytest.mark.parametrize(
    ("method", "path"),
    [each for each in GUARDED if "requestBody" in operation(*each)],
)
@virtual
async def test_a_body_that_is_too_large_or_packed_or_late_is_refused_as_the_document_says(
    tmp_path: Path, method: str, path: str
) -> None:
    token = WEBHOOK_TOKEN if path == ALERTS else OPERATOR_TOKEN
    async with world(tmp_path, limits=Limits(body=10)) as here:
        for data, headers, status in (
            (b"x" * 11, {}, 413),
            (b"x", {"Content-Encoding": "gzip"}, 415),
            (b"x", {}, 400),
        ):
            reply = await here.ask(method, there(path), token=token, data=data, headers=headers)
            assert reply.status == status
            promised(method, path, reply)
        assert "408" in operation(method, path)["responses"]


@virtual
async def test_nobody_else_may_do_it_is_answered_as_the_document_says(tmp_path: Path) -> None:
    async with world(tmp_path, namespaces=("bank",)) as here:
        for method, path in GUARDED:
            if path.startswith(ONE) or method == "DELETE":
                reply = await here.ask(method, there(path), token=PERSON_TOKEN)
                assert (reply.status, reply.reason) == (403, "forbidden")
                promised(method, path, reply)
