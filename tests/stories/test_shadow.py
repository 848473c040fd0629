"""Shadow mode: what would have been done, whether that was right, and for whom it holds."""

import asyncio
from pathlib import Path
from typing import Any

from receiver.rollout import MODE
from tests.stage import NAME, NAMESPACE, Stage, stage
from tests.virtual import virtual


async def _rules(on: Stage, replica: Any) -> dict[str, Any]:
    _, found = await on.ask(replica, "GET", "scorecard")
    return {row["alertname"]: row for row in found["rules"]}


@virtual
async def test_the_scorecard_says_when_acting_would_have_been_right(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(mode="shadow") as replica:
        # Right: a person undoes it, twelve minutes after we would have.
        await on.release("v1", "v2")
        began = on.clock.now()
        assert await on.fires(replica, began, alertname="Errors") == "shadow"
        await asyncio.sleep(660)
        on.sandbox.rollout_undo(NAMESPACE, NAME)
        await asyncio.sleep(60)
        await on.resolves(replica, began, alertname="Errors")
        # For nothing: it resolves alone, soon.
        await on.release("v3", "v4", name="cart")
        began = on.clock.now()
        assert await on.fires(replica, began, alertname="Errors", deployment="cart") == "shadow"
        await asyncio.sleep(120)
        await on.resolves(replica, began, alertname="Errors", deployment="cart")
        # Unknown: it still fires.
        await on.release("v5", "v6", name="search")
        assert await on.fires(replica, alertname="Latency", deployment="search") == "shadow"
        rules = await _rules(on, replica)
        assert list(rules) == ["Errors", "Latency"]
        errors = rules["Errors"]
        assert errors["deployments"] == [f"{NAMESPACE}/cart", f"{NAMESPACE}/{NAME}"]
        assert (errors["would_have_rolled_back"], errors["undone_by_people"]) == (2, 1)
        assert (errors["resolved_soon"], errors["still_firing"]) == (1, 0)
        assert errors["median_minutes_saved"] == 12.0
        assert rules["Latency"]["still_firing"] == 1
        assert rules["Latency"]["median_minutes_saved"] is None
        assert on.template_writes() == []


@virtual
async def test_an_alert_that_repeats_is_one_rehearsal(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(mode="shadow") as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        for _ in range(5):
            assert await on.fires(replica, began, alertname="Errors") == "shadow"
            await asyncio.sleep(60)
        assert (await _rules(on, replica))["Errors"]["would_have_rolled_back"] == 1


@virtual
async def test_one_deployment_may_be_acted_upon_while_all_others_rehearse(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(mode="shadow") as replica:
        await on.release("v1", "v2", annotations={MODE: "act"})
        await on.release("v1", "v2", name="cart")
        assert await on.fires(replica) == "rolled_back"
        assert await on.fires(replica, deployment="cart") == "shadow"


@virtual
async def test_one_alert_may_rehearse_while_all_others_act(tmp_path: Path) -> None:
    modes = {"Latency": "shadow"}
    async with stage(tmp_path) as on, on.replica(mode="act", alert_modes=modes) as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica, alertname="Latency") == "shadow"
        assert await on.fires(replica, alertname="Errors") == "rolled_back"
