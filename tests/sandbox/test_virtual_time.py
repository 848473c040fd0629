"""The clock of the tests themselves (tests/virtual.py)."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from time import perf_counter  # noqa: TID251 - what is expect is how little real time passes

import aiohttp
import pytest

from tests.sandbox.api import API, NAMESPACE, on_sandbox, serving
from tests.sandbox.api import Api as Client
from tests.virtual import LONGEST, START, LoopClock, run, virtual


@virtual
async def test_an_hour_of_waiting_takes_no_time_and_shows_on_the_clock() -> None:
    clock, began = LoopClock(), perf_counter()
    await clock.sleep(3600)
    assert clock.now() == START + timedelta(hours=1)
    assert clock.monotonic() == 3600
    assert perf_counter() - began < 1


def test_a_story_begins_when_it_is_told_to_and_returns_what_it_returns() -> None:
    begin = datetime(2030, 1, 2, tzinfo=UTC)

    async def story() -> datetime:
        await asyncio.sleep(1)
        return LoopClock().now()

    assert run(story, start=begin) == begin + timedelta(seconds=1)


@virtual
async def test_a_clock_may_be_wrong() -> None:
    assert LoopClock(skew=-30).now() == START - timedelta(seconds=30)
    assert LoopClock(datetime(2030, 1, 2, tzinfo=UTC)).now().year == 2030


@virtual
@pytest.mark.parametrize("number", [1, 2])
async def test_fixtures_and_parameters_reach_a_virtual_test(
    number: int, tmp_path: os.PathLike[str]
) -> None:
    assert number
    assert tmp_path


def test_waiting_for_ever_is_an_error() -> None:
    async def asleep() -> None:
        for _ in range(4):
            await asyncio.sleep(LONGEST / 3)

    with pytest.raises(RuntimeError, match="does not come"):
        run(asleep)


def test_waiting_without_any_timer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.virtual.PATIENCE", 0.01)
    with pytest.raises(RuntimeError, match="no timer is set"):
        run(lambda: asyncio.Event().wait())


@on_sandbox
async def test_time_stands_still_while_requests_are_on_their_way(api: Client) -> None:
    await api.deployed(replicas=0)
    before = api.clock.monotonic()

    async def ask() -> None:
        for _ in range(20):
            async with asyncio.timeout(0.001), api.http.get(api.url + API) as answer:
                await answer.read()

    # A timer that is due soon is never rung before what is on the wire has come through.
    await asyncio.gather(*(ask() for _ in range(10)))
    assert api.clock.monotonic() - before < 0.001


@on_sandbox
async def test_large_bodies_are_no_reason_for_time_to_pass(api: Client) -> None:
    text = "x" * (1024 * 1024 - 10)
    before = api.clock.monotonic()
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    async with asyncio.timeout(0.001):
        made = await api.post(path, {"metadata": {"name": "large"}, "data": {"k": text}})
    assert made.status == 201
    assert api.clock.monotonic() == before


def test_an_hour_with_a_watch_and_rollouts_takes_less_than_a_second() -> None:
    async def story() -> int:
        async with serving() as api:
            await api.deployed()
            seen = 0

            async def look() -> None:
                nonlocal seen
                async with api.watch(API.rpartition("/")[0], allowWatchBookmarks=True) as events:
                    while await events.next():
                        seen += 1

            looking = asyncio.create_task(look())
            for number in range(6):
                await api.deployed(f"app:v{number}")
                await api.clock.sleep(600)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            return seen

    began = perf_counter()
    assert run(story) > 60
    # The machine of a test run may be busy; alone it takes a fifth of that.
    assert perf_counter() - began < 5


def test_the_same_story_gives_the_same_writes() -> None:
    async def story() -> list[object]:
        async with serving(seed=7) as api:
            await api.deployed()
            await api.deployed("app:bad")
            api.sandbox.rollout_undo(NAMESPACE, "api")
            await api.sandbox.settled()
            return [(w.at, w.by, w.verb, w.path, w.generation) for w in api.sandbox.writes]

    assert run(story) == run(story)


@virtual
async def test_nobody_listens_is_an_error_at_once() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get("http://127.0.0.1:1/")
