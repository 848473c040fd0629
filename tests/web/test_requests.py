"""Size, time, path, method and form of a request: each has one answer."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from receiver.web import Limits
from receiver.web.body import KIB
from tests.virtual import LoopClock, virtual
from tests.web.world import PERSON_TOKEN, WEBHOOK, WEBHOOK_TOKEN, world

ALERTS = "/api/v1/alerts"
ONE = "/api/v1/deployments/shop/checkout"
AUTH = f"Authorization: Bearer {WEBHOOK_TOKEN}\r\n"
LARGE = 8 * KIB * KIB
SMALL = Limits(body=KIB, seconds=10)


def head(*lines: str, path: str = ALERTS, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, AUTH, ""]).encode()


def answer(said: bytes) -> tuple[int, Any]:
    """Return status and JSON of the first answer in these bytes."""
    start, _, body = said.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(body or b"null")


# --- the webhook


@virtual
async def test_a_webhook_is_answered_with_each_decision(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        reply = await here.post(WEBHOOK | {"truncatedAlerts": 3})
        assert reply.status == 200
        assert reply.json == {
            "alerts": [
                {
                    "fingerprint": "0123456789abcdef",
                    "alertname": "ErrorRatioHigh",
                    "action": "roll_back",
                    "reason": "rolled_back",
                    "text": "The bad revision is rolled back.",
                    "namespace": "shop",
                    "deployment": "checkout",
                    "incident": "inc-1",
                }
            ],
            "truncated": 3,
        }
        assert here.count("alerts_received_total", status="firing") == 1
        assert here.count("truncated_alerts_total") == 3
        assert here.count("last_webhook_timestamp_seconds") == pytest.approx(
            LoopClock().now().timestamp(), abs=60
        )
        assert here.count("http_requests_total", route=ALERTS, code="200") == 1


@virtual
async def test_a_dry_run_counts_nothing_as_received(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (await here.post(path=f"{ALERTS}?dry_run=true")).status == 200
        assert here.service.calls[0][3] is True
        assert here.count("alerts_received_total", status="firing") == 0
        assert here.count("last_webhook_timestamp_seconds") == 0
        assert (await here.post(path=f"{ALERTS}?dry_run=false")).status == 200
        assert here.service.calls[1][3] is False


@pytest.mark.parametrize("value", ["", "1", "yes", "True", "true%00"])
@virtual
async def test_a_dry_run_that_is_neither_true_nor_false_is_refused(
    tmp_path: Path, value: str
) -> None:
    async with world(tmp_path) as here:
        assert (await here.post(path=f"{ALERTS}?dry_run={value}")).status == 400
        assert here.service.calls == []


MALFORMED = {
    "nothing": (b"", "not_json"),
    "half": (b'{"version": "4"', "not_json"),
    "not utf-8": (b"\xff\xfe", "not_json"),
    "a list": (b"[]", "not_a_webhook"),
    "NaN": (b'{"version": NaN}', "not_json"),
    "deep": (b"[" * 100_000, "not_json"),
    "version 3": (json.dumps(WEBHOOK | {"version": "3"}).encode(), "unsupported_version"),
    "a bad alert": (json.dumps(WEBHOOK | {"alerts": [{}]}).encode(), "bad_alert"),
}


@pytest.mark.parametrize(("body", "reason"), MALFORMED.values(), ids=MALFORMED)
@virtual
async def test_what_is_no_webhook_is_refused_by_reason(
    tmp_path: Path, body: bytes, reason: str
) -> None:
    async with world(tmp_path) as here:
        reply = await here.ask("POST", ALERTS, token=WEBHOOK_TOKEN, data=body)
        assert (reply.status, reply.reason) == (400, reason)
        assert here.count("http_rejections_total", reason=reason) == 1
        assert here.service.calls == []


# --- size


@virtual
async def test_a_body_that_announces_too_much_is_refused_unread(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        began = LoopClock().monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(head(f"Content-Length: {32 * KIB * KIB + 1}"))
        said = await reader.read(65536)
        writer.close()
        status, body = answer(said)
        assert (status, body["error"]["reason"]) == (413, "too_large")
        assert body["error"]["message"] == "the body is larger than 32 MiB"
        assert LoopClock().monotonic() - began < 0.5


@virtual
async def test_a_sender_who_writes_it_all_first_still_reads_the_413(tmp_path: Path) -> None:
    async with world(tmp_path, limits=SMALL) as here:
        said = await here.stubborn(head(f"Content-Length: {LARGE}") + b"x" * LARGE)
        status, body = answer(said)
        assert (status, body["error"]["reason"]) == (413, "too_large")
        assert body["error"]["message"] == "the body is larger than 1 KiB"


@virtual
async def test_a_sender_without_a_token_who_writes_it_all_first_still_reads_the_401(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        sent = head(f"Content-Length: {LARGE}").replace(AUTH.encode(), b"")
        assert answer(await here.stubborn(sent + b"x" * LARGE))[0] == 401


@virtual
async def test_a_body_that_announces_nothing_is_counted_as_it_comes(tmp_path: Path) -> None:
    async def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 100

    async with world(tmp_path, limits=SMALL) as here:
        reply = await here.ask("POST", ALERTS, token=WEBHOOK_TOKEN, data=pieces())
        assert (reply.status, reply.reason) == (413, "too_large")


@virtual
async def test_a_body_of_just_the_limit_is_read(tmp_path: Path) -> None:
    body = json.dumps(WEBHOOK).encode()
    limits = Limits(body=KIB)
    async with world(tmp_path, limits=limits) as here:
        full = body + b" " * (KIB - len(body))
        assert (await here.ask("POST", ALERTS, token=WEBHOOK_TOKEN, data=full)).status == 200
        more = full + b" "
        assert (await here.ask("POST", ALERTS, token=WEBHOOK_TOKEN, data=more)).status == 413


@virtual
async def test_a_person_needs_no_more_than_a_small_body(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        reply = await here.ask("POST", f"{ONE}/rollback", token=PERSON_TOKEN, data=b" " * 65537)
        assert (reply.status, reply.reason) == (413, "too_large")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "gzip, identity", "zstd"])
@virtual
async def test_a_compressed_body_is_refused_and_never_unpacked(tmp_path: Path, coding: str) -> None:
    async with world(tmp_path) as here:
        bomb = gzip.compress(b"\0" * 10_000_000)
        reply = await here.ask(
            "POST", ALERTS, token=WEBHOOK_TOKEN, data=bomb, headers={"Content-Encoding": coding}
        )
        assert (reply.status, reply.reason) == (415, "compressed")


@virtual
async def test_identity_is_no_compression(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        reply = await here.post(headers={"Content-Encoding": "identity"})
        assert reply.status == 200


# --- time


@virtual
async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        began = LoopClock().monotonic()
        said = await here.raw(head("Content-Length: 100"))
        status, body = answer(said)
        assert (status, body["error"]["reason"]) == (408, "too_slow")
        assert 10 <= LoopClock().monotonic() - began < 15


@virtual
async def test_a_body_that_trickles_is_given_up_however_steadily(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        trickle = [b"x"] * 20
        said = await here.raw(head("Content-Length: 100"), *trickle, wait=1.0)
        assert answer(said)[0] == 408
        assert here.service.calls == []


@virtual
async def test_a_header_that_never_ends_is_given_up(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        began = LoopClock().monotonic()
        assert await here.raw(b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\n") == b""
        assert LoopClock().monotonic() - began < 90


@virtual
async def test_who_leaves_in_the_middle_of_the_body_breaks_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(head("Content-Length: 100") + b'{"version"')
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(1)
        assert here.count("http_rejections_total", reason="incomplete_body") == 1
        assert here.complaints == []
        assert (await here.post()).status == 200


@virtual
async def test_what_was_accepted_is_finished_even_if_its_sender_has_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.service.gate = asyncio.Event()
        body = json.dumps(WEBHOOK).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(head(f"Content-Length: {len(body)}") + body)
        await writer.drain()
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(1)
        here.service.gate.set()
        await asyncio.sleep(1)
        assert [call[0] for call in here.service.calls] == ["receive", "finished"]


@virtual
async def test_beyond_so_many_requests_at_a_time_the_answer_is_503(tmp_path: Path) -> None:
    async with world(tmp_path, limits=Limits(requests=3)) as here:
        here.service.gate = asyncio.Event()
        waiting = [asyncio.create_task(here.post()) for _ in range(3)]
        await asyncio.sleep(1)
        reply = await here.post()
        assert (reply.status, reply.reason) == (503, "busy")
        assert (await here.ask("GET", "/health")).status == 200
        here.service.gate.set()
        assert [(await each).status for each in waiting] == [200, 200, 200]
        assert (await here.post()).status == 200


# --- path and method


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/alerts/",
        "/api/v1/alert",
        "//api/v1/alerts",
        "/api/v1/../v1/alerts/..",
        "/API/v1/alerts",
        "/health/",
        "/openapi.yaml",
        "/api/v1/deployments/shop/",
        "/api/v1/deployments/shop/checkout/rollback/",
        "/" + "x" * 5000,
    ],
)
@virtual
async def test_another_path_is_not_there_and_leads_nowhere(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as here:
        said = await here.raw(head("Content-Length: 0", "Connection: close", path=path))
        status, body = answer(said)
        assert (status, body["error"]["reason"]) == (404, "not_found")
        assert b"Location" not in said
        assert here.count("http_requests_total", route="none", code="404") == 1


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", ALERTS, "POST"),
        ("PUT", ALERTS, "POST"),
        ("POST", "/health", "GET"),
        ("POST", ONE, "GET"),
        ("GET", f"{ONE}/rollback", "POST"),
        ("POST", "/api/v1/stop", "DELETE,GET,PUT"),
        ("TRACE", ALERTS, "POST"),
    ],
)
@virtual
async def test_another_method_is_not_allowed(
    tmp_path: Path, method: str, path: str, allowed: str
) -> None:
    async with world(tmp_path) as here:
        reply = await here.ask(method, path, token=WEBHOOK_TOKEN)
        assert (reply.status, reply.reason) == (405, "method_not_allowed")
        assert reply.headers["Allow"] == allowed


BAD_NAMES = {
    "a path": "..%2F..%2Fsecrets",
    "an encoded slash": "a%2Fb",
    "a query": "a%3FdryRun=All",
    "300 characters": "a" * 300,
    "a new line": "a%0Ab",
    "a final new line": "checkout%0A",
    "upper case": "Checkout",
    "a space": "a%20b",
    "a NUL": "a%00",
    "a dash first": "-a",
    "unicode": "caf%C3%A9",
    "a look-alike": "%D1%81heckout",
    "an underscore": "a_b",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
@pytest.mark.parametrize("path", [ONE, f"{ONE}/rollback", f"{ONE}/pause", f"{ONE}/resume"])
@virtual
async def test_a_path_that_holds_no_kubernetes_name_goes_no_further(
    tmp_path: Path, path: str, name: str
) -> None:
    async with world(tmp_path) as here:
        method = "GET" if path == ONE else "POST"
        for wrong in (path.replace("checkout", name), path.replace("shop", name)):
            lines = ["Content-Length: 0", "Connection: close"]
            sent = head(*lines, path=wrong, method=method).replace(
                WEBHOOK_TOKEN.encode(), PERSON_TOKEN.encode()
            )
            status, body = answer(await here.raw(sent))
            assert (status, body["error"]["reason"]) == (400, "invalid_target")
        assert here.service.calls == []


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e"])
@virtual
async def test_dots_in_a_path_lead_nowhere(tmp_path: Path, name: str) -> None:
    async with world(tmp_path) as here:
        lines = ["Content-Length: 0", "Connection: close"]
        path = f"/api/v1/deployments/shop/{name}/rollback"
        sent = head(*lines, path=path).replace(WEBHOOK_TOKEN.encode(), PERSON_TOKEN.encode())
        assert answer(await here.raw(sent))[0] in (400, 404)
        assert here.service.calls == []


@virtual
async def test_what_is_no_http_is_refused_without_an_echo(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for nonsense in (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03canary\r\n\r\n", b"canary\r\n\r\n"):
            said = await here.raw(nonsense)
            assert said.split()[1] == b"400"
        assert (await here.post()).status == 200
