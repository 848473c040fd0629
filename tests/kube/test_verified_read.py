"""The verified read: fast where the list is fresh, consistent where it is not."""

import pytest

from receiver.controller.ports import Observation
from receiver.kube import cluster as kube_cluster
from tests.kube.sandbox_world import NAMESPACE, SandboxWorld, on_sandbox
from tests.kube.wishes import deployed


def _lists(world: SandboxWorld) -> list[str]:
    """Return how each list of ReplicaSets was asked for: "quick" or "consistent"."""
    return [
        "quick" if request.query.get("resourceVersion") == "0" else "consistent"
        for request in world.sandbox.requests
        if request.path.endswith("/replicasets")
    ]


def _images(seen: Observation | None) -> list[str]:
    assert seen is not None
    return sorted(
        obj["spec"]["template"]["spec"]["containers"][0]["image"] for obj in seen.replicasets
    )


async def _look(world: SandboxWorld) -> Observation:
    world.sandbox.clear_log()
    seen = await world.cluster.observe(NAMESPACE, "api")
    assert seen is not None
    return seen


@on_sandbox
async def test_a_fresh_list_is_trusted(world: SandboxWorld) -> None:
    await deployed(world, image="app:1")
    await deployed(world, image="app:2")
    for _ in range(2):
        assert _images(await _look(world)) == ["app:1", "app:2"]
        assert _lists(world) == ["quick"]


@on_sandbox
async def test_a_list_without_the_current_revision_is_not_trusted(world: SandboxWorld) -> None:
    await deployed(world, image="app:1")
    await _look(world)
    with world.sandbox.frozen_lists():
        await deployed(world, image="app:2")
        assert _images(await _look(world)) == ["app:1", "app:2"]
        assert _lists(world) == ["quick", "consistent"]
    await _look(world)
    assert _lists(world) == ["quick"]


@on_sandbox
async def test_a_first_look_at_a_stale_list_is_not_trusted_either(world: SandboxWorld) -> None:
    with world.sandbox.frozen_lists():
        await deployed(world, image="app:1")
        assert _images(await _look(world)) == ["app:1"]
        assert _lists(world) == ["quick", "consistent"]


@on_sandbox
async def test_a_list_from_before_an_undo_is_not_trusted(world: SandboxWorld) -> None:
    # The template is in the old list, but under the number it had before.
    await deployed(world, image="app:1")
    await deployed(world, image="app:2")
    await _look(world)
    with world.sandbox.frozen_lists():
        world.sandbox.rollout_undo(NAMESPACE, "api")
        await world.rolled_out("api")
        seen = await _look(world)
        assert _lists(world) == ["quick", "consistent"]
    revisions = {
        obj["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        for obj in seen.replicasets
    }
    assert revisions == {"2", "3"}


@on_sandbox
async def test_no_list_is_trusted_while_the_controller_is_behind(world: SandboxWorld) -> None:
    await deployed(world, image="app:1")
    world.sandbox.controller_running = False
    await world.deploy("api", "app:2")
    # The number on the Deployment is still that of the old ReplicaSet; the template is not.
    assert _images(await _look(world)) == ["app:1"]
    assert _lists(world) == ["quick", "consistent"]


@on_sandbox
async def test_the_deployment_of_a_look_is_never_stale(world: SandboxWorld) -> None:
    await deployed(world, image="app:1")
    await _look(world)
    with world.sandbox.frozen_lists():
        obj = await deployed(world, image="app:2")
        assert (await _look(world)).deployment == obj


@on_sandbox
async def test_a_consistent_list_has_no_version_and_comes_in_pages(world: SandboxWorld) -> None:
    with world.sandbox.frozen_lists():
        await deployed(world)
        await _look(world)
    quick, consistent = [r for r in world.sandbox.requests if r.path.endswith("/replicasets")]
    assert quick.query["resourceVersion"] == "0"
    assert "limit" not in quick.query
    assert "resourceVersion" not in consistent.query
    assert consistent.query["limit"] == "500"


@on_sandbox
async def test_a_list_is_read_to_its_last_page(world: SandboxWorld) -> None:
    for number in range(1001):
        name = {"name": f"journal-{number:04}", "labels": {"kind": "journal"}}
        await world.create("ConfigMap", world.state_namespace, {"metadata": name, "data": {}})
    world.sandbox.clear_log()
    found = await world.cluster.list_states(labels="kind=journal")
    assert [state.name for state in found] == [f"journal-{number:04}" for number in range(1001)]
    assert len(world.sandbox.requests) == 3


@on_sandbox
async def test_remembered_selectors_are_bounded(
    world: SandboxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_cluster, "SELECTORS_KEPT", 2)
    for name in ("one", "two", "three"):
        await deployed(world, name, replicas=0)
        await world.cluster.observe(NAMESPACE, name)
    assert [name for _, name in world.cluster._selectors] == ["two", "three"]
    await world.cluster.observe(NAMESPACE, "two")
    await world.cluster.observe(NAMESPACE, "one")
    assert [name for _, name in world.cluster._selectors] == ["two", "one"]
