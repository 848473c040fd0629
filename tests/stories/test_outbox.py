"""The outbox: whatever the sinks do, everybody hears the truth, in order, and nobody waits."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver import app
from receiver import journal as jn
from receiver.controller.memory import KEY
from receiver.controller.notices import FALLS_BACK_AFTER
from receiver.controller.setup import Timing
from receiver.controller.tell import UNAUTHORIZED_AGAIN
from receiver.journal import Journal
from receiver.sandbox import Fault
from tests.stage import NAME, UNHURRIED, Stage, crash, firing, road, stage, webhook
from tests.stories.unruly import CHAT, LATE, PAGER, RETRY_AFTER, Mood, Unruly, unruly
from tests.virtual import LoopClock, run, virtual

# Whoever falls silent is taken over from while its message is on its way.
HASTY = Timing(beat=0.5, lasts=2)
# A sink to which nothing critical is routed.
ASIDE = "engineering"
ROLLING, RECOVERED = "🔄 ROLLING BACK", "✅ RECOVERED after rollback"


@dataclass(frozen=True, slots=True)
class Scene:
    """A bad release, a replica, and whom it tells."""

    on: Stage
    replica: app.Replica
    people: Unruly

    def journal(self, name: str = "") -> Journal:
        name = name or jn.name_of(self.on.namespace, NAME)
        found = self.on.sandbox.get("ConfigMap", self.on.state_namespace, name)
        return Journal() if found is None else jn.load(found["data"][KEY])

    async def plays(self, seconds: float = 30) -> datetime:
        """Let an alert fire, the rollback be done, and the alert resolve."""
        began = self.on.clock.now()
        assert await self.on.fires(self.replica, began) == "rolled_back"
        await asyncio.sleep(seconds)
        await self.on.resolves(self.replica, began)
        return began

    def count(self, name: str, sink: str) -> float:
        found = self.replica.registry.get_sample_value(f"rollback_receiver_{name}", {"sink": sink})
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def _scene(
    home: Path, seed: int = 1, timing: Timing = app.DEFAULT_TIMING
) -> AsyncIterator[Scene]:
    async with stage(home) as on, unruly(on) as people:
        on.timing = timing
        await on.release("v2", "v3", wait=4)
        async with on.replica(seed, verify_within="10m") as replica:
            yield Scene(on, replica, people)


# --- whatever a sink answers


@pytest.mark.parametrize("mood", ["fails", "lost", "cut", "limits", "hangs"])
@pytest.mark.parametrize("times", [1, 4])
@virtual
async def test_what_a_sink_did_not_confirm_is_sent_until_it_does(
    tmp_path: Path, mood: Mood, times: int
) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.moods[PAGER] += [mood] * times
        scene.people.moods[CHAT] += [mood] * times
        await scene.plays(90)
        await asyncio.sleep(120)
        pages = scene.people.of(PAGER)
        assert (pages[0], pages[-1], pages.count("resolve")) == ("trigger", "resolve", 1)
        assert scene.people.open() == set()
        assert scene.people.of(CHAT)[-1] == RECOVERED
        assert not scene.journal().owed
        assert not scene.journal().dead


@virtual
async def test_a_page_of_unknown_fate_is_closed_though_it_never_was_confirmed(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene:
        # Taken each time, and never said so, until after the end.
        scene.people.usually[PAGER] = "lost"
        await scene.plays(20)
        # Whoever goes on from here knows: since the first attempt, however many there were.
        (owed,) = [o for o in scene.journal().owed if o.sink == PAGER]
        assert owed.doubt is not None
        assert owed.doubt == next(a.when for a in scene.people.wire if a.sink == PAGER)
        scene.people.usually.clear()
        await asyncio.sleep(120)
        assert scene.people.of(PAGER)[-1] == "resolve"
        assert scene.people.open() == set()
        assert not scene.journal().owed


@virtual
async def test_a_page_that_never_left_is_not_sent_after_the_end_nor_resolved(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.usually[PAGER] = "refuses"
        await scene.plays(20)
        await asyncio.sleep(20)
        scene.people.usually.clear()
        await asyncio.sleep(2 * UNAUTHORIZED_AGAIN)
        assert scene.people.of(PAGER) == []
        assert not scene.journal().owed


@virtual
async def test_a_sink_that_limits_is_left_alone_and_that_costs_no_attempt(tmp_path: Path) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.moods[CHAT] += ["limits"]
        await scene.plays(60)
        await asyncio.sleep(60)
        first, second = [a.at for a in scene.people.wire if a.sink == CHAT][:2]
        assert RETRY_AFTER <= second - first < RETRY_AFTER + 2
        # One write for each of what was taken, and none for what was not.
        assert scene.people.of(PAGER) == ["trigger", "resolve"]


@pytest.mark.parametrize("mood", ["hangs", "fails", "limits", "refuses", "gone"])
@virtual
async def test_the_time_to_the_patch_is_the_same_whatever_the_sinks_do(
    tmp_path: Path, mood: Mood
) -> None:
    times = []
    for home, how in ((tmp_path / "well", "takes"), (tmp_path / "ill", mood)):
        home.mkdir()
        async with _scene(home) as scene:
            scene.people.usually.update({PAGER: how, CHAT: how})  # type: ignore[dict-item] # a mood
            began = await scene.plays()
            (write,) = scene.on.template_writes()
            times.append((write.at - began, len(scene.on.sandbox.requests) > 0))
    assert times[0] == times[1]


# --- who stands in


def _instead(scene: Scene) -> list[float]:
    """Return when the fallback sink was told that it stands in."""
    return [
        a.at
        for a in scene.people.wire
        if a.sink == CHAT and a.taken and PAGER in json.dumps(a.body, ensure_ascii=False)
    ]


@pytest.mark.parametrize("mood", ["hangs", "fails", "lost", "limits"])
@virtual
async def test_a_page_that_nobody_took_for_a_minute_is_told_by_the_fallback_sink_once(
    tmp_path: Path, mood: Mood
) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.usually[PAGER] = mood
        await scene.on.fires(scene.replica)
        await asyncio.sleep(55)
        first = next(a.at for a in scene.people.wire if a.sink == PAGER)
        assert _instead(scene) == []
        await asyncio.sleep(20)
        (told,) = _instead(scene)
        assert FALLS_BACK_AFTER <= told - first <= FALLS_BACK_AFTER + 5
        assert scene.count("fallbacks_total", PAGER) == 1
        scene.people.usually.clear()
        await asyncio.sleep(200)
        # It is paged after all, and nobody is told of that again.
        assert len(_instead(scene)) == 1
        assert "trigger" in scene.people.of(PAGER)
        assert not scene.journal().owed


@pytest.mark.parametrize("mood", ["refuses", "gone"])
@virtual
async def test_what_only_a_person_can_mend_is_told_by_the_fallback_sink_at_once(
    tmp_path: Path, mood: Mood
) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.usually[PAGER] = mood
        await scene.on.fires(scene.replica)
        await asyncio.sleep(8)
        assert len(_instead(scene)) == 1
        await asyncio.sleep(300)
        assert len(_instead(scene)) == 1


@virtual
async def test_a_pager_that_is_well_has_nobody_stand_in_and_costs_no_write(tmp_path: Path) -> None:
    async with _scene(tmp_path) as scene:
        await scene.plays(90)
        await asyncio.sleep(30)
        assert _instead(scene) == []
        assert scene.count("fallbacks_total", PAGER) == 0
        journal = jn.name_of(scene.on.namespace, NAME)
        writes = [w for w in scene.on.sandbox.writes if w.name == journal]
        # Settling, applying, following, verifying, resolved, recovered, 2 x 2 ticks, released.
        assert len(writes) == 11


@virtual
async def test_the_fallback_sink_hears_the_end_too(tmp_path: Path) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.usually[PAGER] = "hangs"
        await scene.plays(100)
        await asyncio.sleep(20)
        assert len(_instead(scene)) == 1
        assert scene.people.of(CHAT)[-1] == RECOVERED


@contextlib.asynccontextmanager
async def _worse(home: Path) -> AsyncIterator[tuple[Stage, Unruly, app.Replica]]:
    """Let no page be taken, and a sink stand in that hears of nothing critical by itself."""
    async with stage(home, timing=UNHURRIED) as on, unruly(on) as people:
        on.changes.append(lambda d: d["notify"].update(fallback=[ASIDE]))
        people.usually[PAGER] = "fails"
        await on.release("v2", "v3", wait=4)
        async with on.replica(verify_within="3m") as replica:
            yield on, people, replica


@virtual
async def test_who_stands_in_says_so_of_what_is_worse_too_and_once(tmp_path: Path) -> None:
    async with _worse(tmp_path) as (on, people, replica):
        await on.fires(replica)
        await asyncio.sleep(100)
        assert people.of(ASIDE) == ["🔄 ROLLED BACK, verifying"]
        people.moods[ASIDE] += ["limits"]
        await asyncio.sleep(300)
        assert people.of(ASIDE)[1:] == ["🚨 ROLLBACK DID NOT HELP"]
        assert not people.moods[ASIDE]
        assert Scene(on, replica, people).count("fallbacks_total", PAGER) == 1
        assert all(PAGER in str(a.body) for a in people.wire if a.sink == ASIDE)
        assert people.of(CHAT)[-1:] == people.of(ASIDE)[1:]
        await asyncio.sleep(1200)
        assert len(people.of(ASIDE)) == 2
        people.usually.clear()
        await asyncio.sleep(120)
        # The page is taken at last, and is no news to the others.
        assert people.of(PAGER) == ["trigger"]
        assert len(people.of(ASIDE)) == 2


@pytest.mark.parametrize(("mood", "times"), [("fails", 2), ("refuses", 2)])
@virtual
async def test_each_state_falls_back_once_though_nobody_took_what_fell_back_before(
    tmp_path: Path, mood: Mood, times: int
) -> None:
    async with _worse(tmp_path) as (on, people, replica):
        people.usually.update({PAGER: mood, ASIDE: "gone"})
        await on.fires(replica)
        await asyncio.sleep(150)
        assert people.of(ASIDE, taken=False) != []
        del people.usually[ASIDE]
        await asyncio.sleep(300)
        assert people.of(ASIDE) == ["🚨 ROLLBACK DID NOT HELP"]
        await asyncio.sleep(1200)
        assert len(people.of(ASIDE)) == 1
        assert all(PAGER in str(a.body) for a in people.wire if a.sink == ASIDE)
        assert Scene(on, replica, people).count("fallbacks_total", PAGER) == times


@virtual
async def test_what_is_worse_and_is_paged_has_nobody_stand_in(tmp_path: Path) -> None:
    async with _worse(tmp_path) as (on, people, replica):
        await on.fires(replica)
        await asyncio.sleep(100)
        assert len(people.of(ASIDE)) == 1
        people.usually.clear()
        await asyncio.sleep(300)
        assert people.of(PAGER) == ["trigger", "trigger"]
        # Who has heard that it began hears how it ends, and of no pager that failed.
        assert people.of(ASIDE)[1:] == ["🚨 ROLLBACK DID NOT HELP"]
        assert PAGER not in str([a.body for a in people.wire if a.sink == ASIDE][-1])


@virtual
async def test_another_replica_has_the_fallback_stand_in_when_the_first_one_died(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene, scene.on.replica(2, verify_within="10m"):
        scene.people.usually[PAGER] = "hangs"
        await scene.on.fires(scene.replica)
        await asyncio.sleep(40)
        crash(scene.replica)
        await asyncio.sleep(60)
        assert len(_instead(scene)) == 1


@virtual
async def test_what_is_called_from_memory_falls_back_too_and_is_over_for_all(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene:
        on, people, began = scene.on, scene.people, scene.on.clock.now()
        people.usually[PAGER] = "lost"
        on.sandbox.faults.append(Fault(match="/", kind="status", status=503, times=None))
        for _ in range(8):
            status, _ = await on.post(scene.replica, webhook(firing(began)))
            assert status == 503
            await asyncio.sleep(10)
        assert len(_instead(scene)) == 1
        assert "FAILING" in people.of(CHAT)[-1]
        people.usually.clear()
        on.sandbox.faults.clear()
        await on.fires(scene.replica, began)
        await asyncio.sleep(20)
        assert not any(key.startswith("dir-") for key in people.open())
        assert any("works again" in said for said in people.of(CHAT))


@virtual
async def test_a_rollout_during_which_something_happens_all_the_time_delays_nobody_who_stands_in(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene:
        on = scene.on
        scene.people.usually[PAGER] = "fails"
        on.sandbox.pod_ready_after = 300
        await on.fires(scene.replica)
        for number in range(40):
            on.sandbox.scale(on.namespace, NAME, 3 + number % 2)
            await asyncio.sleep(2)
        assert [i.phase for i in scene.journal().incidents] == ["following"]
        assert len(_instead(scene)) == 1


# --- given up


@virtual
async def test_what_is_given_up_is_kept_shown_and_counted(tmp_path: Path) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.usually[CHAT] = "gone"
        await scene.on.fires(scene.replica)
        await asyncio.sleep(20)
        _, shown = await scene.on.ask(
            scene.replica, "GET", f"deployments/{scene.on.namespace}/{NAME}"
        )
        (dead,) = shown["dead_letters"]
        assert (dead["sink"], dead["state"], dead["severity"]) == (CHAT, "following", "critical")
        assert dead["why"].startswith("404 no_service")
        assert scene.count("dead_letters_total", CHAT) == 1
        async with scene.on.session.get(f"{scene.replica.url}/health") as answer:
            sinks = (await answer.json())["sinks"]
        assert sinks[CHAT].endswith("; 1 given up")
        assert sinks[PAGER] == "ok"


@virtual
async def test_what_one_sink_will_never_take_holds_up_nothing_behind_it(tmp_path: Path) -> None:
    async with _scene(tmp_path) as scene:
        scene.people.moods[CHAT] += ["rejects", "rejects"]  # the whole message, and the plain one
        await scene.plays(20)
        await asyncio.sleep(20)
        assert scene.people.of(CHAT)[-1] == RECOVERED
        assert [d.why for d in scene.journal().dead] != []
        assert scene.people.of(PAGER) == ["trigger", "resolve"]


@virtual
async def test_what_is_owed_to_a_sink_that_is_configured_no_more_is_given_up_and_noted(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people:
        await on.release("v2", "v3", wait=4)
        people.usually[PAGER] = "fails"
        async with on.replica(1, verify_within="10m") as replica:
            await on.fires(replica)
            await asyncio.sleep(20)
        on.changes.append(lambda d: d["notify"]["sinks"].pop(PAGER))
        async with on.replica(2, verify_within="10m") as replica:
            await asyncio.sleep(30)
            scene = Scene(on, replica, people)
            assert [(d.sink, d.why) for d in scene.journal().dead] == [
                (PAGER, "there is no such sink")
            ]
            assert not scene.journal().owed


@virtual
async def test_a_page_waits_for_no_moment_of_a_clock_that_was_ahead(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, unruly(on) as people:
        await on.release("v2", "v3", wait=4)
        people.usually[PAGER] = "fails"
        ahead = LoopClock(skew=3600)
        async with on.replica(1, clock=ahead, window="1d") as one, on.replica(2, window="1d"):
            await on.fires(one, ahead.now())
            await asyncio.sleep(20)
            assert people.of(PAGER, taken=False) != []
            crash(one)
            people.usually.clear()
            await asyncio.sleep(30)
            assert people.of(PAGER) != []


# --- closed where it was opened


@virtual
async def test_a_page_of_a_rollback_that_was_superseded_closes_when_its_alert_resolves(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene:
        began = scene.on.clock.now()
        await scene.on.fires(scene.replica, began)
        await asyncio.sleep(10)
        await scene.on.release("v4", wait=20)
        assert [i.phase for i in scene.journal().incidents] == ["superseded"]
        assert len(scene.people.open()) == 1
        await scene.on.resolves(scene.replica, began)
        await asyncio.sleep(10)
        assert scene.people.open() == set()
        assert scene.people.of(CHAT)[-1] == "✅ RESOLVED"


@virtual
async def test_what_a_stopped_replica_opens_after_the_end_is_closed_again(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=HASTY) as on, unruly(on) as people, road(on) as way:
        await on.release("v2", "v3", wait=4)
        people.moods[PAGER] += ["late"]
        async with way.replica(1, verify_within="10m") as one, on.replica(2) as two:
            began = on.clock.now()
            await on.fires(one, began)
            await asyncio.sleep(2)
            assert not people.moods[PAGER]
            way.hold("", then_all=True)
            await on.resolves(two, began)
            await asyncio.sleep(LATE - 2)
            assert people.of(PAGER) == ["trigger", "resolve"]
            way.clear()
            await asyncio.sleep(20)
            assert people.of(PAGER) == ["trigger", "resolve", "trigger", "resolve"]
            assert Scene(on, two, people).journal().owed == ()


ELSEWHERE = {key: ["engineering"] for key in ("critical", "warning", "info", "default")}


@virtual
async def test_what_was_opened_is_closed_there_though_the_routes_have_changed(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people:
        await on.release("v2", "v3", wait=4)
        began = on.clock.now()
        async with on.replica(1, verify_within="10m") as replica:
            await on.fires(replica, began)
            await asyncio.sleep(20)
        assert len(people.open()) == 1
        on.changes.append(lambda d: d["notify"].update(routes=ELSEWHERE))
        async with on.replica(2, verify_within="10m") as replica:
            await on.resolves(replica, began)
            await asyncio.sleep(20)
        assert people.open() == set()
        assert people.of(CHAT)[-1] == RECOVERED
        assert people.of("engineering") == [RECOVERED]


# --- a dead sink in a storm


@virtual
async def test_a_dead_sink_costs_few_attempts_and_few_writes_however_many_are_owed(
    tmp_path: Path,
) -> None:
    async with _scene(tmp_path) as scene:
        on, people = scene.on, scene.people
        people.usually[CHAT] = "fails"
        names = [f"shop-{number}" for number in range(20)]
        for name in names:
            # Each of these is refused, and told.
            assert await on.fires(scene.replica, deployment=name) == "target_not_found"
        await asyncio.sleep(60)
        tried = people.of(CHAT, taken=False)
        written = len(on.sandbox.writes)
        await asyncio.sleep(300)
        assert len(people.of(CHAT, taken=False)) - len(tried) < 40
        own = [w for w in on.sandbox.writes[written:] if w.name == jn.OWN]
        assert len(own) < 40
        assert people.of(PAGER).count("trigger") == 20
        people.usually.clear()
        await _settled(scene, jn.OWN)
        assert len(people.of(CHAT)) == 20


# --- whatever happens

# One replica alone: nobody waits for its beat, and an hour is short.
SELDOM = Timing(beat=30, lasts=100, poll=20)

_MOODS = st.lists(
    st.sampled_from(["takes", "fails", "lost", "cut", "limits", "refuses", "rejects", "gone"]),
    max_size=12,
)
# Until the alert resolves. Not 75: then the server drops the connection that the next post takes.
_SECONDS = st.sampled_from([3, 12, 40, 90, 150])


@pytest.mark.timeout(240)
@given(pager=_MOODS, chat=_MOODS, seconds=_SECONDS, seed=st.integers(1, 9))
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_sinks_answer_the_order_holds_and_the_end_is_told(
    tmp_path_factory: pytest.TempPathFactory,
    pager: list[Mood],
    chat: list[Mood],
    seconds: int,
    seed: int,
) -> None:
    async def play() -> None:
        async with _scene(tmp_path_factory.mktemp("scene"), seed, SELDOM) as scene:
            scene.people.moods[PAGER] += pager
            scene.people.moods[CHAT] += chat
            await scene.plays(seconds)
            await _settled(scene)
            _check(scene)

    run(play)


async def _settled(scene: Scene, name: str = "") -> None:
    """Return when nothing is owed any more."""
    await asyncio.sleep(60)
    for _ in range(120):
        if not scene.journal(name).owed:
            return
        await asyncio.sleep(30)
    raise AssertionError(scene.journal(name).owed)


def _check(scene: Scene) -> None:
    held, people = scene.journal(), scene.people
    assert [i.phase for i in held.incidents] == ["recovered"]
    assert held.owed == ()
    for sink, opens, ends in ((PAGER, "trigger", "resolve"), (CHAT, "🔄", "✅")):
        said = people.of(sink)
        last = max((n for n, word in enumerate(said) if word.startswith(opens)), default=-1)
        first = next((n for n, word in enumerate(said) if word.startswith(ends)), len(said))
        assert last < first, "nothing begins after its end"
        dead = [d for d in held.dead if d.sink == sink]
        told = held.told_of(held.incidents[0].id, sink)
        if told is not None and told.state == "recovered":
            assert said[-1].startswith(ends)
        else:
            # It never heard the beginning, or the end was given up, and that is noted.
            assert dead or not any(word.startswith(opens) for word in said)
    if not any(d.sink == PAGER for d in held.dead):
        assert people.open() == set()
