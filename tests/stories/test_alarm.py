"""Never silently do nothing: without a durable decision for a minute, people are called."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from receiver import app, demo
from receiver.controller.alarm import AWAY_AFTER, CALLED_AFTER, CALLED_EVERY
from receiver.controller.guards import KEY, LEDGER
from receiver.controller.setup import BEATS
from receiver.sandbox import Fault
from tests.stage import NAME, NAMESPACE, UNHURRIED, Stage, firing, road, stage, webhook
from tests.stories.unruly import CHAT, LATE, PAGER, Unruly, unruly
from tests.virtual import LoopClock, virtual

ELSEWHERE = {key: ["engineering"] for key in ("critical", "warning", "info", "default")}


async def _repeated(
    on: Stage, replica: app.Replica, seconds: float, since: datetime | None = None
) -> list[int]:
    """Deliver an alert every ten seconds, as Alertmanager does while it is answered 503."""
    began, codes = since or on.clock.now(), []
    end = on.clock.monotonic() + seconds
    while on.clock.monotonic() < end:
        alert = firing(began, namespace=NAMESPACE, deployment=NAME)
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


# --- those that called are no more


def _actions(on: Stage) -> list[str]:
    return [page["event_action"] for page in _alarms(on)]


def _over(people: Unruly) -> int:
    return sum("works again" in said for said in people.of(CHAT))


@virtual
async def test_what_a_process_opened_that_is_no_more_is_closed_once_by_the_next_one(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, unruly(on) as people:
        await on.release("v1", "v2")
        async with on.replica(1) as one:
            await asyncio.sleep(5)
            on.sandbox.faults.append(_down())
            await _repeated(on, one, 90)
        assert _actions(on) == ["trigger"]
        on.sandbox.faults.clear()
        async with on.replica(2):
            await asyncio.sleep(CALLED_EVERY - 10)
            assert _actions(on) == ["trigger"], "what was stuck there may stick here again"
            await asyncio.sleep(3 * CALLED_EVERY)
            assert _actions(on) == ["trigger", "resolve"]
            assert _over(people) == 0


@virtual
async def test_who_takes_leave_while_people_are_called_leaves_a_trace_of_it(
    tmp_path: Path,
) -> None:
    """Here the API server is reached all the time."""
    async with stage(tmp_path, timing=UNHURRIED) as on:
        meta = {"name": LEDGER, "namespace": demo.STATE}
        on.sandbox.create("ConfigMap", {"metadata": meta, "data": {KEY: "{"}})
        async with on.replica(1):
            await asyncio.sleep(80)
        assert _actions(on) == ["trigger"]
        on.sandbox.delete("ConfigMap", demo.STATE, LEDGER)
        for short in (2, 3):
            # This one ends before it could know.
            async with on.replica(short):
                await asyncio.sleep(CALLED_EVERY / 2)
        assert _actions(on) == ["trigger"]
        async with on.replica(4):
            await asyncio.sleep(CALLED_EVERY + 20)
            assert _actions(on) == ["trigger", "resolve"]


@virtual
async def test_who_takes_leave_in_the_middle_of_a_call_leaves_a_trace_of_it_too(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, unruly(on) as people:
        meta = {"name": LEDGER, "namespace": demo.STATE}
        on.sandbox.create("ConfigMap", {"metadata": meta, "data": {KEY: "{"}})
        people.moods[PAGER] += ["late"]
        async with on.replica(1):
            await asyncio.sleep(CALLED_AFTER + LATE / 2)
            assert (people.moods[PAGER], people.pages) == ([], []), "it is on its way"
        await asyncio.sleep(LATE)
        assert len(people.open()) == 1
        on.sandbox.delete("ConfigMap", demo.STATE, LEDGER)
        async with on.replica(2):
            await asyncio.sleep(CALLED_EVERY + 20)
            assert people.open() == set()


@virtual
async def test_a_pager_that_is_away_when_the_next_process_starts_is_told_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, unruly(on) as people:
        async with on.replica(1):
            await asyncio.sleep(5)
            on.sandbox.faults.append(_down())
            await asyncio.sleep(AWAY_AFTER + 20)
        on.sandbox.faults.clear()
        people.usually[PAGER] = "fails"
        async with on.replica(2):
            await asyncio.sleep(2 * CALLED_EVERY)
            assert len(people.open()) == 1
            people.usually.clear()
            await asyncio.sleep(CALLED_EVERY + 20)
            assert people.open() == set()


@virtual
async def test_what_a_living_replica_calls_about_is_not_closed_by_one_that_starts(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, road(on) as way, way.replica(1) as one:
        await on.release("v1", "v2")
        way.cut(f"/deployments/{NAME}")
        began = on.clock.now()
        calling = asyncio.create_task(_repeated(on, one, 3 * CALLED_EVERY, began))
        await asyncio.sleep(100)
        assert _actions(on) == ["trigger"]
        async with on.replica(2):
            await calling
            assert set(_actions(on)) == {"trigger"}
            way.cut("")
            await _repeated(on, one, 20, began)
            await asyncio.sleep(CALLED_EVERY)
            assert _actions(on)[-1] == "resolve"


@virtual
async def test_one_that_is_well_again_does_not_close_what_another_one_calls_about(
    tmp_path: Path,
) -> None:
    async with (
        stage(tmp_path) as on,
        road(on) as way,
        way.replica(1) as one,
        on.replica(2) as two,
    ):
        await on.release("v1", "v2")
        on.sandbox.faults.append(_down())
        began = on.clock.now()
        await asyncio.gather(_repeated(on, one, 90, began), _repeated(on, two, 90, began))
        assert _actions(on) == 2 * ["trigger"]
        way.cut(f"/deployments/{NAME}")
        on.sandbox.faults.clear()
        await _repeated(on, two, 20, began)
        await _repeated(on, one, 3 * CALLED_EVERY, began)
        assert "resolve" not in _actions(on)
        way.cut("")
        await _repeated(on, one, 20, began)
        await asyncio.sleep(20)
        assert _actions(on)[-2:] == 2 * ["resolve"]


@virtual
async def test_a_process_that_cannot_ask_for_its_rights_does_not_say_that_all_is_well(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1):
            await asyncio.sleep(5)
            on.sandbox.faults.append(_down())
            await asyncio.sleep(AWAY_AFTER + 20)
        assert _actions(on) == ["trigger"]
        (away,) = on.sandbox.faults
        away.match = "selfsubjectaccessreviews"
        async with on.replica(2):
            await asyncio.sleep(2 * CALLED_EVERY)
            assert _actions(on) == ["trigger"]
            on.sandbox.faults.clear()
            await asyncio.sleep(20)
            assert _actions(on) == ["trigger", "resolve"]


@virtual
async def test_a_pager_of_other_routes_is_told_of_no_failure_though_its_alert_is_closed(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1):
            await asyncio.sleep(5)
            on.sandbox.faults.append(_down())
            await asyncio.sleep(AWAY_AFTER + 20)
        assert _actions(on) == ["trigger"]
        on.changes.append(lambda d: d["notify"].update(routes=ELSEWHERE))
        on.sandbox.faults.clear()
        async with on.replica(2):
            await asyncio.sleep(20)
            on.sandbox.faults.append(_down())
            await asyncio.sleep(AWAY_AFTER + 20)
            assert _actions(on) == ["trigger"]
            on.sandbox.faults.clear()
            await asyncio.sleep(20)
            assert _actions(on) == ["trigger", "resolve"]


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
        (page,) = [p for p in on.people.pages if p["event_action"] == "trigger"]
        assert "of-b:9093" in page["payload"]["custom_details"]["detail"]
        assert "of-a:9093" not in page["payload"]["custom_details"]["detail"]
        await _watchdog(on, one, of="b", via="http://of-b:9093")
        await asyncio.sleep(20)
        assert _of_watchdog(on) == ["trigger", "resolve"]
        of_b = [p["event_action"] for p in on.people.pages if p["dedup_key"] == page["dedup_key"]]
        assert of_b == ["trigger", "resolve"]


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
async def test_a_silence_is_paged_also_where_one_namespace_may_not_be_looked_into(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        on.changes.append(lambda d: d["kubernetes"].update(namespaces=[NAMESPACE, "elsewhere"]))
        on.sandbox.authorize = lambda *asked: "elsewhere" not in asked
        async with on.replica() as one:
            await _watchdog(on, one)
            await asyncio.sleep(400)
            assert _of_watchdog(on) == ["trigger"]


WEEK = 7 * 24 * 3600


def _beats(on: Stage) -> dict[str, str]:
    found = on.sandbox.get("ConfigMap", demo.STATE, BEATS)
    assert found is not None
    beats: dict[str, str] = found["data"]
    return beats


def _put(on: Stage, beats: dict[str, str]) -> None:
    """Write the ConfigMap of the beats anew, as a person does."""
    on.sandbox.delete("ConfigMap", demo.STATE, BEATS)
    meta = {"name": BEATS, "namespace": demo.STATE}
    on.sandbox.create("ConfigMap", {"metadata": meta, "data": beats})


@virtual
async def test_a_silence_that_nobody_waits_out_any_more_is_ended_and_that_is_said(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as one:
            await _watchdog(on, one)
            await asyncio.sleep(400)
            assert _of_watchdog(on) == ["trigger"]
        async with on.replica(2, clock=LoopClock(skew=WEEK - 600)):
            await asyncio.sleep(150)
            assert _of_watchdog(on) == ["trigger"]
        async with on.replica(3, clock=LoopClock(skew=WEEK)) as three:
            await asyncio.sleep(20)
            assert _of_watchdog(on) == ["trigger", "resolve"]
            (said,) = [m["text"] for _, m in on.people.slack if "expected no more" in m["text"]]
            assert "week" in said
            await asyncio.sleep(600)
            assert _of_watchdog(on) == ["trigger", "resolve"]
            # It is back after all, and counts as before.
            await _watchdog(on, three)
            await asyncio.sleep(600)
            assert _of_watchdog(on) == ["trigger", "resolve", "trigger"]


@virtual
async def test_a_watchdog_that_a_person_takes_out_has_its_page_closed(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica() as one:
        await _watchdog(on, one, of="a")
        await _watchdog(on, one, of="b", via="http://of-b:9093")
        await asyncio.sleep(400)
        assert _of_watchdog(on) == 2 * ["trigger"]
        beats = _beats(on)
        _put(on, {key: said for key, said in beats.items() if "of-b" not in said})
        await asyncio.sleep(20)
        assert _of_watchdog(on) == [*2 * ["trigger"], "resolve"]


@virtual
async def test_a_silence_is_not_ended_by_one_that_cannot_read_who_is_silent(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on:
        async with on.replica(1) as one:
            await _watchdog(on, one)
            await asyncio.sleep(400)
            assert _of_watchdog(on) == ["trigger"]
        ((key, sound),) = _beats(on).items()
        _put(on, {key: "{"})
        async with on.replica(2):
            await asyncio.sleep(100)
            assert _of_watchdog(on) == ["trigger"]
            _put(on, {key: sound})
            await asyncio.sleep(100)
            assert _of_watchdog(on) == ["trigger"]
            _put(on, {})
            await asyncio.sleep(20)
            assert _of_watchdog(on) == ["trigger", "resolve"]


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
