"""The API of staged releases: what is asked reaches the service as it was meant, or not at all."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from receiver.controller.answers import Outcome, Person, ReleaseWish, Steering
from tests.virtual import virtual
from tests.web.world import LOG, PERSON_TOKEN, RELEASE, Reply, World, world

ONE = "/api/v1/deployments/shop/checkout/release"
OTHER = "/api/v1/deployments/shop/other/release"
ON_CALL = Person(name="on-call", namespaces=("shop",))
STEERINGS = get_args(Steering)
REFUSAL = {"error": {"reason": "another_person", "message": "x"}}


async def ask(here: World, method: str, path: str, body: Any = None) -> Reply:
    return await here.ask(method, path, token=PERSON_TOKEN, json_body=body)


# --- to begin one

WISHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"reason": "1.4.2"}, {}),
    ({"reason": " 1.4.2 "}, {}),
    ({"reason": "1.4.2", "images": None, "plan": None, "version": None}, {}),
    ({"reason": "1.4.2", "images": {}}, {}),
    (
        {"reason": "1.4.2", "images": {"api": "registry:5000/api:1.4.2", "log": "log@sha256:0a"}},
        {"images": (("api", "registry:5000/api:1.4.2"), ("log", "log@sha256:0a"))},
    ),
    (
        {"reason": "1.4.2", "plan": "quick", "version": "v1.4.2", "force": True, "dry_run": True},
        {"plan": "quick", "version": "v1.4.2", "force": True, "dry_run": True},
    ),
]


@pytest.mark.parametrize(("body", "expected"), WISHES, ids=range(len(WISHES)))
@virtual
async def test_a_release_is_begun_as_it_was_meant(
    tmp_path: Path, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    async with world(tmp_path) as here:
        here.service.outcome = Outcome(status=202, body=RELEASE)
        reply = await ask(here, "POST", ONE, body)
        assert (reply.status, reply.json) == (202, RELEASE)
        wish = ReleaseWish(reason="1.4.2", **expected)
        assert here.service.calls == [("begin_release", "shop", "checkout", wish, ON_CALL)]


REFUSED: list[tuple[Any, str]] = [
    ({}, "reason: Field required"),
    ([], "body: "),
    ({"reason": "a\nb"}, "reason: must be one line of text"),
    ({"reason": "x", "plan": ""}, "plan: must be one line of text"),
    ({"reason": "x", "plan": 1}, "plan: "),
    ({"reason": "x", "version": "\u202e"}, "version: must be one line of text"),
    ({"reason": "x", "version": "1" * 241}, "version: "),
    ({"reason": "x", "images": "api:1"}, "images: "),
    ({"reason": "x", "images": [["api", "api:1"]]}, "images: "),
    ({"reason": "x", "images": {"api": ""}}, "images: an image is one word, such as"),
    ({"reason": "x", "images": {"api": "a b"}}, "images: an image is one word, such as"),
    ({"reason": "x", "images": {"api": "a\n"}}, "images: an image is one word, such as"),
    ({"reason": "x", "images": {"api": "a" * 501}}, "images: an image is one word, such as"),
    ({"reason": "x", "images": {"api": 1}}, "images: "),
    ({"reason": "x", "images": {"api": None}}, "images: "),
    ({"reason": "x", "images": {"API": "a:1"}}, "images: each is the name of a container and"),
    ({"reason": "x", "images": {"": "a:1"}}, "images: each is the name of a container and"),
    ({"reason": "x", "images": {f"c{i}": "a:1" for i in range(51)}}, "images: "),
    ({"reason": "x", "force": "yes"}, "force: "),
    ({"reason": "x", "dry_run": 1}, "dry_run: "),
    ({"reason": "x", "image": {}}, "image: is no field of this request; did you mean images?"),
    ({"reason": "x", "wait": True}, "wait: is no field of this request"),
]


@pytest.mark.parametrize(("body", "text"), REFUSED, ids=range(len(REFUSED)))
@virtual
async def test_a_release_that_is_not_understood_is_refused_with_its_field(
    tmp_path: Path, body: Any, text: str
) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "POST", ONE, body)
        assert (reply.status, reply.reason) == (400, "bad_field")
        assert reply.json["error"]["message"].startswith(text)
        assert here.service.calls == []


# --- to look at one


@virtual
async def test_a_release_is_shown_as_json(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "GET", ONE)
        assert (reply.status, reply.json) == (200, RELEASE)
        assert reply.headers["Content-Type"].startswith("application/json")
        assert here.service.calls == [("release", "shop", "checkout")]


@virtual
async def test_its_log_is_markdown_that_no_browser_takes_for_anything_else(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "GET", f"{ONE}/log.md")
        assert (reply.status, reply.text) == (200, LOG)
        assert reply.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert here.service.calls == [("release_log", "shop", "checkout")]


@pytest.mark.parametrize("path", [OTHER, f"{OTHER}/log.md"])
@virtual
async def test_where_there_was_no_release_is_nothing_to_show(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "GET", path)
        assert (reply.status, reply.reason) == (404, "no_release")
        assert reply.headers["Content-Type"].startswith("application/json")
        assert here.count("http_rejections_total", reason="no_release") == 1


# --- to steer one


@pytest.mark.parametrize("what", STEERINGS)
@virtual
async def test_each_way_to_steer_reaches_the_service_as_itself(tmp_path: Path, what: str) -> None:
    async with world(tmp_path) as here:
        here.service.outcome = Outcome(status=200, body=RELEASE)
        reply = await ask(here, "POST", f"{ONE}/{what}", {"reason": " why "})
        assert (reply.status, reply.json) == (200, RELEASE)
        assert here.service.calls == [
            ("steer_release", "shop", "checkout", what, ON_CALL, "why"),
        ]


@pytest.mark.parametrize("what", STEERINGS)
@virtual
async def test_whoever_steers_says_why(tmp_path: Path, what: str) -> None:
    async with world(tmp_path) as here:
        for body in (None, {}, {"reason": ""}, {"reason": "a\nb"}, {"reason": "x", "role": "cto"}):
            reply = await ask(here, "POST", f"{ONE}/{what}", body)
            assert (reply.status, reply.reason) == (400, "bad_field")
        assert here.service.calls == []


@pytest.mark.parametrize(
    ("method", "what"), [("GET", "approve"), ("POST", "log.md"), ("POST", "finish"), ("PUT", "")]
)
@virtual
async def test_there_is_no_other_way_to_steer(tmp_path: Path, method: str, what: str) -> None:
    async with world(tmp_path) as here:
        path = f"{ONE}/{what}".rstrip("/")
        assert (await ask(here, method, path, {"reason": "x"})).status in (404, 405)
        assert here.service.calls == []


# --- to tick a line

TICKS: list[tuple[Any, tuple[str, bool]]] = [
    (None, ("", True)),
    ({}, ("", True)),
    ({"done": True, "note": " seen "}, ("seen", True)),
    ({"done": False}, ("", False)),
    ({"note": None}, ("", True)),
]


@pytest.mark.parametrize(("body", "expected"), TICKS, ids=range(len(TICKS)))
@virtual
async def test_a_line_is_ticked_unless_the_body_says_otherwise(
    tmp_path: Path, body: Any, expected: tuple[str, bool]
) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "POST", f"{ONE}/checks/db-dry-run", body)
        assert (reply.status, reply.json) == (200, {"id": "inc-1"})
        call = ("tick_check", "shop", "checkout", "db-dry-run", ON_CALL, *expected)
        assert here.service.calls == [call]


@pytest.mark.parametrize(
    "body",
    [
        {"done": "yes"},
        {"done": 1},
        {"done": None},
        {"note": ""},
        {"note": "a\nb"},
        {"note": "x" * 241},
        {"node": "x"},
        [],
    ],
)
@virtual
async def test_a_tick_that_is_not_understood_is_refused(tmp_path: Path, body: Any) -> None:
    async with world(tmp_path) as here:
        reply = await ask(here, "POST", f"{ONE}/checks/ci", body)
        assert (reply.status, reply.reason) == (400, "bad_field")
        assert here.service.calls == []


# --- all of them


@virtual
async def test_prometheus_foresees_every_answer_of_these_routes(tmp_path: Path) -> None:
    route = "/api/v1/deployments/{namespace}/{name}/release"
    refused = ("400", "401", "403", "404", "408", "409", "413", "503")
    async with world(tmp_path) as here:
        for path, codes in (
            (route, ("200", "202", *refused)),
            (f"{route}/log.md", ("200", "401", "403", "404", "503")),
            *((f"{route}/{what}", ("200", *refused)) for what in STEERINGS),
            (f"{route}/checks/{{id}}", ("200", *refused)),
        ):
            for code in codes:
                assert here.count("http_requests_total", route=path, code=code) == 0


EACH = [
    ("POST", ONE),
    *(("POST", f"{ONE}/{what}") for what in STEERINGS),
    ("POST", f"{ONE}/checks/ci"),
]


@pytest.mark.parametrize(("method", "path"), EACH)
@virtual
async def test_a_refusal_is_answered_as_it_is_and_counted(
    tmp_path: Path, method: str, path: str
) -> None:
    async with world(tmp_path) as here:
        here.service.outcome = Outcome(status=403, body=REFUSAL)
        body = {} if path.endswith("checks/ci") else {"reason": "x"}
        reply = await ask(here, method, path, body)
        assert (reply.status, reply.json) == (403, REFUSAL)
        assert here.count("http_rejections_total", reason="another_person") == 1


@pytest.mark.parametrize(("method", "path"), EACH)
@virtual
async def test_what_is_too_large_or_no_json_is_refused(
    tmp_path: Path, method: str, path: str
) -> None:
    async with world(tmp_path) as here:
        large = json.dumps({"reason": "x" * 70_000}).encode()
        for data, status, reason in (
            (large, 413, "too_large"),
            (b"{", 400, "not_json"),
            (b"\xff", 400, "not_json"),
        ):
            reply = await here.ask(method, path, token=PERSON_TOKEN, data=data)
            assert (reply.status, reply.reason) == (status, reason)
        assert here.service.calls == []


BAD_PATHS = [
    ("POST", "shop/Checkout/release"),
    ("GET", "Shop/checkout/release"),
    ("GET", "shop/check_out/release/log.md"),
    ("POST", "shop/%00/release/approve"),
    ("POST", "shop/checkout/release/checks/CI"),
    ("POST", "shop/checkout/release/checks/a_b"),
    ("POST", "shop/checkout/release/checks/a%2Fb"),
    ("POST", "shop/checkout/release/checks/ci%0A"),
    ("POST", f"shop/checkout/release/checks/{'x' * 41}"),
]


@pytest.mark.parametrize(("method", "path"), BAD_PATHS)
@virtual
async def test_what_cannot_be_a_name_is_not_looked_for(
    tmp_path: Path, method: str, path: str
) -> None:
    async with world(tmp_path) as here:
        said = await here.raw(
            f"{method} /api/v1/deployments/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Length: 0\r\nAuthorization: Bearer {PERSON_TOKEN}\r\n\r\n".encode()
        )
        assert b'"invalid_target"' in said
        assert said.split()[1] == b"400"
        assert here.service.calls == []


@virtual
async def test_a_release_of_a_path_that_names_an_id_makes_no_series(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        before = (await here.ask("GET", "/metrics")).text.count("\n")
        for index in range(20):
            await ask(here, "POST", f"{ONE}/checks/c{index}")
        assert (await here.ask("GET", "/metrics")).text.count("\n") == before
