"""Reading: single objects, lists, and a Deployment with its ReplicaSets."""

import asyncio
from typing import Any

import pytest

from receiver.controller.ports import Cluster, Observation
from receiver.errors import Forbidden
from tests.kube.http import Obj, image_of
from tests.kube.wishes import deployed
from tests.kube.world import REVISION, World, contract


async def _observe(world: World, name: str = "api") -> Observation:
    seen = await world.cluster.observe(world.namespace, name)
    assert seen is not None
    return seen


def _names(seen: Observation) -> set[str]:
    return {obj["metadata"]["name"] for obj in seen.replicasets}


def _asked(world: World) -> list[tuple[str, str]]:
    return sorted((call.verb, call.resource) for call in world.calls)


def _namesake(labels: Obj, **meta: Any) -> Obj:
    """Return a ReplicaSet with the labels of a Deployment that does not control it."""
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app:9"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "stranger", "labels": labels} | meta,
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


@contract
async def test_the_adapter_is_what_the_controller_asks_for(world: World) -> None:
    cluster: Cluster = world.cluster
    await cluster.ping()
    assert _asked(world) == [("get", "version")]
    assert world.calls[0].code == 200


@contract
async def test_an_object_is_read_as_the_api_stores_it(world: World) -> None:
    obj = await deployed(world)
    assert obj["kind"] == "Deployment"
    assert obj["spec"]["template"]["spec"]["containers"][0]["image"] == "app:1"
    (replicaset,) = (await _observe(world)).replicasets
    name = replicaset["metadata"]["name"]
    found = await world.cluster.replicaset(world.namespace, name)
    assert found is not None
    assert found["metadata"]["uid"] == replicaset["metadata"]["uid"]


@contract
async def test_a_pod_is_read_by_name(world: World) -> None:
    await deployed(world, replicas=1)
    await world.complete()
    (pod,) = await world.list("Pod", world.namespace)
    found = await world.cluster.pod(world.namespace, pod["metadata"]["name"])
    assert found is not None
    assert found["metadata"]["uid"] == pod["metadata"]["uid"]


@contract
async def test_what_is_not_there_is_none(world: World) -> None:
    assert await world.cluster.deployment(world.namespace, "absent") is None
    assert await world.cluster.replicaset(world.namespace, "absent") is None
    assert await world.cluster.pod(world.namespace, "absent") is None
    assert await world.cluster.observe(world.namespace, "absent") is None
    assert await world.cluster.read_state("absent") is None


@contract
async def test_deployments_are_listed_by_label(world: World) -> None:
    await world.deploy("one", "app:1", labels={"team": "a"})
    await world.deploy("two", "app:1", labels={"team": "b"})
    found = await world.cluster.deployments(world.namespace, labels="team=a")
    assert [obj["metadata"]["name"] for obj in found] == ["one"]
    both = await world.cluster.deployments(world.namespace, labels="team")
    assert [obj["metadata"]["name"] for obj in both] == ["one", "two"]


@contract
async def test_the_history_of_a_deployment_is_seen(world: World) -> None:
    for image in ("app:1", "app:2", "app:3"):
        await deployed(world, image=image)
    seen = await _observe(world)
    images = {obj["spec"]["template"]["spec"]["containers"][0]["image"] for obj in seen.replicasets}
    assert images == {"app:1", "app:2", "app:3"}


@contract
async def test_only_replicasets_that_the_deployment_controls_are_its_own(world: World) -> None:
    obj = await deployed(world)
    labels = obj["spec"]["selector"]["matchLabels"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "api",
        "uid": "11111111-2222-3333-4444-555555555555",
        "controller": True,
    }
    # Controlled by a namesake of another uid, as one deleted and made anew leaves them.
    await world.create("ReplicaSet", world.namespace, _namesake(labels, ownerReferences=[owner]))
    seen = await _observe(world)
    assert "stranger" not in _names(seen)
    assert len(seen.replicasets) == 1


@contract
async def test_the_first_look_asks_one_after_the_other_and_the_next_at_once(world: World) -> None:
    await deployed(world)
    for _ in range(2):
        world.calls.clear()
        await _observe(world)
        assert _asked(world) == [("get", "deployments.apps"), ("list", "replicasets.apps")]


@contract
async def test_a_selector_of_expressions_finds_the_replicasets(world: World) -> None:
    selector = {
        "matchLabels": {"app": "api"},
        "matchExpressions": [
            {"key": "app", "operator": "In", "values": ["api", "other"]},
            {"key": "app", "operator": "NotIn", "values": ["web"]},
            {"key": "app", "operator": "Exists"},
            {"key": "nothing", "operator": "DoesNotExist"},
        ],
    }
    await deployed(world, selector=selector)
    for _ in range(2):
        assert len((await _observe(world)).replicasets) == 1


@contract
async def test_a_deployment_made_anew_with_another_selector_is_listed_by_that(world: World) -> None:
    await deployed(world)
    await _observe(world)
    await world.delete("Deployment", world.namespace, "api")
    labels = {"app": "api", "generation": "second"}
    await deployed(
        world,
        selector={"matchLabels": {"generation": "second"}},
        template={
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "app:2"}]},
        },
    )
    world.calls.clear()
    seen = await _observe(world)
    assert len(seen.replicasets) == 1
    # The list by the old selector was in vain.
    assert _asked(world).count(("list", "replicasets.apps")) == 2


@contract
async def test_a_deployment_that_was_deleted_is_none_at_the_next_look(world: World) -> None:
    await deployed(world)
    await _observe(world)
    await world.delete("Deployment", world.namespace, "api")
    assert await world.cluster.observe(world.namespace, "api") is None


@contract
@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        pytest.param("get", "deployments", id="get_deployments"),
        pytest.param("list", "replicasets", id="list_replicasets"),
    ],
)
async def test_a_look_without_a_right_is_forbidden_and_names_it(
    world: World, verb: str, resource: str
) -> None:
    await deployed(world)
    async with world.lacking((verb, resource)) as cluster:
        with pytest.raises(Forbidden) as caught:
            await cluster.observe(world.namespace, "api")
    assert verb in str(caught.value)
    assert resource in str(caught.value)


@contract
async def test_while_others_write_a_look_is_never_older_than_the_deployment(world: World) -> None:
    """The watch cache is behind then; a revision taken from it would be the wrong one."""
    await world.create("ConfigMap", world.state_namespace, {"metadata": {"name": "busy"}})

    async def others() -> None:
        for number in range(10_000):
            data = {"data": {"n": str(number)}}
            await world.merge("ConfigMap", world.state_namespace, "busy", data)
            await world.clock.sleep(0.005)

    busy = asyncio.create_task(others())
    try:
        await deployed(world, image="app:0", replicas=0)
        for number in range(1, 16):
            # There and back, so that a ReplicaSet is renumbered every other time.
            image = f"app:{number % 3}"
            await world.deploy("api", image)
            await world.rolled_out("api")
            seen = await _observe(world)
            current = seen.deployment["metadata"]["annotations"][REVISION]
            (found,) = [
                obj
                for obj in seen.replicasets
                if obj["metadata"]["annotations"][REVISION] == current
            ]
            assert (image_of(seen.deployment), image_of(found)) == (image, image)
            assert int(current) == number + 1
            assert len(seen.replicasets) == min(number + 1, 3)
    finally:
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
