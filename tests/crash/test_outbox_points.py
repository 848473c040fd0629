"""A replica is killed at every point of a page that is not taken: who stands in does so once."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from receiver.journal import Phase
from tests.crash.killing import Cast
from tests.crash.points import INSTEAD, NEWS, OUTCOME, Point, Points
from tests.stage import stage
from tests.stories.unruly import CHAT, PAGER, unruly
from tests.virtual import virtual

# Seconds: the pager takes nothing for so long; then the alert resolves; and the story ends.
FAILS_FOR, RESOLVES_AFTER, ENDS_AFTER = 100.0, 175.0, 215.0
WRITES = (
    f"the journal notes a failure of {PAGER}",
    f"the journal owes {CHAT} {INSTEAD}",
    f"{CHAT} accepts {INSTEAD}",
    f"the tick of {INSTEAD} to {CHAT}",
    f"{PAGER} accepts {NEWS}",
    f"the tick of {NEWS} to {PAGER}",
)
POINTS = [Point(when, what) for what in WRITES for when in ("before", "after")]
# Where the dead one cannot have noted that it was taken.
UNNOTED = {
    Point("after", f"{CHAT} accepts {INSTEAD}"): (CHAT, INSTEAD),
    Point("before", f"the tick of {INSTEAD} to {CHAT}"): (CHAT, INSTEAD),
    Point("after", f"{PAGER} accepts {NEWS}"): (PAGER, NEWS),
    Point("before", f"the tick of {NEWS} to {PAGER}"): (PAGER, NEWS),
}


async def _play(home: Path, at: Point | None) -> Points:
    async with stage(home) as on, unruly(on) as people, contextlib.AsyncExitStack() as stack:
        on.changes.append(lambda document: document["policy"].update(verify_within="10m"))
        cast = Cast(on, stack)
        first = await cast.start()
        await cast.start()
        await on.release("v2", "v3", wait=4)
        points = Points(on, at, lambda: cast.kill(first))
        people.usually[PAGER] = "fails"
        asyncio.get_running_loop().call_later(FAILS_FOR, people.usually.clear)
        began = await cast.fires()
        await cast.passes(RESOLVES_AFTER)
        await cast.resolves(began)
        await cast.passes(ENDS_AFTER - RESOLVES_AFTER)
        assert (points.cut is None) == (at is None), f"never came by: {at}"
        assert [i.phase for i in points.journal().incidents] == [Phase.RECOVERED]
        assert not points.journal().busy
        assert people.open() == set()
        assert len(on.template_writes()) == 1
        return points


@virtual
async def test_the_undisturbed_story_comes_by_these_points_in_this_order(tmp_path: Path) -> None:
    points = await _play(tmp_path, None)
    assert tuple(dict.fromkeys(what for what in points.seen if what in WRITES)) == WRITES
    for sink, said in ((CHAT, NEWS), (CHAT, INSTEAD), (CHAT, OUTCOME), (PAGER, NEWS)):
        assert points.times(sink, said) == 1


@pytest.mark.parametrize("point", POINTS, ids=str)
@virtual
async def test_killed_at_any_point_somebody_stands_in_and_says_so_once(
    tmp_path: Path, point: Point
) -> None:
    points = await _play(tmp_path, point)
    for sink, said in ((CHAT, INSTEAD), (PAGER, NEWS), (PAGER, OUTCOME)):
        most = 2 if UNNOTED.get(point) == (sink, said) else 1
        assert 1 <= points.times(sink, said) <= most, (sink, said, points.heard)
