"""Events that the strict API takes, and the question what we may do."""

from dataclasses import replace

import pytest

from receiver.controller.ports import Happening
from receiver.errors import Forbidden
from tests.kube.http import Obj
from tests.kube.wishes import deployed
from tests.kube.world import World, contract

ALL_IN_TARGETS = (
    "get deployments.apps",
    "list deployments.apps",
    "watch deployments.apps",
    "patch deployments.apps",
    "get replicasets.apps",
    "list replicasets.apps",
    "get pods",
    "create events.events.k8s.io",
)


async def _happening(world: World) -> Happening:
    obj = await deployed(world, replicas=0)
    return Happening(
        namespace=world.namespace,
        deployment="api",
        uid=obj["metadata"]["uid"],
        id="9f3c",
        action="Rollback",
        reason="RolledBack",
        note="app:2 -> app:1",
    )


async def _told(world: World) -> list[Obj]:
    """Return our Events; the controllers of a real cluster write their own."""
    events = await world.list("Event", world.namespace)
    return [event for event in events if event.get("reportingController") == "rollback-receiver"]


@contract
async def test_an_event_is_about_the_deployment_and_carries_the_note(world: World) -> None:
    happening = await _happening(world)
    await world.cluster.emit(happening)
    (event,) = await _told(world)
    assert event["note"] == "app:2 -> app:1"
    assert event["type"] == "Normal"
    assert event["action"] == "Rollback"
    assert event["reason"] == "RolledBack"
    assert event["regarding"]["kind"] == "Deployment"
    assert event["regarding"]["uid"] == happening.uid
    assert event["metadata"]["name"].startswith("api.")


@contract
async def test_the_same_event_twice_is_one_and_no_error(world: World) -> None:
    happening = await _happening(world)
    await world.cluster.emit(happening)
    await world.cluster.emit(replace(happening, note="told again in other words"))
    (event,) = await _told(world)
    assert event["note"] == "app:2 -> app:1"


@contract
async def test_another_action_id_or_uid_is_another_event(world: World) -> None:
    happening = await _happening(world)
    for other in (
        happening,
        replace(happening, action="Verify"),
        replace(happening, id="1111"),
        replace(happening, uid="another", warning=True),
    ):
        await world.cluster.emit(other)
    events = await _told(world)
    assert len({event["metadata"]["name"] for event in events}) == 4
    assert sorted(event["type"] for event in events) == ["Normal", "Normal", "Normal", "Warning"]


@contract
async def test_an_event_of_longest_names_and_notes_is_taken(world: World) -> None:
    happening = replace(
        await _happening(world),
        deployment="a" * 199 + "." + "b" * 53,
        id="any/thing \N{SNOWMAN}",
        action="A" * 500,
        reason="R" * 500,
        note="\N{SNOWMAN}" * 3000,
    )
    await world.cluster.emit(happening)
    (event,) = await _told(world)
    assert len(event["note"].encode()) <= 1024
    assert set(event["note"]) == {"\N{SNOWMAN}"}
    assert len(event["metadata"]["name"]) <= 253


@contract
async def test_an_event_without_the_right_is_forbidden_and_named(world: World) -> None:
    happening = await _happening(world)
    async with world.lacking(("create", "events")) as cluster:
        with pytest.raises(Forbidden, match=r"create.*events"):
            await cluster.emit(happening)


@contract
async def test_who_may_everything_lacks_nothing(world: World) -> None:
    assert await world.cluster.rights((world.namespace,)) == {}


@contract
async def test_each_right_that_is_lacking_is_reported_in_its_namespace(world: World) -> None:
    gone = (("patch", "deployments"), ("create", "events"), ("update", "configmaps"))
    async with world.lacking(*gone) as cluster:
        denied = await cluster.rights((world.namespace,))
    assert denied == {
        world.namespace: ("patch deployments.apps", "create events.events.k8s.io"),
        world.state_namespace: ("update configmaps",),
    }


@contract
async def test_without_namespaces_the_whole_cluster_is_asked_about(world: World) -> None:
    async with world.lacking(("watch", "deployments")) as cluster:
        denied = await cluster.rights(())
    assert denied == {"": ("watch deployments.apps",)}


@contract
async def test_every_right_is_asked_for(world: World) -> None:
    everything = [
        (verb, plural)
        for verb in ("get", "list", "watch", "create", "update", "patch")
        for plural in ("deployments", "replicasets", "pods", "events", "configmaps")
    ]
    async with world.lacking(*everything) as cluster:
        denied = await cluster.rights((world.namespace,))
    assert denied[world.namespace] == ALL_IN_TARGETS
    assert denied[world.state_namespace] == tuple(
        f"{verb} configmaps" for verb in ("get", "list", "create", "update", "patch")
    )
