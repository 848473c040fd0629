"""Watching one Deployment."""

import pytest

from receiver.errors import Forbidden
from tests.kube.http import Obj
from tests.kube.wishes import annotate, deployed
from tests.kube.world import World, contract


def _note(obj: Obj | None) -> str | None:
    assert obj is not None
    note: str | None = (obj["metadata"].get("annotations") or {}).get("note")
    return note


@contract
async def test_a_watch_sees_each_change_from_its_version_on(world: World) -> None:
    obj = await deployed(world, replicas=0)
    cluster, where = world.cluster, (world.namespace, "api")
    # Changed between the read and the watch: no gap.
    first = await cluster.patch(*where, annotate(obj, "note", "1"))
    async with cluster.watch(*where, obj["metadata"]["resourceVersion"]) as events:
        seen = await anext(events)
        while _note(seen) is None:  # the controller writes the status in between
            seen = await anext(events)
        assert _note(seen) == "1"
        assert seen is not None
        assert seen["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        await cluster.patch(*where, annotate(first, "note", "2"))
        while _note(seen) == "1":
            seen = await anext(events)
        assert _note(seen) == "2"


@contract
async def test_a_watch_ends_a_life_with_none(world: World) -> None:
    obj = await deployed(world, replicas=0)
    version = obj["metadata"]["resourceVersion"]
    async with world.cluster.watch(world.namespace, "api", version) as events:
        await world.delete("Deployment", world.namespace, "api")
        seen: Obj | None = obj
        while seen is not None:
            seen = await anext(events)
        # A namesake made afterwards is somebody else, and shown as such.
        await world.deploy("api", "app:2", replicas=0)
        seen = await anext(events)
        assert seen is not None
        assert seen["metadata"]["uid"] != obj["metadata"]["uid"]


@contract
async def test_a_watch_is_about_one_deployment_alone(world: World) -> None:
    other = await deployed(world, "other", replicas=0)
    obj = await deployed(world, replicas=0)
    version = obj["metadata"]["resourceVersion"]
    async with world.cluster.watch(world.namespace, "api", version) as events:
        await world.cluster.patch(world.namespace, "other", annotate(other, "note", "x"))
        await world.cluster.patch(world.namespace, "api", annotate(obj, "note", "y"))
        seen = await anext(events)
        while _note(seen) is None:
            seen = await anext(events)
        assert seen is not None
        assert (seen["metadata"]["name"], _note(seen)) == ("api", "y")


@contract
async def test_a_watch_left_early_leaves_the_adapter_usable(world: World) -> None:
    obj = await deployed(world, replicas=0)
    for _ in range(20):
        async with world.cluster.watch(
            world.namespace, "api", obj["metadata"]["resourceVersion"]
        ) as events:
            del events
    await world.cluster.ping()
    assert [call.code for call in world.calls if call.verb == "watch"] == [200] * 20


@contract
async def test_a_watch_without_the_right_is_forbidden_and_named(world: World) -> None:
    await deployed(world, replicas=0)
    async with world.lacking(("watch", "deployments")) as cluster:
        with pytest.raises(Forbidden) as caught:
            async with cluster.watch(world.namespace, "api", "1"):
                pass
    assert "watch" in str(caught.value)
    assert "deployments" in str(caught.value)
