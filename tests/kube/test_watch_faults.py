"""A watch ends quietly, however it ends: the caller reads again."""

import asyncio

import pytest

from receiver.errors import Unavailable
from receiver.kube.calls import READ_WITHIN
from receiver.kube.watching import SILENCE, WATCH_SECONDS
from receiver.sandbox import Fault
from tests.kube.http import Obj
from tests.kube.raw_server import STREAM, answer, line, raw_cluster
from tests.kube.sandbox_world import NAMESPACE, SandboxWorld, on_sandbox
from tests.kube.wishes import annotate, deployed
from tests.virtual import virtual


async def _names(says: bytes, *, holds: bool = False) -> list[str | None]:
    """Watch a server that says just this, and return what was seen until the end."""
    async with (
        raw_cluster(STREAM + says, holds=holds) as (cluster, _),
        cluster.watch(NAMESPACE, "api", "1") as events,
    ):
        return [None if obj is None else obj["metadata"]["name"] async for obj in events]


@on_sandbox
async def test_bookmarks_keep_a_quiet_watch_open_and_are_not_shown(world: SandboxWorld) -> None:
    obj = await deployed(world, replicas=0)
    version = obj["metadata"]["resourceVersion"]
    began = world.clock.monotonic()
    async with world.cluster.watch(NAMESPACE, "api", version) as events:
        later = asyncio.create_task(_patch_in(world, obj, SILENCE + 50))
        seen = await anext(events)
        await later
    assert seen is not None
    assert seen["kind"] == "Deployment"
    assert world.clock.monotonic() - began >= SILENCE


async def _patch_in(world: SandboxWorld, obj: Obj, seconds: float) -> None:
    await world.clock.sleep(seconds)
    await world.cluster.patch(NAMESPACE, "api", annotate(obj, "note", "late"))


@on_sandbox
async def test_a_watch_ends_when_the_api_ends_it(world: SandboxWorld) -> None:
    obj = await deployed(world, replicas=0)
    version = obj["metadata"]["resourceVersion"]
    began = world.clock.monotonic()
    async with world.cluster.watch(NAMESPACE, "api", version) as events:
        assert [event async for event in events] == []
    passed = world.clock.monotonic() - began
    assert WATCH_SECONDS - 1 <= passed <= WATCH_SECONDS + 1


@on_sandbox
async def test_a_watch_of_a_version_too_old_ends_at_once(world: SandboxWorld) -> None:
    obj = await deployed(world, replicas=0)
    await world.deploy("api", "app:2")
    world.sandbox.store.compact()
    async with world.cluster.watch(NAMESPACE, "api", obj["metadata"]["resourceVersion"]) as events:
        assert [event async for event in events] == []


@on_sandbox
async def test_a_watch_answered_410_ends_at_once(world: SandboxWorld) -> None:
    world.sandbox.faults.append(Fault("watch=true", "status", status=410))
    async with world.cluster.watch(NAMESPACE, "api", "1") as events:
        assert [event async for event in events] == []


@on_sandbox
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_watch_refused_from_the_start_is_unavailable(
    world: SandboxWorld, status: int
) -> None:
    # An end would make the caller ask again at once, for ever.
    world.sandbox.faults.append(Fault("watch=true", "status", status=status, retry_after=4))
    with pytest.raises(Unavailable) as caught:
        async with world.cluster.watch(NAMESPACE, "api", "1"):
            pass
    assert caught.value.retry_after == 4.0
    assert world.calls[-1][:3] == ("watch", "deployments.apps", status)


@on_sandbox
async def test_a_watch_whose_connection_breaks_at_once_is_unavailable(world: SandboxWorld) -> None:
    world.sandbox.faults.append(Fault("watch=true", "reset_before"))
    with pytest.raises(Unavailable):
        async with world.cluster.watch(NAMESPACE, "api", "1"):
            pass


@virtual
async def test_a_watch_that_does_not_begin_is_given_up_in_time() -> None:
    began = asyncio.get_running_loop().time()
    async with raw_cluster(b"", holds=True) as (cluster, _):
        with pytest.raises(Unavailable):
            async with cluster.watch(NAMESPACE, "api", "1"):
                pass
    assert asyncio.get_running_loop().time() - began <= READ_WITHIN + 1


@virtual
async def test_a_watch_ends_at_half_a_line() -> None:
    half = line("MODIFIED", "two")[:-9]
    assert await _names(line("MODIFIED", "one") + half) == ["one"]


@virtual
async def test_a_watch_ends_when_the_connection_is_closed() -> None:
    assert await _names(line("ADDED", "one") + line("DELETED", "one")) == ["one", None]


@virtual
async def test_a_watch_ends_at_an_error_event() -> None:
    says = line("MODIFIED", "one") + line("ERROR", "x") + line("MODIFIED", "two")
    assert await _names(says) == ["one"]


@virtual
@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(b"[]\n", id="no_object"),
        pytest.param(b'"text"\n', id="text"),
        pytest.param(b'{"type": "MODIFIED"}\n', id="no_deployment"),
        pytest.param(b'{"kind": "Status"}\n', id="no_type"),
        pytest.param(b"\xff\xfe\n", id="no_text"),
        pytest.param(b"[" * 100_000 + b"\n", id="nested_without_end"),
        pytest.param(b"x" * (5 * 2**20), id="line_too_long"),
    ],
)
async def test_a_watch_ends_at_nonsense(nonsense: bytes) -> None:
    assert await _names(line("MODIFIED", "one") + nonsense) == ["one"]


@virtual
async def test_a_watch_that_falls_silent_ends() -> None:
    began = asyncio.get_running_loop().time()
    assert await _names(line("MODIFIED", "one"), holds=True) == ["one"]
    assert SILENCE <= asyncio.get_running_loop().time() - began <= SILENCE + 1


@virtual
async def test_a_line_as_long_as_an_object_can_be_is_read() -> None:
    name = "n" * (3 * 2**19)
    assert await _names(line("MODIFIED", name)) == [name]


@virtual
async def test_a_watch_asks_for_one_object_bookmarks_and_an_end() -> None:
    async with (
        raw_cluster(answer(b"")) as (cluster, raw),
        cluster.watch(NAMESPACE, "api", "41") as events,
    ):
        assert [event async for event in events] == []
    asked = raw.heads[0].split()[1]
    assert asked == (
        "/apis/apps/v1/namespaces/shop/deployments?watch=true&fieldSelector=metadata.name%3Dapi"
        f"&resourceVersion=41&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}"
    )
