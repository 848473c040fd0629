"""`POST /api/v1/alerts?dry_run=true`: it says what would be decided and why, and writes nothing."""

import asyncio
from pathlib import Path
from typing import Any

from receiver.demo import STATE
from receiver.sandbox import Write
from tests.stage import NAMESPACE, Stage, firing, stage, webhook
from tests.virtual import virtual

US = "rollback-receiver"
BEATS = "rollback-receiver-replicas"


def _written(on: Stage) -> list[Write]:
    """Return what the service wrote, its sign of life aside."""
    return [w for w in on.sandbox.writes if w.by == US and w.name != BEATS]


def _alerts(on: Stage) -> dict[str, Any]:
    now = on.clock.now()
    return webhook(
        firing(now),
        firing(now, alertname="LatencyHigh"),
        firing(now, alertname="Older", for_="1h"),
        firing(now, rollback="never"),
        firing(now, namespace="elsewhere"),
        firing(now, deployment="nobody"),
    )


@virtual
async def test_a_dry_run_says_what_would_be_decided_and_writes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        before = len(_written(on))
        body = _alerts(on)
        status, answer = await on.post(replica, body, "?dry_run=true")
        assert status == 200
        said = [(a["action"], a["reason"]) for a in answer["alerts"]]
        assert said == [
            ("roll_back", "rolled_back"),
            ("none", "already_handled"),
            ("wait", "cooldown"),
            ("notify", "notify_only"),
            ("refuse", "namespace_not_allowed"),
            ("refuse", "target_not_found"),
        ]
        assert all(a["text"] for a in answer["alerts"])
        await asyncio.sleep(60)
        assert len(_written(on)) == before
        assert (on.image, on.people.slack, on.people.pages) == ("v2", [], [])
        names = {o["metadata"]["name"] for o in on.sandbox.list("ConfigMap", STATE)}
        assert not any(name.startswith("journal") for name in names), names
        assert on.sandbox.list("Event", NAMESPACE) == []
        _, real = await on.post(replica, body)
        assert [(a["action"], a["reason"]) for a in real["alerts"]] == said


@virtual
async def test_a_dry_run_changes_no_later_decision_and_counts_as_none(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        for _ in range(3):
            _, answer = await on.post(replica, webhook(firing(began)), "?dry_run=true")
            assert answer["alerts"][0]["reason"] == "rolled_back"
        async with on.session.get(f"{replica.url}/metrics") as metrics:
            text = await metrics.text()
        assert 'rollback_receiver_decisions_total{reason="rolled_back"} 0.0' in text
        assert await on.fires(replica, began) == "rolled_back"
        _, answer = await on.post(replica, webhook(firing(began)), "?dry_run=true")
        assert answer["alerts"][0]["reason"] == "already_handled"
