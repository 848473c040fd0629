"""Guards: what they refuse stays refused, across replicas and restarts, when they are lifted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from receiver.controller.guards import KEY, LEDGER
from receiver.controller.setup import SWITCH
from receiver.demo import STATE
from receiver.sandbox import ApiError
from tests.stage import NAME, NAMESPACE, OPTED_IN, PATIENT, Stage, crash, firing, stage, webhook
from tests.virtual import virtual

Change = Callable[[Stage, app.Replica], Awaitable[Any]]


# --- each guard alike: it refuses, for good; without it there is a rollback


async def _switch_on(on: Stage, replica: app.Replica) -> None:
    await on.ask(replica, "PUT", "stop", {"reason": "we look first"})


async def _switch_off(on: Stage, replica: app.Replica) -> None:
    await on.ask(replica, "DELETE", "stop")


async def _pause(on: Stage, replica: app.Replica) -> None:
    await on.ask(replica, "POST", f"deployments/{NAMESPACE}/{NAME}/pause", {"reason": "load test"})


async def _resume(on: Stage, replica: app.Replica) -> None:
    await on.ask(replica, "POST", f"deployments/{NAMESPACE}/{NAME}/resume")


def _annotated(value: str | None) -> Change:
    async def change(on: Stage, replica: app.Replica) -> None:
        patch = {"metadata": {"annotations": {"rollback-receiver/protected": value}}}
        on.sandbox.merge_patch("Deployment", NAMESPACE, NAME, patch)

    return change


async def _switch_gone(on: Stage, replica: app.Replica) -> None:
    on.sandbox.delete("ConfigMap", STATE, SWITCH)


async def _switch_back(on: Stage, replica: app.Replica) -> None:
    on.sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": STATE}})


async def _mass_alert(on: Stage, replica: app.Replica) -> None:
    for number in range(6):
        name = f"other-{number}"
        on.sandbox.deploy(NAMESPACE, name, "app:v1", labels=OPTED_IN)
        alert = firing(on.clock.now(), namespace=NAMESPACE, deployment=name)
        await on.post(replica, webhook(alert))


async def _close_breaker(on: Stage, replica: app.Replica) -> None:
    status, _ = await on.ask(replica, "DELETE", "breaker")
    assert status == 200


async def _ledger_torn(on: Stage, replica: app.Replica) -> None:
    torn = {"metadata": {"name": LEDGER, "namespace": STATE}, "data": {KEY: "{torn"}}
    with contextlib.suppress(ApiError):
        on.sandbox.delete("ConfigMap", STATE, LEDGER)
    on.sandbox.create("ConfigMap", torn)


async def _ledger_mended(on: Stage, replica: app.Replica) -> None:
    on.sandbox.delete("ConfigMap", STATE, LEDGER)


GUARDS: dict[str, tuple[Change, Change]] = {
    "stopped": (_switch_on, _switch_off),
    "paused": (_pause, _resume),
    "protected": (_annotated("never: the schema moved"), _annotated(None)),
    "breaker_open": (_mass_alert, _close_breaker),
}
UNCERTAIN: dict[str, tuple[Change, Change]] = {
    "no switch": (_switch_gone, _switch_back),
    "a torn ledger": (_ledger_torn, _ledger_mended),
}


@contextlib.asynccontextmanager
async def _two(home: Path, **policy: Any) -> AsyncIterator[tuple[Stage, app.Replica, app.Replica]]:
    async with (
        stage(home) as on,
        on.replica(1, **policy) as one,
        on.replica(2, **policy) as two,
    ):
        await on.release("v1", "v2")
        yield on, one, two


@virtual
async def test_without_a_guard_there_is_a_rollback(tmp_path: Path) -> None:
    async with _two(tmp_path) as (on, one, _):
        assert await on.fires(one) == "rolled_back"
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v1", 1)


@pytest.mark.parametrize("guard", GUARDS)
@virtual
async def test_a_refusal_by_a_guard_outlives_the_guard(tmp_path: Path, guard: str) -> None:
    """Promise 8: not from another replica, not after a restart, not when the alert is repeated."""
    shut, lift = GUARDS[guard]
    async with _two(tmp_path) as (on, one, two):
        began = on.clock.now()
        await shut(on, one)
        assert await on.fires(one, began) == guard
        await asyncio.sleep(60)
        await lift(on, two)
        for _ in range(3):
            assert await on.fires(two, began) == "already_handled"
            await asyncio.sleep(60)
        crash(one)
        async with on.replica(3) as three:
            assert await on.fires(three, began) == "already_handled"
            await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


@pytest.mark.parametrize("guard", GUARDS)
@virtual
async def test_a_guard_that_shuts_while_we_settle_refuses_what_was_decided(
    tmp_path: Path, guard: str
) -> None:
    shut, lift = GUARDS[guard]
    async with _two(tmp_path, settle="10s") as (on, one, two):
        began = on.clock.now()
        assert await on.fires(one, began) == "rolled_back"
        await asyncio.sleep(2)
        await shut(on, two)
        await asyncio.sleep(60)
        incidents = (await on.ask(two, "GET", "incidents"))[1]["incidents"]
        (incident,) = [each for each in incidents if each["deployment"] == NAME]
        assert (incident["phase"], incident["reason"]) == ("refused", guard)
        await lift(on, two)
        assert await on.fires(two, began) == "already_handled"
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


@virtual
async def test_the_switch_set_while_we_settle_holds(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(settle="10s") as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(2)
        await _switch_on(on, replica)
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


@virtual
async def test_what_the_switch_refused_stays_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        await _switch_on(on, replica)
        assert await on.fires(replica, began) == "stopped"
        await _switch_off(on, replica)
        await on.fires(replica, began)
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


@pytest.mark.parametrize("doubt", UNCERTAIN)
@virtual
async def test_what_is_uncertain_counts_as_stopped(tmp_path: Path, doubt: str) -> None:
    shut, lift = UNCERTAIN[doubt]
    async with _two(tmp_path) as (on, one, two):
        began = on.clock.now()
        await shut(on, one)
        assert await on.fires(one, began) == "stopped"
        await asyncio.sleep(30)
        assert on.people.pages
        await lift(on, one)
        assert await on.fires(two, began) == "already_handled"
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


@virtual
async def test_the_environment_stops_one_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(app.STOPPED_BY, "being drained")
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica) == "stopped"
        _, said = await on.ask(replica, "GET", "stop")
        assert said == {"stopped": True, "why": "being drained"}
        await asyncio.sleep(60)
        assert on.template_writes() == []


@virtual
async def test_in_a_freeze_window_nothing_is_rolled_back_and_after_it_the_next_alert_is(
    tmp_path: Path,
) -> None:
    # The stage begins on Monday 2026-11-23 at 01:00 UTC.
    window = [{"start": "00:00", "end": "02:00", "days": ["mon"], "why": "the night of the audit"}]
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(freeze=window) as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        assert await on.fires(replica, began) == "frozen"
        await asyncio.sleep(20)
        assert "the night of the audit" in str(on.people.slack)
        await asyncio.sleep(3600)
        assert await on.fires(replica, began) == "already_handled"
        await asyncio.sleep(60)
        assert on.template_writes() == []
        await on.resolves(replica, began)
        await on.release("v3")
        assert await on.fires(replica) == "rolled_back"


@virtual
async def test_while_a_person_repairs_by_hand_no_alert_about_it_is_acted_upon(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(verify_within="10m") as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(15)
        assert on.image == "v2"
        # While we verify somebody deploys, and what he deploys alerts before we have noticed.
        on.sandbox.deploy(NAMESPACE, NAME, "app:v4-mended")
        await on.sandbox.settled()
        reason = await on.fires(replica, alertname="Another")
        assert reason == "human_in_charge"
        await asyncio.sleep(120)
        assert on.image == "v4-mended"
        assert len(on.template_writes()) == 1


# --- budgets


async def _round(on: Stage, replica: app.Replica, number: int) -> str:
    """Release something bad, let it alert, and let it all end."""
    await on.release(f"v{number}")
    began = on.clock.now()
    reason = await on.fires(replica, began, alertname=f"Alert{number}")
    await asyncio.sleep(120)
    await on.resolves(replica, began, alertname=f"Alert{number}")
    await asyncio.sleep(60)
    return reason


@virtual
async def test_one_deployment_is_rolled_back_once_an_hour(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(cooldown="30s") as replica:
        await on.release("v1")
        assert await _round(on, replica, 2) == "rolled_back"
        assert await _round(on, replica, 3) == "budget_spent"
        assert on.image == "v3"
        assert any("budget" in str(page).lower() for page in on.people.pages)
        await asyncio.sleep(3600)
        assert await _round(on, replica, 4) == "rolled_back"
        assert len(on.template_writes()) == 2


@virtual
async def test_the_cluster_has_a_budget_too_and_a_restart_does_not_fill_it(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {
        "breaker": {"enabled": False},
        "budgets": {"per_target": [], "per_cluster": ["2 per 30m"]},
    }
    async with stage(tmp_path) as on:
        for name in ("one", "two", "three"):
            await on.release("v1", "v2", name=name, wait=5)
        said = []
        for seed, name in enumerate(("one", "two", "three")):
            async with on.replica(seed, **quiet) as replica:
                said.append(await on.fires(replica, deployment=name))
                await asyncio.sleep(30)
        assert said == ["rolled_back", "rolled_back", "budget_spent"]
        assert len(on.template_writes()) == 2


@virtual
async def test_of_many_that_settle_at_once_no_more_than_the_budget_are_patched(
    tmp_path: Path,
) -> None:
    quiet: dict[str, Any] = {
        "breaker": {"enabled": False},
        "budgets": {"per_target": [], "per_cluster": ["2 per 30m"]},
    }
    async with stage(tmp_path) as on, on.replica(1, **quiet) as one, on.replica(2, **quiet) as two:
        names = [f"app-{number}" for number in range(5)]
        for name in names:
            await on.release("v1", "v2", name=name, wait=3)
        now = on.clock.now()
        await asyncio.gather(
            *(on.fires((one, two)[n % 2], now, deployment=name) for n, name in enumerate(names))
        )
        await asyncio.sleep(60)
        assert len(on.template_writes()) == 2
        _, found = await on.ask(one, "GET", "incidents")
        assert sorted(i["reason"] for i in found["incidents"]) == (
            3 * ["budget_spent"] + 2 * ["rolled_back"]
        )


@virtual
async def test_a_person_is_not_held_back_by_a_budget_and_spends_none(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(cooldown="5s") as replica:
        await on.release("v1", "v2")
        assert (await on.rollback(replica, wait=True))[0] == 200
        await asyncio.sleep(30)
        assert await _round(on, replica, 3) == "rolled_back"
        status, _ = await on.rollback(replica, to_revision=_number(on, "v3"), force=True, wait=True)
        assert status == 200


def _number(on: Stage, tag: str) -> int:
    for found in on.sandbox.list("ReplicaSet", NAMESPACE):
        if found["spec"]["template"]["spec"]["containers"][0]["image"] == f"app:{tag}":
            return int(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"])
    raise LookupError(tag)


@virtual
async def test_a_rollback_that_came_to_nothing_spends_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(settle="10s", cooldown="5s") as replica:
        await on.release("v1", "v2")

        def hotfix(verb: str, path: str, stored: object) -> None:
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                on.sandbox.before_commit = None
                on.sandbox.deploy(NAMESPACE, NAME, "app:v3")

        on.sandbox.before_commit = hotfix
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v3", [])
        assert await _round(on, replica, 4) == "rolled_back"


# --- the breaker


async def _outage(on: Stage, replicas: list[app.Replica], names: list[str]) -> datetime:
    """Let all begin to alert within twenty seconds, as when what they share breaks."""
    began = on.clock.now()
    for number, name in enumerate(names):
        await on.fires(replicas[number % len(replicas)], began, deployment=name)
        await asyncio.sleep(20 / len(names))
    return began


@virtual
async def test_when_redis_dies_no_release_is_blamed(tmp_path: Path) -> None:
    """12 targets alert within 20 s, recover, their alerts kept firing, the breaker closes."""
    async with (
        stage(tmp_path, timing=PATIENT) as on,
        on.replica(1, settle="30s") as one,
        on.replica(2, settle="30s") as two,
    ):
        names = [f"app-{number:02}" for number in range(12)]
        for name in names:
            await on.release("v1", "v2", name=name, wait=2)
        began = await _outage(on, [one, two], names)
        await asyncio.sleep(120)
        assert on.template_writes() == []
        pages = [page for page in on.people.pages if page["event_action"] == "trigger"]
        assert {page["dedup_key"] for page in pages} == {pages[0]["dedup_key"]}
        assert "12 targets" in str(pages[-1])
        for name in names:
            assert f"{NAMESPACE}/{name}" in str(pages[-1])
        # Half an hour of quiet: it closes, and nothing that it refused is done now.
        await asyncio.sleep(1800)
        for name in names:
            assert await on.fires(two, began, deployment=name) == "already_handled"
        await asyncio.sleep(120)
        assert on.template_writes() == []
        assert on.people.pages[-1]["event_action"] == "resolve"
        # What begins after that is on its own again.
        await on.release("v3", name=names[0], wait=5)
        assert await on.fires(two, deployment=names[0], alertname="New") == "rolled_back"


@virtual
async def test_the_page_of_the_breaker_is_sent_though_its_finder_dies(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1, settle="60s") as one, on.replica(2):
        names = [f"app-{number}" for number in range(6)]
        for name in names:
            await on.release("v1", "v2", name=name, wait=2)
        now = on.clock.now()
        await asyncio.gather(*(on.fires(one, now, deployment=name) for name in names))
        crash(one)
        await asyncio.sleep(30)
        triggers = [page for page in on.people.pages if page["event_action"] == "trigger"]
        assert any("6 targets" in str(page) for page in triggers)


@virtual
async def test_a_share_of_few_targets_opens_it_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        names = [f"app-{number}" for number in range(10)]
        for name in names:
            await on.release("v1", "v2", name=name, wait=2)
        async with on.replica(settle="20s") as replica:
            await asyncio.sleep(5)
            for name in names[:3]:
                assert await on.fires(replica, deployment=name) in ("rolled_back", "breaker_open")
            await asyncio.sleep(60)
            assert on.template_writes() == []


@virtual
async def test_a_person_may_close_the_breaker_who_may_release_the_switch(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        await _mass_alert(on, replica)
        status, said = await on.ask(replica, "GET", "breaker")
        assert (status, said["open"], said["count"]) == (200, True, 6)
        assert said["targets"] == [f"{NAMESPACE}/other-{number}" for number in range(6)]
        status, said = await on.ask(replica, "DELETE", "breaker")
        assert (status, said["open"]) == (200, False)
        assert await on.fires(replica) == "rolled_back"


@virtual
async def test_a_dry_run_counts_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        for number in range(8):
            on.sandbox.deploy(NAMESPACE, f"other-{number}", "app:v1", labels=OPTED_IN)
            alert = firing(on.clock.now(), namespace=NAMESPACE, deployment=f"other-{number}")
            await on.post(replica, webhook(alert), "?dry_run=true")
        assert await on.fires(replica) == "rolled_back"


@virtual
async def test_an_alert_that_repeats_begins_once(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(mode="shadow") as replica:
        names = [f"app-{number}" for number in range(7)]
        for name in names:
            await on.release("v1", "v2", name=name, wait=2)
        began = {}
        for name in names:
            began[name] = on.clock.now()
            await on.fires(replica, deployment=name)
            await asyncio.sleep(400)
        for name in names:
            await on.fires(replica, began[name], deployment=name)
        assert not (await on.ask(replica, "GET", "breaker"))[1]["open"]
