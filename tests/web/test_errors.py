"""Whose move it is: each error becomes one kind of answer, and one line of the log."""

from pathlib import Path
from typing import Any

import pytest

from receiver.errors import (
    Broken,
    Conflict,
    Denied,
    Forbidden,
    Rejected,
    StateUnreadable,
    TryAgain,
    Unavailable,
)
from tests.virtual import virtual
from tests.web.world import PERSON_TOKEN, World, world

ALERTS = "/api/v1/alerts"
ONE = "/api/v1/deployments/shop/checkout"

ERRORS = [
    (Rejected("no", status=409, reason="current_changed"), 409, 409, "current_changed"),
    (TryAgain("later"), 503, 503, "try_again"),
    (Conflict("lost"), 503, 503, "try_again"),
    (Unavailable("gone", ambiguous=True), 503, 503, "try_again"),
    (Broken("never"), 503, 500, "broken"),
    (Forbidden("not yours"), 503, 500, "broken"),
    (Denied("no"), 503, 500, "broken"),
    (StateUnreadable("garbage"), 503, 500, "broken"),
    (RuntimeError("a bug with detail"), 503, 500, "internal"),
    (TimeoutError(), 503, 500, "internal"),
    (ConnectionResetError("socket"), 503, 500, "internal"),
    (ExceptionGroup("many", [ValueError("one")]), 503, 500, "internal"),
]


async def _ask_both(here: World) -> tuple[Any, Any]:
    webhook = await here.post()
    person = await here.ask(
        "POST", f"{ONE}/rollback", token=PERSON_TOKEN, json_body={"reason": "x"}
    )
    return webhook, person


@pytest.mark.parametrize(
    ("error", "webhook", "person", "reason"), ERRORS, ids=[repr(each[0]) for each in ERRORS]
)
@virtual
async def test_an_error_of_the_service_says_whose_move_it_is(
    tmp_path: Path, error: Exception, webhook: int, person: int, reason: str
) -> None:
    async with world(tmp_path) as here:
        here.service.error = error
        for reply, status in zip(await _ask_both(here), (webhook, person), strict=True):
            assert (reply.status, reply.reason) == (status, reason)
            assert set(reply.json["error"]) == {"reason", "message"}
            assert ("Retry-After" in reply.headers) == (status == 503)
            assert "Traceback" not in reply.text
            assert "detail" not in reply.text
        assert here.count("http_rejections_total", reason=reason) == 2
        assert here.count("alerts_received_total", status="firing") == 0
        told = {"try_again": "request_postponed", "broken": "request_failed"}
        event = told.get(reason, "request_broke")
        expected = [] if webhook == 409 else [event] * 2
        assert [each["event"] for each in here.complaints] == expected


@virtual
async def test_the_id_in_the_answer_is_the_one_in_the_log(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.service.error = RuntimeError("a bug")
        reply = await here.post()
        [line] = here.complaints
        assert line["id"] in reply.text
        assert line["exception"][0]["exc_type"] == "RuntimeError"


@pytest.mark.parametrize(
    ("asked", "said"), [(None, "5"), (0.2, "1"), (17.4, "17"), (1e9, "300"), (0.0, "5")]
)
@virtual
async def test_retry_after_is_what_the_other_side_asks_for_within_reason(
    tmp_path: Path, asked: float | None, said: str
) -> None:
    async with world(tmp_path) as here:
        here.service.error = Unavailable("busy", retry_after=asked)
        assert (await here.post()).headers["Retry-After"] == said


@virtual
async def test_no_answer_tells_what_we_are_made_of_or_may_be_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for path in ("/health", "/nowhere", ALERTS, "/", "/metrics"):
            reply = await here.ask("GET", path)
            assert reply.headers["Server"] == "rollback-receiver"
            assert reply.headers["Cache-Control"] == "no-store"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
