"""Who takes over from whom, and what neither of the two may say twice."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from receiver import app
from receiver import journal as jn
from receiver.controller.memory import KEY
from receiver.controller.setup import BEATS, KIND_LABEL, OPEN_LABEL, Ref
from receiver.journal import Journal, Owed, Phase
from receiver.sandbox import Fault
from tests.crash.killing import Cast
from tests.crash.points import NEWS, OUTCOME, SINKS, US, Point, Points
from tests.notify.sites import serving
from tests.stage import PRODUCTION, Stage, stage
from tests.virtual import virtual

# Targets of one dead replica.
MANY = 100


@contextlib.asynccontextmanager
async def _cast(home: Path) -> AsyncIterator[tuple[Stage, Cast]]:
    """Set the stage with a Deployment that has just been released badly."""
    async with stage(home, timing=PRODUCTION) as on, contextlib.AsyncExitStack() as stack:
        cast = Cast(on, stack)
        await on.release("v2", "v3", wait=4)
        yield on, cast


def _taken(*replicas: app.Replica) -> float:
    """Return how many claims these have taken from others."""
    name = "rollback_receiver_claims_taken_total"
    return sum(replica.registry.get_sample_value(name) or 0 for replica in replicas)


@virtual
async def test_a_killed_replica_does_and_says_nothing_more(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        first = await cast.start()
        points = Points(on, Point("after", "the PATCH"), lambda: cast.kill(first))
        await cast.fires()
        await asyncio.sleep(2)
        written = [write for write in on.sandbox.writes if write.by == US]
        asked = len(on.sandbox.requests)
        await asyncio.sleep(60)
        assert [write for write in on.sandbox.writes if write.by == US] == written
        assert len(on.sandbox.requests) == asked
        assert points.heard == []
        assert points.seen[-1] == "the PATCH"


@virtual
async def test_who_was_cut_off_from_the_api_takes_nothing_from_the_living(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        other, beats_at = await cast.start(), on.clock.monotonic()
        await asyncio.sleep(0.7)
        busy = await cast.start()
        cast.living.reverse()
        points = Points(on)
        began = await cast.fires()
        every = on.timing.beat

        async def until_beat_of_other(seconds: float, beside: float) -> None:
            to = on.clock.monotonic() + seconds - beats_at
            await asyncio.sleep(seconds + every - to % every + beside)

        # It goes just after the other one has beaten, and comes back just before it does again:
        # the other one hears nothing new of the busy one.
        await until_beat_of_other(8, 0.1)
        claim = points.journal().claim
        assert claim == busy.replica.controller._setup.replica
        on.sandbox.faults.append(Fault(match="/", kind="status", status=503, times=None))
        await until_beat_of_other(9, -0.1)
        on.sandbox.faults.clear()
        await asyncio.sleep(6)
        assert points.journal().claim == claim
        await cast.resolves(began)
        await asyncio.sleep(5)
        assert _taken(other.replica, busy.replica) == 0
        assert [points.times(sink, said) for sink in SINKS for said in (NEWS, OUTCOME)] == [1] * 4


@virtual
async def test_who_died_while_nobody_could_listen_is_still_stood_in_for(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        first, second = await cast.start(), await cast.start()
        points = Points(on)
        await cast.fires()
        await asyncio.sleep(8)
        on.sandbox.faults.append(Fault(match="/", kind="status", status=503, times=None))
        cast.kill(first)
        await asyncio.sleep(9)
        on.sandbox.faults.clear()
        await asyncio.sleep(10)
        assert points.journal().claim == second.replica.controller._setup.replica


@virtual
async def test_all_that_a_dead_one_had_is_taken_in_time_and_the_beat_goes_on(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=PRODUCTION) as on, contextlib.AsyncExitStack() as stack:
        later = on.clock.now() + timedelta(hours=1)
        for number in range(MANY):
            name = f"shop-{number}"
            owed = Owed(subject="inc-1", sink="x", since=on.clock.now(), not_before=later)
            journal = Journal(namespace=on.namespace, deployment=name, claim="dead", owed=(owed,))
            labels = {KIND_LABEL: "journal", OPEN_LABEL: "true"}
            meta = {"name": jn.name_of(on.namespace, name), "namespace": on.state_namespace}
            data = {KEY: jn.dump(journal)}
            on.sandbox.create("ConfigMap", {"metadata": meta | {"labels": labels}, "data": data})
        slow = Fault(match=lambda verb, _: verb == "PUT", kind="delay", seconds=0.1, times=None)
        on.sandbox.faults.append(slow)
        replica = (await Cast(on, stack).start()).replica
        began = on.clock.now()
        await asyncio.sleep(10)
        assert _taken(replica) == MANY
        written = [write for write in on.sandbox.writes if write.at > began]
        beats = [write.at for write in written if write.name == BEATS]
        gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(beats)]
        assert max(gaps) < on.timing.lasts / 2


@virtual
async def test_a_replica_whose_questions_take_long_is_not_thought_dead(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        first, second = await cast.start(), await cast.start()
        points = Points(on)
        # Rights are asked again in between, and each answer takes its time.
        asked = Fault(match="selfsubjectaccess", kind="delay", seconds=4.0, times=None)
        on.sandbox.faults.append(asked)
        await cast.fires()
        await asyncio.sleep(80)
        assert _taken(first.replica, second.replica) == 0
        assert points.times("prod-alerts", NEWS) == 1


@virtual
async def test_a_replica_that_has_slept_judges_nobody_before_it_has_listened(
    tmp_path: Path,
) -> None:
    async with _cast(tmp_path) as (_, cast):
        first, second = await cast.start(), await cast.start()
        await asyncio.sleep(4)
        claims = second.replica.controller._work.claims
        name = first.replica.controller._setup.replica
        # The beat of the second one does not come by, as while it is stopped; the clock goes on.
        beating = second.replica.controller._beating
        assert beating is not None
        beating.cancel()
        await asyncio.sleep(8)
        assert claims.lives(name)
        await claims.beat()
        assert claims.lives(name)


@pytest.mark.parametrize("sink", SINKS)
@virtual
async def test_what_a_sink_took_and_the_journal_could_not_note_is_told_once(
    tmp_path: Path, sink: str
) -> None:
    async with _cast(tmp_path) as (on, cast):
        await cast.start()
        # Reads work and no write does, as when etcd is full.
        full = Fault(match=lambda verb, _: verb == "PUT", kind="status", status=500, times=None)
        at = Point("after", f"{sink} accepts {NEWS}")
        points = Points(on, at, lambda: on.sandbox.faults.append(full))
        began = await cast.fires()
        await asyncio.sleep(60)
        assert points.cut is not None
        on.sandbox.faults.clear()
        await asyncio.sleep(30)
        assert not points.journal().owed
        await cast.resolves(began)
        await asyncio.sleep(10)
        assert [points.times(to, said) for to in SINKS for said in (NEWS, OUTCOME)] == [1] * 4
        assert [incident.phase for incident in points.journal().incidents] == [Phase.RECOVERED]


@virtual
async def test_an_alert_that_the_dead_one_opened_at_a_pager_is_closed(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        first, _ = await cast.start(), await cast.start()
        key = tmp_path / "pagerduty-key"
        text = key.read_text()

        def kill() -> None:
            cast.kill(first)
            key.unlink()

        points = Points(on, Point("after", f"pagerduty accepts {NEWS}"), kill)
        began = await cast.fires()
        await asyncio.sleep(2)
        await cast.resolves(began)
        await asyncio.sleep(10)
        # Whoever took over could not page, and has nothing to open any more.
        assert [incident.phase for incident in points.journal().incidents] == [Phase.RECOVERED]
        key.write_text(text)
        await asyncio.sleep(70)
        paged = [message.said for message in points.heard if message.sink == "pagerduty"]
        assert paged[-1] == OUTCOME


@dataclass
class _Slow:
    """Slack and PagerDuty that answer after `seconds`."""

    seconds: float
    told: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        said: dict[str, Any] = await request.json()
        self.told.append(said.get("text") or said["event_action"])
        self.came.set()
        await asyncio.sleep(self.seconds)
        if "dedup_key" in json.dumps(said):
            return web.Response(status=202, text='{"status":"success"}')
        return web.Response(text="ok")


@virtual
async def test_what_is_on_its_way_when_a_replica_is_told_to_go_is_told_once(
    tmp_path: Path,
) -> None:
    async with _cast(tmp_path) as (on, cast):
        slow = _Slow(2.0)
        on.people_url = await cast.stack.enter_async_context(serving(slow.answer))
        points = Points(on)
        async with contextlib.AsyncExitStack() as leaving:
            first = await leaving.enter_async_context(on.replica(101))
            await cast.start()
            assert await on.fires(first) == "rolled_back"
            await slow.came.wait()
            began = on.clock.monotonic()
        assert on.clock.monotonic() - began < 3
        await asyncio.sleep(20)
        assert len(slow.told) == 2, slow.told
        assert points.journal().claim == cast.living[0].replica.controller._setup.replica
        assert len(on.template_writes()) == 1


@virtual
async def test_a_sink_that_does_not_answer_holds_up_no_end(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        silent = _Slow(3600.0)
        on.people_url = await cast.stack.enter_async_context(serving(silent.answer))
        points = Points(on)
        async with on.replica(101) as first:
            assert await on.fires(first) == "rolled_back"
            await silent.came.wait()
            began = on.clock.monotonic()
        assert 2 < on.clock.monotonic() - began < 5
        assert points.journal().claim == ""
        assert len(points.journal().owed) == 2


@virtual
async def test_a_sender_that_has_just_ended_is_no_reason_to_wait(tmp_path: Path) -> None:
    async with _cast(tmp_path) as (on, cast):
        process = await cast.start()
        teller = process.replica.controller._work._teller
        ref, ended = Ref(on.namespace, "x"), asyncio.create_task(asyncio.sleep(0))
        await ended
        teller._senders[ref, "pagerduty"] = ended
        owed = Owed(subject="inc-1", sink="pagerduty", since=on.clock.now())
        teller.ensure(ref, Journal(owed=(owed,)))
        assert not teller._senders[ref, "pagerduty"].done()
