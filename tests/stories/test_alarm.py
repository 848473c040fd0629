"""Never silently do nothing: without a durable decision for a minute, people are called."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from receiver import app, demo
from receiver.controller.alarm import CALLED_EVERY
from receiver.controller.guards import KEY, LEDGER
from receiver.sandbox import Fault
from tests.stage import NAME, NAMESPACE, UNHURRIED, Stage, firing, stage, webhook
from tests.stories.unruly import CHAT, PAGER, unruly
from tests.virtual import LoopClock, virtual


async def _repeated(on: Stage, replica: app.Replica, seconds: float, **labels: str) -> list[int]:
    """Deliver an alert every ten seconds, as Alertmanager does while it is answered 503."""
    began, codes = on.clock.now(), []
    end = on.clock.monotonic() + seconds
    while on.clock.monotonic() < end:
        alert = firing(began, namespace=NAMESPACE, deployment=NAME, **labels)
        status, _ = await on.post(replica, webhook(alert))
        codes.append(status)
        await asyncio.sleep(10)
    return codes


def _alarms(on: Stage) -> list[dict[str, Any]]:
    return [page for page in on.people.pages if page["dedup_key"].startswith("dir-")]


def _down() -> Fault:
    return Fault(match="/", kind="status", status=503, times=None)


@virtual
async def test_an_alert_that_cannot_be_written_down_is_paged_from_memory(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.faults.append(_down())
        codes = await _repeated(on, replica, 50)
        assert set(codes) == {503}
        assert on.people.pages == []
        await _repeated(on, replica, 40)
        (page,) = _alarms(on)
        assert page["event_action"] == "trigger"
        assert f"{NAMESPACE}/{NAME}" in str(page)
        assert any("IS FAILING" in message["text"] for _, message in on.people.slack)


@virtual
async def test_when_it_is_written_down_after_all_the_page_is_resolved(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        on.sandbox.faults.append(_down())
        for _ in range(9):
            alert = firing(began, namespace=NAMESPACE, deployment=NAME)
            await on.post(replica, webhook(alert))
            await asyncio.sleep(10)
        assert [page["event_action"] for page in _alarms(on)] == ["trigger"]
        on.sandbox.faults.clear()
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(30)
        assert [page["event_action"] for page in _alarms(on)] == ["trigger", "resolve"]
        assert on.image == "v1"


@virtual
async def test_a_pager_that_does_not_take_the_end_is_told_of_it_until_it_does(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        on.sandbox.faults.append(_down())
        await _repeated(on, replica, 90)
        assert len(people.open()) == 1
        people.usually[PAGER] = "fails"
        on.sandbox.faults.clear()
        await on.fires(replica, began)
        await asyncio.sleep(100)
        people.usually.clear()
        await asyncio.sleep(CALLED_EVERY)
        assert not any(key.startswith("dir-") for key in people.open())
        # Who has heard of the end is not told again.
        assert sum("works again" in said for said in people.of(CHAT)) == 1


@virtual
async def test_two_replicas_that_cannot_write_call_about_one_thing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1) as one, on.replica(2) as two:
        await on.release("v1", "v2")
        on.sandbox.faults.append(_down())
        await asyncio.gather(_repeated(on, one, 100), _repeated(on, two, 100))
        assert len({page["dedup_key"] for page in _alarms(on)}) == 1
        assert len(_alarms(on)) == 2


@virtual
async def test_a_rollback_that_was_decided_and_gets_stuck_is_paged_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(settle="10s") as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica) == "rolled_back"
        on.sandbox.faults.append(_down())
        await asyncio.sleep(120)
        (page,) = _alarms(on)
        assert f"{NAMESPACE}/{NAME}" in str(page)
        on.sandbox.faults.clear()
        await asyncio.sleep(60)
        assert on.image == "v1"
        assert [page["event_action"] for page in _alarms(on)] == ["trigger", "resolve"]


@virtual
async def test_while_it_lasts_the_call_is_repeated_every_five_minutes(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.faults.append(_down())
        await _repeated(on, replica, 700)
        assert [page["event_action"] for page in _alarms(on)] == 3 * ["trigger"]


@virtual
async def test_a_short_outage_calls_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        on.sandbox.faults.append(_down())
        alert = firing(began, namespace=NAMESPACE, deployment=NAME)
        assert (await on.post(replica, webhook(alert)))[0] == 503
        await asyncio.sleep(30)
        on.sandbox.faults.clear()
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(120)
        assert _alarms(on) == []


@virtual
async def test_a_ledger_that_cannot_be_read_is_paged_before_any_alert_asks_for_it(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica():
        meta = {"name": LEDGER, "namespace": demo.STATE}
        on.sandbox.create("ConfigMap", {"metadata": meta, "data": {KEY: "{"}})
        await asyncio.sleep(50)
        assert on.people.pages == []
        await asyncio.sleep(30)
        (page,) = _alarms(on)
        assert "the ledger is damaged" in str(page)
        on.sandbox.delete("ConfigMap", demo.STATE, LEDGER)
        await asyncio.sleep(20)
        assert [page["event_action"] for page in _alarms(on)] == ["trigger", "resolve"]


@virtual
async def test_an_api_server_that_stays_away_is_paged_although_no_alert_waits(
    tmp_path: Path,
) -> None:
    """A replica that is not ready gets none."""
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica():
        await asyncio.sleep(20)
        on.sandbox.faults.append(_down())
        await asyncio.sleep(280)
        assert on.people.pages == []
        await asyncio.sleep(60)
        assert [page["event_action"] for page in _alarms(on)] == ["trigger"]
        on.sandbox.faults.clear()
        await asyncio.sleep(20)
        assert [page["event_action"] for page in _alarms(on)] == ["trigger", "resolve"]


@virtual
async def test_without_the_rights_to_do_anything_people_are_paged(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        on.sandbox.authorize = lambda _verb, _group, resource, *_: resource != "deployments"
        async with on.replica() as replica:
            await asyncio.sleep(50)
            assert on.people.pages == []
            await asyncio.sleep(40)
            (page,) = _alarms(on)
            assert "we lack the rights" in str(page)
            on.sandbox.authorize = None
            await asyncio.sleep(20)
            assert [page["event_action"] for page in _alarms(on)] == ["trigger", "resolve"]
            assert replica.controller.readiness().ready


# --- the Watchdog


async def _watchdog(
    on: Stage, replica: app.Replica, of: str = "a", via: str = "http://alertmanager-0:9093"
) -> None:
    """Deliver the Watchdog of a Prometheus, by one Alertmanager of a cluster of them."""
    began = on.clock.now() - timedelta(hours=1)
    alert = firing(began, alertname="Watchdog", severity="none", rollback="", prometheus=of) | {
        "fingerprint": f"{of:0>16}"
    }
    body = webhook(alert) | {"externalURL": via}
    assert (await on.post(replica, body))[0] == 200


def _of_watchdog(on: Stage) -> list[str]:
    return [p["event_action"] for p in on.people.pages if p["dedup_key"].startswith("wdg-")]


@virtual
async def test_a_monitoring_that_falls_silent_is_paged_once_and_resolved_when_heard(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica(1) as one, on.replica(2):
        for _ in range(5):
            await _watchdog(on, one)
            await asyncio.sleep(60)
        assert _of_watchdog(on) == []
        await asyncio.sleep(600)
        assert _of_watchdog(on) == ["trigger"]
        assert sum("MONITORING IS SILENT" in m["text"] for _, m in on.people.slack) == 1
        await _watchdog(on, one)
        await asyncio.sleep(20)
        assert _of_watchdog(on) == ["trigger", "resolve"]
        await asyncio.sleep(600)
        assert _of_watchdog(on) == ["trigger", "resolve", "trigger"]


@virtual
async def test_who_never_heard_a_watchdog_waits_for_none(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica():
        await asyncio.sleep(3600)
        assert on.people.pages == []


@virtual
async def test_a_restarted_replica_does_not_take_back_what_it_cannot_know(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as one:
            await _watchdog(on, one)
            await asyncio.sleep(600)
        assert _of_watchdog(on) == ["trigger"]
        async with on.replica(2) as two:
            await asyncio.sleep(600)
            assert _of_watchdog(on) == ["trigger"]
            await _watchdog(on, two)
            await asyncio.sleep(20)
            assert _of_watchdog(on) == ["trigger", "resolve"]


@virtual
async def test_a_watchdog_that_another_peer_of_the_alertmanager_sends_is_not_silent(
    tmp_path: Path,
) -> None:
    """One of an HA pair sends; which one changes when it is restarted."""
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica() as one:
        for peer in (0, 1, 0):
            for _ in range(10):
                await _watchdog(on, one, via=f"http://alertmanager-{peer}:9093")
                await asyncio.sleep(60)
        assert _of_watchdog(on) == []
        await asyncio.sleep(600)
        (page,) = on.people.pages
        detail = page["payload"]["custom_details"]["detail"]
        assert "alertmanager-0:9093" in detail
        assert "alertmanager-1:9093" in detail


@virtual
async def test_each_watchdog_falls_silent_on_its_own(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica(1) as one, on.replica(2) as two:
        await _watchdog(on, two, of="b", via="http://of-b:9093")
        for _ in range(10):
            await _watchdog(on, one, of="a", via="http://of-a:9093")
            await asyncio.sleep(60)
        (page,) = on.people.pages
        assert "of-b:9093" in page["payload"]["custom_details"]["detail"]
        assert "of-a:9093" not in page["payload"]["custom_details"]["detail"]
        await _watchdog(on, one, of="b", via="http://of-b:9093")
        await asyncio.sleep(20)
        assert _of_watchdog(on) == ["trigger", "resolve"]
        assert {p["dedup_key"] for p in on.people.pages} == {page["dedup_key"]}


@virtual
async def test_a_watchdog_that_was_heard_before_every_replica_was_new_is_missed(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as one:
            await _watchdog(on, one)
            await asyncio.sleep(5)
        async with on.replica(2):
            await asyncio.sleep(240)
            assert _of_watchdog(on) == []
            await asyncio.sleep(120)
            assert _of_watchdog(on) == ["trigger"]


@virtual
async def test_a_watchdog_that_was_not_heard_for_a_week_is_expected_no_more(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as one:
            await _watchdog(on, one)
            await asyncio.sleep(5)
        async with on.replica(2, clock=LoopClock(skew=8 * 24 * 3600)):
            await asyncio.sleep(600)
            assert _of_watchdog(on) == []


@virtual
async def test_a_page_about_silent_monitoring_is_closed_also_when_that_lasted_for_days(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as one:
            await _watchdog(on, one)
            await asyncio.sleep(400)
            assert _of_watchdog(on) == ["trigger"]
        async with on.replica(2, clock=LoopClock(skew=2 * 24 * 3600)) as two:
            # The journal is written, and what is old goes.
            await on.fires(two, rollback="")
            await asyncio.sleep(10)
            await _watchdog(on, two)
            await asyncio.sleep(20)
            assert _of_watchdog(on) == ["trigger", "resolve"]


@virtual
async def test_a_token_for_some_namespaces_speaks_for_no_monitoring(tmp_path: Path) -> None:
    """Else its holder could keep a dead one alive, or invent some that then fall silent."""
    async with stage(tmp_path, timing=UNHURRIED) as on:

        def limited(document: dict[str, Any]) -> None:
            document["auth"]["webhook"]["bearer_tokens"][0]["namespaces"] = [NAMESPACE]

        on.changes.append(limited)
        async with on.replica() as replica:
            await _watchdog(on, replica)
            await asyncio.sleep(900)
            assert _of_watchdog(on) == []
