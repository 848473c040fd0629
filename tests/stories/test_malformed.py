"""Malformed input over the wired service: a documented 4xx, nothing written, counted by reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.demo import STATE
from tests.captured import payload
from tests.stage import firing, stage, webhook
from tests.virtual import START, virtual

GOOD: dict[str, Any] = json.loads(payload("canary-firing"))
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
@virtual
async def test_a_label_that_is_no_name_is_refused_and_never_looked_up(
    tmp_path: Path, name: str
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        status, answer = await on.post(replica, webhook(firing(START, deployment=name)))
        assert (status, answer["alerts"][0]["reason"]) == (200, "invalid_target")
        assert all(
            name[:20] not in r.path
            for r in on.sandbox.requests
            if "deployments" in r.path and not r.path.endswith("/checkout")
        )
        assert on.template_writes() == []
        assert on.sandbox.list("ConfigMap", STATE)
