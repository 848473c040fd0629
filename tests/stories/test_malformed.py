"""Malformed input over the wired service: a documented 4xx, nothing written, counted by reason."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from receiver.demo import STATE, TOKEN
from tests.captured import payload
from tests.stage import firing, stage, webhook
from tests.virtual import START, virtual

GOOD: dict[str, Any] = json.loads(payload("canary-firing"))
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text()
HEAD = b'{"version":"4","groupKey":"k","alerts":[],"x":'
TABLE: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "not_json"),
    "null": (b"null", 400, "not_json"),
    "deep": (HEAD + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "not_json"),
    "NaN": (HEAD + b"NaN}", 400, "not_json"),
    "bad UTF-8": (b'{"version":"\xff\xfe"}', 400, "not_json"),
    "33 MiB": (b" " * 33 * 2**20, 413, "too_large"),
    "wrong version": (json.dumps(GOOD | {"version": "3"}).encode(), 400, "unsupported_version"),
    "custom payload": (b'{"text": "an alert fires"}', 400, "not_a_webhook"),
    "no labels": (
        b'{"version":"4","groupKey":"k","alerts":[{"status":"firing"}]}',
        400,
        "bad_alert",
    ),
}


@pytest.mark.parametrize("case", TABLE)
@virtual
async def test_a_malformed_body_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    body, status, reason = TABLE[case]
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.clear_log()
        answered, answer = await on.post(replica, body)
        assert (answered, answer["error"]["reason"]) == (status, reason)
        assert f"\n| `{reason}` | {status} |" in DOCUMENTED
        async with on.session.get(f"{replica.url}/metrics") as metrics:
            text = await metrics.text()
        assert f'rollback_receiver_http_rejections_total{{reason="{reason}"}} 1.0' in text
        journals = [w for w in on.sandbox.writes if w.name.startswith("journal")]
        assert (journals, on.template_writes()) == ([], [])


@pytest.mark.parametrize(
    "name",
    ["../checkout", "c" * 300, "check\nout", "checkout/../x"],
    ids=["up", "long", "line", "path"],
)
@pytest.mark.parametrize("label", ["deployment", "namespace", "pod", "replicaset"])
@virtual
async def test_a_label_that_is_no_name_is_refused_and_never_looked_up(
    tmp_path: Path, label: str, name: str
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.requests.clear()
        before = len(on.sandbox.writes)
        status, answer = await on.post(replica, webhook(firing(START, **{label: name})))
        assert (status, answer["alerts"][0]["reason"]) == (200, "invalid_target")
        async with on.session.get(f"{replica.url}/metrics") as metrics:
            text = await metrics.text()
        assert 'rollback_receiver_decisions_total{reason="invalid_target"} 1.0' in text
        asked = [r.path for r in on.sandbox.requests if f"/namespaces/{STATE}/" not in r.path]
        assert [path for path in asked if "selfsubject" not in path] == []
        # That it was refused is owed to people: written down, and no more than that.
        written = {w.name for w in on.sandbox.writes[before:] if w.by == "rollback-receiver"}
        assert written <= {"journal-of-the-receiver", "rollback-receiver-replicas"}


@virtual
async def test_size_and_time_of_a_body_are_limited_by_the_configuration(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.changes.append(lambda d: d["server"].update(body_limit="1KiB", deadline="3s"))
        async with on.replica() as replica:
            status, answer = await on.post(replica, b" " * 1025)
            assert (status, answer["error"]["reason"]) == (413, "too_large")
            began = on.clock.monotonic()
            url = URL(replica.url)
            reader, writer = await asyncio.open_connection(url.host, url.port)
            head = f"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            writer.write(f"{head}Content-Length: 9\r\n\r\n{{".encode())
            said = await reader.readline()
            writer.close()
            assert said.split()[1] == b"408"
            assert 3 <= on.clock.monotonic() - began < 4
