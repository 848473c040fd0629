"""What goes wrong elsewhere: people, CI, other installations, clocks, and what is remembered."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import app, demo
from receiver import journal as jn
from receiver.controller.setup import SWITCH
from receiver.sandbox import Fault
from tests.stage import (
    NAME,
    NAMESPACE,
    PATIENT,
    UNHURRIED,
    UNLIMITED,
    Stage,
    crash,
    firing,
    stage,
    webhook,
)
from tests.virtual import LoopClock, virtual

JOURNAL = jn.name_of(NAMESPACE, NAME)
KEY = "journal.json"


def _paged(on: Stage, word: str) -> bool:
    return any(word in str(p) for p in on.people.pages if p["event_action"] == "trigger")


def _name_of(on: Stage, tag: str) -> str:
    found = on.sandbox.list("ReplicaSet", NAMESPACE)
    name: str = next(o["metadata"]["name"] for o in found if f"'app:{tag}'" in str(o["spec"]))
    return name


async def _rolled_back(on: Stage, replica: app.Replica) -> None:
    """Release v1 to v3, and see v3 rolled back and recovered."""
    await on.release("v1", "v2", "v3", wait=5)
    began = on.clock.now()
    assert await on.fires(replica, began) == "rolled_back"
    await asyncio.sleep(20)
    assert on.image == "v2"
    await on.resolves(replica, began)
    await asyncio.sleep(20)
    assert (await on.incident(replica))["phase"] == "recovered"


# --- CI, and hotfixes


@virtual
async def test_a_bad_revision_that_ci_brings_back_hours_later_is_told_and_left(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica() as replica:
        await _rolled_back(on, replica)
        await asyncio.sleep(4 * 3600)
        await on.release("v3")
        began = on.clock.now()
        for _ in range(4):
            assert await on.fires(replica, began) == "bad_revision_returned"
            await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v3", 1)
        told = [page for page in on.people.pages if "bad_revision_returned" in str(page)]
        assert len(told) == 1


@virtual
async def test_the_next_bad_release_after_the_bad_one_came_back_does_not_go_to_that(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(**UNLIMITED) as replica:
        await _rolled_back(on, replica)
        await asyncio.sleep(120)
        await on.release("v3", "v4")
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(30)
        assert len(on.template_writes()) == 2
        # To the ReplicaSets, v2 was left for v3 as by an undo: that may cost v2, too.
        assert on.image in ("v1", "v2")


@virtual
async def test_a_hotfix_that_does_not_end_the_trouble_is_told_as_inherited(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica(mode="shadow") as replica:
        await on.release("v1", "v2", wait=5)
        began = on.clock.now()
        await on.release("v3-hotfix", wait=5)
        assert await on.fires(replica, began) == "predates_release"
        await asyncio.sleep(1300)
        assert _paged(on, "inherited_alert")
        assert on.template_writes() == []


@virtual
async def test_a_hotfix_that_overtakes_us_and_does_not_help_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica(settle="10s") as replica:
        await on.release("v1", "v2", wait=5)
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(2)
        await on.release("v3-hotfix", wait=30)
        assert (await on.incident(replica))["phase"] == "superseded"
        for _ in range(30):
            await on.fires(replica, began)
            await asyncio.sleep(60)
        assert _paged(on, "inherited_alert")
        assert (on.image, on.template_writes()) == ("v3-hotfix", [])


# --- a shared cause


@pytest.mark.parametrize("first", ["v2", "v3"])
@virtual
async def test_a_sick_database_takes_nobody_to_an_even_older_revision(
    tmp_path: Path, first: str
) -> None:
    async with stage(tmp_path) as on, on.replica(settle="5s") as replica:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        tags = [first, "v2" if first == "v3" else "v3"]
        for tag in tags:
            await on.fires(replica, began, alertname=f"Errors-{tag}", replicaset=_name_of(on, tag))
            await asyncio.sleep(2)
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v3", [])
        assert _paged(on, "shared_cause")


# --- people


@virtual
async def test_a_person_who_rolls_back_while_we_settle_has_done_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(settle="10s") as replica:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(3)
        on.sandbox.rollout_undo(NAMESPACE, NAME)
        await asyncio.sleep(30)
        assert (await on.incident(replica))["phase"] == "superseded"
        assert await on.fires(replica, began) == "already_handled"
        assert await on.fires(replica, alertname="LatencyHigh") == "not_a_new_release"
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


@virtual
async def test_a_curl_while_we_settle_is_the_one_step_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1, settle="10s") as one, on.replica(2) as two:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        await on.fires(one, began)
        await asyncio.sleep(3)
        status, answer = await on.rollback(two)
        assert (status, answer["to"]["revision"], answer["by"]) == (200, 2, "you")
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v2", 1)
        _, found = await on.ask(one, "GET", "incidents")
        assert {i["phase"] for i in found["incidents"] if i["by"] != "you"} == {"superseded"}


@virtual
async def test_a_person_who_undoes_our_rollback_while_we_follow_it_is_not_fought(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.pod_ready_after = 30
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(5)
        assert (await on.incident(replica))["phase"] == "following"
        on.sandbox.rollout_undo(NAMESPACE, NAME)
        await asyncio.sleep(60)
        assert (await on.incident(replica))["phase"] == "superseded"
        assert await on.fires(replica, began) == "bad_revision_returned"
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v3", 1)
        assert _paged(on, "bad_revision_returned")


@virtual
async def test_a_target_deleted_while_we_follow_it_is_told_as_gone(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.pod_ready_after = 30
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(5)
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        await asyncio.sleep(20)
        incident = await on.incident(replica)
        assert (incident["phase"], incident["open"]) == ("gone", False)
        assert _paged(on, "gone")
        assert await on.fires(replica, began) == "target_not_found"
        assert len(on.template_writes()) == 1


# --- other receivers


@pytest.mark.parametrize(
    "policy",
    [
        {"mode": "shadow"},
        {"settle": "20s"},
        {"cooldown": "1s", "verify_within": "1s"},
        {"window": "1s"},
    ],
    ids=["shadow", "slow", "hasty", "narrow"],
)
@virtual
async def test_replicas_of_different_policies_write_at_most_once(
    tmp_path: Path, policy: dict[str, Any]
) -> None:
    async with stage(tmp_path) as on, on.replica(1) as one, on.replica(2, **policy) as two:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        body = webhook(firing(began), firing(began, alertname="LatencyHigh"))
        answers = await asyncio.gather(on.post(one, body), on.post(two, body))
        assert [status for status, _ in answers] == [200, 200]
        for _ in range(10):
            await asyncio.sleep(30)
            await on.fires(two, began)
            await on.fires(one, began)
        assert on.image in ("v2", "v3")
        assert len(on.template_writes()) == (on.image == "v2")


@pytest.mark.parametrize("later", [0.0, 0.5, 30.0, 300.0])
@virtual
async def test_two_installations_that_know_nothing_of_each_other_write_once(
    tmp_path: Path, later: float
) -> None:
    async with stage(tmp_path) as on, on.replica(1) as ours:
        on.sandbox.create_namespace("elsewhere")
        on.sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": "elsewhere"}})
        on.state_namespace = "elsewhere"
        async with on.replica(2, cooldown="1s", settle="2s") as theirs:
            on.state_namespace = demo.STATE
            await on.release("v1", "v2", "v3", wait=5)
            began = on.clock.now()
            posts = [asyncio.create_task(on.fires(ours, began))]
            await asyncio.sleep(later)
            posts.append(asyncio.create_task(on.fires(theirs, began)))
            await asyncio.gather(*posts)
            for _ in range(6):
                await asyncio.sleep(60)
                await on.fires(theirs, began)
                await on.fires(ours, began)
            assert (on.image, len(on.template_writes())) == ("v2", 1)


# --- clocks


@pytest.mark.parametrize("skew", [-3600.0, 3600.0], ids=["an hour slow", "an hour fast"])
@virtual
async def test_a_clock_an_hour_off_rolls_back_once_and_keeps_its_cooldown(
    tmp_path: Path, skew: float
) -> None:
    async with stage(tmp_path) as on, on.replica(clock=LoopClock(skew=skew)) as replica:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(10)
        assert (on.image, len(on.template_writes())) == ("v2", 1)
        # The cooldown is a minute from the completion, by whatever clock.
        assert (await on.rollback(replica))[1]["error"]["reason"] == "cooldown"
        await asyncio.sleep(20)
        await on.resolves(replica, began)
        await asyncio.sleep(10)
        assert (await on.incident(replica))["phase"] == "recovered"
        await asyncio.sleep(60)
        assert await on.fires(replica, began, alertname="LatencyHigh") in (
            "already_handled",
            "not_a_new_release",
        )
        await on.fires(replica)
        await asyncio.sleep(120)
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@pytest.mark.parametrize("skew", [-3600.0, 3600.0], ids=["an hour slow", "an hour fast"])
@virtual
async def test_the_window_moves_with_a_wrong_clock(tmp_path: Path, skew: float) -> None:
    """What does change: the age of a release is our clock's moment less the API server's."""
    async with stage(tmp_path) as on, on.replica(clock=LoopClock(skew=skew), window="30m") as it:
        await on.release("v1", "v2", wait=5)
        assert await on.fires(it) == ("outside_window" if skew > 0 else "rolled_back")


@virtual
async def test_two_replicas_two_hours_apart_write_once_and_leave_each_other_alone(
    tmp_path: Path,
) -> None:
    async with (
        stage(tmp_path) as on,
        on.replica(1, clock=LoopClock(skew=3600)) as fast,
        on.replica(2, clock=LoopClock(skew=-3600)) as slow,
    ):
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        body = webhook(firing(began))
        await asyncio.gather(on.post(fast, body), on.post(slow, body))
        for _ in range(5):
            await asyncio.sleep(60)
            await on.fires(fast, began)
            await on.fires(slow, began)
        assert (on.image, len(on.template_writes())) == ("v2", 1)
        for replica in (fast, slow):
            async with on.session.get(f"{replica.url}/metrics") as answer:
                assert "rollback_receiver_claims_taken_total 0.0" in await answer.text()


@virtual
async def test_a_late_alert_about_what_was_left_blames_nothing_else_by_a_slow_clock(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(clock=LoopClock(skew=-3600)) as replica:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(20)
        assert await on.fires(replica, began, alertname="LatencyHigh") == "already_handled"
        _, shown = await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}")
        (marks,) = (r["marks"] for r in shown["history"] if "current" in r["marks"])
        assert "suspect" not in marks


@virtual
async def test_an_alert_about_what_we_went_back_to_is_not_silent_by_a_fast_clock(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(clock=LoopClock(skew=3600)) as replica:
        await _rolled_back(on, replica)
        await asyncio.sleep(90)
        assert await on.fires(replica, alertname="AboutV2") == "not_a_new_release"
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@virtual
async def test_what_a_fast_clock_left_is_settled_in_time_by_another(tmp_path: Path) -> None:
    async with (
        stage(tmp_path) as on,
        on.replica(1, settle="5s", clock=LoopClock(skew=3600)) as fast,
        on.replica(2, settle="5s"),
    ):
        await on.release("v1", "v2", "v3", wait=5)
        await on.fires(fast)
        crash(fast)
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@virtual
async def test_what_a_fast_clock_deferred_is_decided_in_time_by_another(tmp_path: Path) -> None:
    async with (
        stage(tmp_path) as on,
        on.replica(1, clock=LoopClock(skew=3600), **UNLIMITED) as fast,
        on.replica(2, **UNLIMITED),
    ):
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        await on.fires(fast)
        await asyncio.sleep(10)
        await on.resolves(fast, began)
        await on.release("v4", wait=10)
        assert await on.fires(fast) == "cooldown"
        crash(fast)
        await asyncio.sleep(300)
        assert (on.image, len(on.template_writes())) == ("v2", 2)


# --- what is remembered


def _journal(on: Stage) -> str:
    found = on.sandbox.get("ConfigMap", demo.STATE, JOURNAL)
    assert found is not None
    text: str = found["data"][KEY]
    return text


def _overwrite(on: Stage, text: str) -> None:
    on.sandbox.merge_patch("ConfigMap", demo.STATE, JOURNAL, {"data": {KEY: text}})


def _newer(text: str) -> str:
    return json.dumps(json.loads(text) | {"version": jn.VERSION + 1, "unheard_of": {"a": 1}})


UNREADABLE: dict[str, Any] = {
    "newer": _newer,
    "half": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "edited": lambda text: text.replace('"phase":"', '"phase":"un'),
}


@pytest.mark.parametrize("how", UNREADABLE)
@virtual
async def test_a_journal_that_cannot_be_read_is_kept_and_told_and_nothing_is_done(
    tmp_path: Path, how: str
) -> None:
    async with stage(tmp_path) as on, on.replica(**UNLIMITED) as replica:
        await _rolled_back(on, replica)
        before = _journal(on)
        broken = UNREADABLE[how](before)
        _overwrite(on, broken)
        await on.release("v4", wait=90)
        began = on.clock.now()
        for _ in range(3):
            assert await on.fires(replica, began) == "state_unreadable"
            await asyncio.sleep(60)
        assert _journal(on) == broken
        assert (on.image, len(on.template_writes())) == ("v4", 1)
        assert sum("state_unreadable" in str(page) for page in on.people.pages) == 1
        # A person mends it: the same alert is decided at its next delivery.
        _overwrite(on, before)
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(30)
        assert (on.image, len(on.template_writes())) == ("v2", 2)


@pytest.mark.parametrize("how", UNREADABLE)
@virtual
async def test_a_journal_damaged_while_we_settle_stops_the_rollback_and_is_told(
    tmp_path: Path, how: str
) -> None:
    async with stage(tmp_path) as on, on.replica(settle="10s") as replica:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(3)
        broken = UNREADABLE[how](_journal(on))
        _overwrite(on, broken)
        await asyncio.sleep(60)
        assert await on.fires(replica, began) == "state_unreadable"
        await asyncio.sleep(60)
        assert _journal(on) == broken
        assert (on.image, on.template_writes()) == ("v3", [])
        assert _paged(on, "state_unreadable")


LOST: dict[str, tuple[float, str]] = {
    "settling": (1.0, ""),
    "sending": (6.0, "hang"),
    "sent": (6.0, "reset_after"),
    "following": (6.0, ""),
    "over": (40.0, ""),
}


@pytest.mark.parametrize("when", LOST)
@virtual
async def test_a_journal_that_was_deleted_never_leads_to_a_second_write(
    tmp_path: Path, when: str
) -> None:
    wait, fault = LOST[when]
    async with stage(tmp_path) as on, on.replica(settle="3s", **UNLIMITED) as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.pod_ready_after = 10

        def is_question(verb: str, path: str) -> bool:
            return verb == "GET" and f"/deployments/{NAME}" in path and bool(on.template_writes())

        if fault == "hang":
            on.sandbox.faults.append(Fault(match=_is_patch, kind="hang"))
        elif fault:
            lost = Fault(match=_is_patch, kind="reset_after")
            # What became of it cannot be asked until the journal is gone.
            silent = Fault(match=is_question, kind="status", status=503, times=None)
            on.sandbox.faults += [lost, silent]
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(wait)
        phase = jn.load(_journal(on)).incidents[0].phase
        on.sandbox.delete("ConfigMap", demo.STATE, JOURNAL)
        on.sandbox.faults.clear()
        assert phase == PHASES[when]
        for _ in range(10):
            await asyncio.sleep(30)
            await on.fires(replica, began)
        assert (on.image, len(on.template_writes())) == ("v2", 1)


PHASES = {
    "settling": "settling",
    "sending": "applying",
    "sent": "applying",
    "following": "following",
    "over": "verifying",
}


def _is_patch(verb: str, path: str) -> bool:
    return verb == "PATCH" and f"/deployments/{NAME}?" in path


@virtual
async def test_a_journal_full_of_alerts_stays_within_its_bounds_and_works_on(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica(**UNLIMITED) as replica:
        await on.release("v1", "v2", "v3", wait=5)
        began = on.clock.now()
        for batch in range(8):
            alerts = [
                firing(began, alertname=f"Alert-{batch}-{n}", pod_ip="x" * 200) for n in range(100)
            ]
            for alert in alerts:
                alert["annotations"] |= {"summary": "ä" * 2000, "description": "\\u0001" * 2000}
            assert (await on.post(replica, webhook(*alerts)))[0] == 200
        await asyncio.sleep(30)
        assert (on.image, len(on.template_writes())) == ("v2", 1)
        assert len(_journal(on).encode()) <= jn.BYTES_KEPT
        journal = jn.load(_journal(on))
        assert len(journal.episodes) <= jn.EPISODES_KEPT
        await asyncio.sleep(90)
        (incident,) = jn.load(_journal(on)).incidents
        assert incident.phase == "did_not_help"
        await asyncio.sleep(60)
        await on.release("v4")
        since = on.clock.now() - timedelta(seconds=2)
        assert await on.fires(replica, since, alertname="Another") == "rolled_back"
        await asyncio.sleep(30)
        assert (on.image, len(on.template_writes())) == ("v2", 2)
