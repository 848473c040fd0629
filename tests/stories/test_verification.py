"""Whether a rollback helped: alerts that resolve or fall silent, expressions, and their data."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from tests.prometheus.double import RULE, Double
from tests.stage import NAME, NAMESPACE, Stage, crash, stage
from tests.virtual import virtual

ALERT = "CanaryErrorRatioHigh"  # the recorded alert


@contextlib.asynccontextmanager
async def watched(home: Path) -> AsyncIterator[tuple[Stage, Double]]:
    """Set the stage with a Prometheus that is asked; half of the requests fail."""
    monitoring = Double(rules=[RULE | {"name": ALERT}])
    monitoring.errors("0.5")
    async with stage(home) as on, monitoring.serve() as url:

        def asked(document: dict[str, Any]) -> None:
            document["prometheus"] = {"url": url}

        on.changes.append(asked)
        yield on, monitoring


async def undone(on: Stage, replica: app.Replica) -> datetime:
    """Release v3, let it be rolled back, and return when its alert began."""
    await on.release("v1", "v2", "v3")
    began = on.clock.now()
    assert await on.fires(replica, began) == "rolled_back"
    await asyncio.sleep(20)
    assert on.image == "v2"
    assert (await on.incident(replica))["phase"] == "verifying"
    return began


def last_page(on: Stage) -> dict[str, Any]:
    return on.people.pages[-1]


@virtual
async def test_resolved_and_false_with_data_is_recovered_at_once(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica() as replica:
        began = await undone(on, replica)
        monitoring.errors("0.01")
        await on.resolves(replica, began)
        await asyncio.sleep(5)
        incident = await on.incident(replica)
        assert incident["phase"] == "recovered"
        assert "Prometheus on CanaryErrorRatioHigh: false: 0.01: sum by" in incident["detail"]
        assert last_page(on)["event_action"] == "resolve"


@virtual
async def test_nobody_asks_prometheus_while_an_alert_fires(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="5m") as replica:
        await undone(on, replica)
        await asyncio.sleep(60)
        assert monitoring.requests == []


@virtual
async def test_resolved_while_the_expression_is_true_did_not_help(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, _), on.replica(verify_within="60s") as replica:
        began = await undone(on, replica)
        await on.resolves(replica, began)
        await asyncio.sleep(20)
        assert (await on.incident(replica))["phase"] == "verifying"
        await asyncio.sleep(40)
        incident = await on.incident(replica)
        assert incident["phase"] == "did_not_help"
        page = last_page(on)
        assert page["event_action"] == "trigger"
        assert "true: 0.5: sum by" in page["payload"]["custom_details"]["detail"]
        assert len(on.template_writes()) == 1


@virtual
async def test_resolved_for_want_of_data_is_unconfirmed(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        began = await undone(on, replica)
        monitoring.no_data()
        await on.resolves(replica, began)
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "unconfirmed"
        assert "no_data: no data: sum by" in incident["detail"]
        assert last_page(on)["event_action"] == "trigger"


@virtual
async def test_data_that_comes_in_time_is_proof(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        began = await undone(on, replica)
        monitoring.no_data()
        await on.resolves(replica, began)
        await asyncio.sleep(20)
        monitoring.errors("0")
        await asyncio.sleep(10)
        assert (await on.incident(replica))["phase"] == "recovered"


@virtual
async def test_a_prometheus_that_dies_is_no_recovery(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        began = await undone(on, replica)
        await monitoring.die()
        # Alertmanager waits for news of the alert, and then says that it resolved.
        await on.resolves(replica, began)
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "unconfirmed"
        assert "unreachable: no answer from 127.0.0.1" in incident["detail"]
        assert last_page(on)["event_action"] == "trigger"
        assert len(on.template_writes()) == 1


@virtual
async def test_a_prometheus_that_hangs_delays_the_end_by_seconds_only(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        began = await undone(on, replica)
        monitoring.hangs = True
        await on.resolves(replica, began)
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "unconfirmed"
        assert "no answer within 5 s" in incident["detail"]


@virtual
async def test_a_silenced_alert_that_is_false_is_unconfirmed(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        await undone(on, replica)
        monitoring.errors("0")  # and Alertmanager says nothing: somebody silenced it
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "unconfirmed"
        assert "no resolved came for CanaryErrorRatioHigh" in incident["detail"]
        assert "false: 0: sum by" in incident["detail"]
        assert "UNCONFIRMED" in last_page(on)["payload"]["summary"].upper()


@virtual
async def test_a_silenced_alert_that_is_true_did_not_help(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, _), on.replica(verify_within="60s") as replica:
        await undone(on, replica)
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "did_not_help"
        assert "true: 0.5: sum by" in incident["detail"]


@virtual
async def test_without_a_prometheus_silence_counts_as_firing_and_is_told_so(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(verify_within="60s") as replica:
        await undone(on, replica)
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "did_not_help"
        assert "a silence would look the same" in incident["detail"]


@virtual
async def test_every_alert_that_asked_has_to_be_false(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(replica, began)
        await on.fires(replica, began, alertname="NobodysRule")
        await asyncio.sleep(20)
        monitoring.errors("0")
        await on.resolves(replica, began)
        await on.resolves(replica, began, alertname="NobodysRule")
        await asyncio.sleep(70)
        incident = await on.incident(replica)
        assert incident["phase"] == "unconfirmed"
        assert "NobodysRule: unknown: there is no rule of that name" in incident["detail"]


@virtual
async def test_an_alert_that_comes_while_prometheus_is_asked_counts(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="60s") as replica:
        began = await undone(on, replica)
        monitoring.errors("0")
        monitoring.delay = 1
        await on.resolves(replica, began)
        await asyncio.sleep(2.5)
        assert len(monitoring.requests) == 3
        await on.fires(replica, began, alertname="LatencyHigh")
        await asyncio.sleep(20)
        assert (await on.incident(replica))["phase"] == "verifying"


@virtual
async def test_another_replica_finishes_the_verification(tmp_path: Path) -> None:
    async with (
        watched(tmp_path) as (on, monitoring),
        on.replica(1) as first,
        on.replica(2) as second,
    ):
        began = await undone(on, first)
        crash(first)
        monitoring.errors("0")
        await on.resolves(second, began)
        await asyncio.sleep(2 * on.timing.lasts)
        assert (await on.incident(second))["phase"] == "recovered"
        assert len(on.template_writes()) == 1


@virtual
async def test_a_hostile_expression_is_told_as_plain_text(tmp_path: Path) -> None:
    async with watched(tmp_path) as (on, monitoring), on.replica(verify_within="30s") as replica:
        query = 'x{a="<!channel> *bold* `code` @here :boom: \u202e"} > 1'
        monitoring.rules = [RULE | {"name": ALERT, "query": query}]
        monitoring.vectors[query] = [({}, "7")]
        await undone(on, replica)
        await asyncio.sleep(40)
        assert (await on.incident(replica))["phase"] == "did_not_help"
        told = [str(message) for _, message in on.people.slack if "DID NOT" in str(message)]
        assert told
        assert not any(evil in text for text in told for evil in ("<!", "`code`", "\u202e"))
        assert "\u202e" not in str(on.people.pages)


# --- the bake time


@virtual
async def test_the_same_alert_within_the_bake_time_is_told_and_moves_nothing(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(cooldown="30s", bake="10m") as replica:
        began = await undone(on, replica)
        await on.resolves(replica, began)
        await asyncio.sleep(120)
        assert (await on.incident(replica))["phase"] == "recovered"
        pages = len(on.people.pages)
        assert await on.fires(replica, alertname="Other") == "not_a_new_release"
        assert await on.fires(replica) == "rollback_did_not_help"
        await asyncio.sleep(30)
        assert on.people.pages[pages:]
        assert last_page(on)["event_action"] == "trigger"
        assert "rollback_did_not_help" in str(last_page(on))
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@virtual
async def test_after_the_bake_time_it_is_an_alert_like_any_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(cooldown="30s", bake="2m") as replica:
        began = await undone(on, replica)
        await on.resolves(replica, began)
        await asyncio.sleep(180)
        assert await on.fires(replica) == "not_a_new_release"
        assert (on.image, len(on.template_writes())) == ("v2", 1)


# --- verified revisions


async def soaked(on: Stage) -> None:
    """Let v1 soak for five minutes, and v2 for a moment, before v3."""
    await on.release("v1", wait=300)
    await on.release("v2", "v3")


async def marks(on: Stage, replica: app.Replica) -> dict[str, list[str]]:
    """Return the marks of each revision by its tag."""
    _, found = await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}")
    return {r["images"][0]["image"].rpartition(":")[2]: r["marks"] for r in found["history"]}


@pytest.mark.parametrize(("target", "image"), [("previous", "v2"), ("verified", "v1")])
@virtual
async def test_a_verified_revision_is_preferred_if_the_policy_says_so(
    tmp_path: Path, target: str, image: str
) -> None:
    async with stage(tmp_path) as on, on.replica(target=target, verify_after="4m") as replica:
        await soaked(on)
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(20)
        assert on.image == image
        found = await marks(on, replica)
        assert [tag for tag, words in found.items() if "verified" in words] == ["v1"]


@virtual
async def test_without_a_verified_revision_the_previous_one_is_taken(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(target="verified") as replica:
        await soaked(on)
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(20)
        assert on.image == "v2"


@virtual
async def test_a_revision_that_alerted_is_not_verified(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(verify_after="4m", mode="shadow") as replica:
        await on.release("v0", "v1", wait=100)
        began = on.clock.now()
        assert await on.fires(replica, began) == "shadow"
        await on.resolves(replica, began)
        await asyncio.sleep(200)
        await on.release("v2", "v3")
        await on.fires(replica)
        assert not any("verified" in words for words in (await marks(on, replica)).values())


@virtual
async def test_a_person_is_taken_to_the_verified_revision_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(target="verified", verify_after="4m") as replica:
        await soaked(on)
        status, _ = await on.rollback(replica)
        assert status in (200, 202)
        await asyncio.sleep(20)
        assert on.image == "v1"
