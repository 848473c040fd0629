"""The counter-examples of the protocol, each a story that fails when its step is taken out.

An earlier form of the protocol broke its promises in every one of these. The docstring of a story
names the step that stands between it and the harm.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import demo
from receiver import journal as jn
from receiver.sandbox import Fault
from tests.stage import NAME, NAMESPACE, UNLIMITED, Road, Stage, crash, firing, road, stage, webhook
from tests.virtual import virtual

PATCH = f"PATCH /apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
JOURNAL = jn.name_of(NAMESPACE, NAME)


def _is_patch(verb: str, path: str) -> bool:
    return f"{verb} {path}".startswith(PATCH)


def _after_our_patch(on: Stage, what: Callable[[], Any]) -> None:
    """Do something when our patch is committed and nobody has seen it yet, no controller either."""

    def act() -> None:
        what()
        on.sandbox.controller_running = True

    def notice(_: object) -> None:
        if on.template_writes():
            on.sandbox.store.listeners.remove(notice)
            on.sandbox.controller_running = False
            asyncio.get_running_loop().call_soon(act)

    on.sandbox.store.listeners.append(notice)


def _late_patches(way: Road) -> list[int]:
    return [status for what, status in way.arrived_late if what.startswith(PATCH)]


def _paged(on: Stage, word: str) -> bool:
    return any(word in str(page) for page in on.people.pages)


def _name_of(on: Stage, tag: str) -> str:
    found = on.sandbox.list("ReplicaSet", NAMESPACE)
    name: str = next(o["metadata"]["name"] for o in found if f"'app:{tag}'" in str(o["spec"]))
    return name


async def _marks(on: Stage, replica: Any, tag: str) -> list[str]:
    _, shown = await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}")
    found = (r["marks"] for r in shown["history"] if r["images"][0]["image"] == f"app:{tag}")
    marks: list[str] = next(found)
    return marks


# --- the late patch


@virtual
async def test_a_patch_under_way_when_the_switch_is_set_never_applies_afterwards(
    tmp_path: Path,
) -> None:
    """Guards `Reconciler._void`: an intent of unknown fate is voided before anything is decided."""
    async with (
        stage(tmp_path) as on,
        road(on) as way,
        way.replica(1) as stalled,
        on.replica(2) as other,
    ):
        await on.release("v1", "v2", "v3")
        way.hold(PATCH, then_all=True)
        assert await on.fires(stalled) == "rolled_back"
        await asyncio.sleep(2)
        assert way.held[0].startswith(PATCH)
        assert (await on.ask(other, "PUT", "stop", {"reason": "freeze"}))[0] == 200
        await asyncio.sleep(30)
        incident = await on.incident(other)
        assert (incident["phase"], incident["reason"]) == ("refused", "stopped")
        way.clear()
        await asyncio.sleep(60)
        assert _late_patches(way) == [422]
        assert (on.image, on.template_writes()) == ("v3", [])
        assert (await on.incident(other))["phase"] == "refused"
        assert _paged(on, "stopped")


@virtual
async def test_a_patch_that_was_given_up_and_sent_anew_applies_once(tmp_path: Path) -> None:
    """Guards the test of the generation in `rollout.undo`: a lost patch is late for good."""
    async with stage(tmp_path) as on, road(on) as way, way.replica() as replica:
        await on.release("v1", "v2", "v3")
        way.hold(PATCH)
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(30)
        assert on.image == "v2"
        on.sandbox.deploy(NAMESPACE, NAME, "app:v4-hotfix")
        await asyncio.sleep(5)
        way.clear()
        await asyncio.sleep(30)
        assert _late_patches(way) == [422]
        assert on.image == "v4-hotfix"
        assert len(on.template_writes()) == 1
        assert await on.fires(replica, began) == "already_handled"


# --- a patch whose fate is unknown


@pytest.mark.parametrize("end", ["the reply is lost", "we crash"])
@virtual
async def test_an_undo_of_our_patch_before_anybody_saw_it_is_told_and_not_fought(
    tmp_path: Path, end: str
) -> None:
    """Guards `fate_unknown` in `Reconciler._learn_fate`: absent traces do not mean not applied.

    The person's undo takes our record off the Deployment, and no ReplicaSet has a copy yet.
    """
    async with stage(tmp_path) as on, on.replica(1) as first, on.replica(2) as second:
        await on.release("v1", "v2", "v3")

        def undo() -> None:
            if end == "we crash":
                crash(first)
            on.sandbox.rollout_undo(NAMESPACE, NAME, to_revision=3)

        on.sandbox.faults.append(Fault(match=_is_patch, kind="reset_after"))
        _after_our_patch(on, undo)
        began = on.clock.now()
        await on.fires(first)
        for _ in range(4):
            await asyncio.sleep(30)
            assert await on.fires(second, began) in ("already_handled", "bad_revision_returned")
        incident = await on.incident(second)
        assert (incident["phase"], incident["reason"]) == ("refused", "fate_unknown")
        assert (on.image, len(on.template_writes())) == ("v3", 1)
        assert _paged(on, "fate_unknown")


@virtual
async def test_an_undo_of_our_patch_after_the_controller_saw_it_is_told_as_it_was(
    tmp_path: Path,
) -> None:
    """Guards the look at every ReplicaSet in `rollout.fate`: kubectl rewinds the Deployment's."""
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")

        def is_question(verb: str, path: str) -> bool:
            """Find the requests that ask what became of the patch: they fail for a while."""
            return verb == "GET" and f"/deployments/{NAME}" in path and bool(on.template_writes())

        on.sandbox.faults += [
            Fault(match=_is_patch, kind="reset_after"),
            Fault(match=is_question, kind="status", status=503, times=None),
        ]
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(2.5)
        assert len(on.template_writes()) == 1
        on.sandbox.rollout_undo(NAMESPACE, NAME)
        on.sandbox.faults.clear()
        await asyncio.sleep(60)
        incident = await on.incident(replica)
        assert incident["phase"] == "superseded"
        assert incident["applied_at"] is not None
        assert await on.fires(replica, began) == "bad_revision_returned"
        await asyncio.sleep(20)
        assert (on.image, len(on.template_writes())) == ("v3", 1)
        assert _paged(on, "bad_revision_returned")


@virtual
async def test_a_deployment_made_anew_after_a_lost_reply_is_told_as_gone(tmp_path: Path) -> None:
    """Guards the comparison of the uid in `Reconciler._learn_fate`."""
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")

        def anew() -> None:
            on.sandbox.delete("Deployment", NAMESPACE, NAME)
            labels = {"rollback-receiver/enabled": "true"}
            on.sandbox.deploy(NAMESPACE, NAME, "app:v3", labels=labels)

        on.sandbox.faults.append(Fault(match=_is_patch, kind="reset_after"))
        _after_our_patch(on, anew)
        await on.fires(replica)
        await asyncio.sleep(30)
        incident = await on.incident(replica)
        assert incident["phase"] == "gone"
        assert incident["detail"] == "the Deployment is gone; a rollback had been sent"
        assert (on.image, len(on.template_writes())) == ("v3", 1)
        assert _paged(on, "a rollback had been sent")
        assert any("a rollback had been sent" in str(message) for _, message in on.people.slack)


# --- a person and us


@virtual
async def test_a_curl_while_our_patch_is_of_unknown_fate_is_not_a_second_step(
    tmp_path: Path,
) -> None:
    """Guards `sending` in `decisions._too_soon`: v2 is current, and nobody knows yet who did it.

    The journal says APPLYING, so nothing in it counts as left: only that phase speaks against v1.
    """
    async with stage(tmp_path) as on, on.replica(1) as first, on.replica(2) as second:
        await on.release("v1", "v2", "v3")
        on.sandbox.faults.append(Fault(match=_is_patch, kind="reset_after"))
        answers: list[tuple[int, Any]] = []

        async def curl() -> None:
            await asyncio.sleep(1)
            answers.append(await on.rollback(second))

        calls: list[asyncio.Task[None]] = []

        def dies() -> None:
            crash(first)
            calls.append(asyncio.create_task(curl()))

        _after_our_patch(on, dies)
        began = on.clock.now()
        await on.fires(first)
        await asyncio.sleep(60)
        ((status, answer),) = answers
        assert (status, answer["error"]["reason"]) == (409, "cooldown")
        assert answer["incident"]["phase"] == "applying"
        assert (on.image, len(on.template_writes())) == ("v2", 1)
        await on.resolves(second, began)
        await asyncio.sleep(10)
        assert (await on.incident(second))["phase"] == "recovered"


@virtual
async def test_a_wish_that_was_read_at_v3_is_a_conflict_when_we_went_to_v2_meanwhile(
    tmp_path: Path,
) -> None:
    """Guards the compare-and-set of `Memory.write`: the wish was decided on an older journal."""
    async with (
        stage(tmp_path) as on,
        road(on) as way,
        on.replica(1) as first,
        way.replica(2) as second,
    ):
        await on.release("v1", "v2", "v3")
        await on.fires(first)
        way.hold(f"/configmaps/{JOURNAL}?fieldManager")
        wish = asyncio.create_task(on.rollback(second))
        await asyncio.sleep(5)
        assert [held.split()[0] for held in way.held] == ["PUT"]
        assert on.image == "v2"
        way.clear()
        status, answer = await wish
        assert (status, answer["error"]["reason"]) == (409, "cooldown")
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@virtual
async def test_a_wish_accepted_at_v3_is_a_conflict_when_another_is_at_v2_first(
    tmp_path: Path,
) -> None:
    """Guards the pin in `decisions._again_by_hand`: what the person meant to leave is left.

    The journals cannot know: it was somebody with kubectl, or a second installation.
    """
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")

        def comes_first(verb: str, path: str, stored: object) -> None:
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                on.sandbox.before_commit = None
                on.sandbox.rollout_undo(NAMESPACE, NAME)

        on.sandbox.before_commit = comes_first
        status, answer = await on.rollback(replica)
        assert (status, answer["error"]["reason"]) == (409, "current_changed")
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])


# --- what came after


@virtual
async def test_a_restart_of_what_we_went_back_to_is_not_gone_back_from(tmp_path: Path) -> None:
    """Guards the siblings in `rollout.reactivated`: the restarted ReplicaSet has no history."""
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(20)
        await on.resolves(replica, began)
        await asyncio.sleep(90)
        on.sandbox.rollout_restart(NAMESPACE, NAME)
        await asyncio.sleep(20)
        assert await on.fires(replica, began, alertname="LatencyHigh") == "already_handled"
        assert await on.fires(replica, alertname="LatencyHigher") == "not_a_new_release"
        await asyncio.sleep(120)
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@pytest.mark.parametrize("after", [0.0, 1.5], ids=["at once", "while we go back"])
@virtual
async def test_a_late_alert_about_what_was_left_makes_nothing_else_suspect(
    tmp_path: Path, after: float
) -> None:
    """Guards `decisions.binding`: an alert without a revision is about what ran when it began."""
    async with stage(tmp_path) as on, on.replica(**UNLIMITED) as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(20)
        assert on.image == "v2"
        since = began + after * (on.clock.now() - began) / 20
        late = {"alertname": "LatencyHigh"}
        assert await on.fires(replica, since, **late) == "already_handled"
        assert "suspect" not in await _marks(on, replica, "v2")
        await on.resolves(replica, began)
        await on.resolves(replica, since, **late)
        await asyncio.sleep(90)
        await on.release("v4")
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(20)
        assert (on.image, len(on.template_writes())) == ("v2", 2)


@virtual
async def test_an_alert_answered_with_cooldown_is_decided_again_by_any_replica(
    tmp_path: Path,
) -> None:
    """Guards `Journal.deferred` in `Journal.busy`: what waits in the journal is work to take over.

    Alertmanager was answered 200 and sends nothing more; whoever answered is dead.
    """
    async with (
        stage(tmp_path) as on,
        on.replica(1, **UNLIMITED) as first,
        on.replica(2, **UNLIMITED),
    ):
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(first)
        await asyncio.sleep(10)
        await on.resolves(first, began)
        await on.release("v4", wait=10)
        assert await on.fires(first) == "cooldown"
        crash(first)
        await asyncio.sleep(10)
        assert on.image == "v4"
        await asyncio.sleep(90)
        assert (on.image, len(on.template_writes())) == ("v2", 2)


@virtual
async def test_a_bad_revision_is_known_after_its_incident_was_dropped_for_space(
    tmp_path: Path,
) -> None:
    """Guards `handled` in `Journal.bounded`: a dropped incident leaves its hash behind."""
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(20)
        await on.resolves(replica, began)
        await asyncio.sleep(20)
        known = (await on.incident(replica))["id"]
        _fill(on, jn.INCIDENTS_KEPT)
        await on.fires(replica, began, alertname="LatencyHigh")
        await on.resolves(replica, began, alertname="LatencyHigh")
        await asyncio.sleep(90)
        _, found = await on.ask(replica, "GET", "incidents")
        assert known not in {incident["id"] for incident in found["incidents"]}
        assert "quarantined" in await _marks(on, replica, "v3")
        await on.release("v3")
        assert await on.fires(replica) == "bad_revision_returned"
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v3", 1)
        assert _paged(on, "bad_revision_returned")


def _fill(on: Stage, count: int) -> None:
    """Let that many other incidents have ended since."""
    found = on.sandbox.get("ConfigMap", demo.STATE, JOURNAL)
    assert found is not None
    journal = jn.load(found["data"]["journal.json"])
    (last,) = journal.incidents
    for number in range(count):
        bad = replace(last.bad, code=f"{number:016x}", hash=f"{number:010x}")
        journal = journal.with_incident(replace(last, id=f"inc-{number:012x}", bad=bad))
    filled = {"data": {"journal.json": jn.dump(journal)}}
    on.sandbox.merge_patch("ConfigMap", demo.STATE, JOURNAL, filled)


# --- the fence


@virtual
async def test_a_destination_that_turns_suspect_is_fenced_off_at_the_next_delivery_at_last(
    tmp_path: Path,
) -> None:
    """Guards `Receiving._fence`, at every delivery: at the second the journal knows it already.

    Our patch to v2 is on its way while v2 is found to be bad. The first attempt to fence fails, so
    the webhook must not be acknowledged; at the next one there is nothing new to write down.
    """
    async with stage(tmp_path) as on, road(on) as way, way.replica() as replica:
        await on.release("v1", "v2")
        bad_since = on.clock.now()
        await on.release("v3")
        way.hold(PATCH)
        await on.fires(replica)
        await asyncio.sleep(2)
        assert len(way.held) == 1
        on.sandbox.faults.append(Fault(match=_is_patch, kind="status", status=503))
        about_v2 = {"alertname": "DataLoss", "replicaset": _name_of(on, "v2")}
        body = webhook(firing(bad_since, **about_v2))
        assert (await on.post(replica, body))[0] == 503
        assert "suspect" in await _marks(on, replica, "v2")
        status, answer = await on.post(replica, body)
        assert (status, answer["alerts"][0]["reason"]) == (200, "revision_not_current")
        way.clear()
        await asyncio.sleep(1)
        assert _late_patches(way) == [422]
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v1", 1)
