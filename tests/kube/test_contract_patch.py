"""One JSON Patch to a Deployment: what the API server says, and what it means to the controller."""

import asyncio
from typing import Any, cast

import pytest

from receiver.errors import Conflict, Denied, Forbidden, Rejected
from tests.kube.http import Obj
from tests.kube.wishes import annotate, deployed, replace
from tests.kube.world import World, contract

SHORT = 300


async def _patch(world: World, operations: list[Obj], *, dry_run: bool = False) -> Obj:
    return await world.cluster.patch(world.namespace, "api", operations, dry_run=dry_run)


def _of_people(obj: Obj) -> tuple[Any, ...]:
    """Return what people write; the controller writes the status whenever it likes."""
    annotations = obj["metadata"].get("annotations") or {}
    return obj["metadata"]["generation"], obj["spec"], annotations.get("note")


async def _written(world: World) -> tuple[Any, ...]:
    return _of_people(await world.deployment())


@contract
async def test_a_patch_answers_with_what_the_deployment_became(world: World) -> None:
    obj = await deployed(world)
    answer = await _patch(world, annotate(obj, "note", "hello"))
    assert answer["metadata"]["generation"] == obj["metadata"]["generation"] + 1
    assert answer["metadata"]["annotations"]["note"] == "hello"
    stored = await world.cluster.deployment(world.namespace, "api")
    assert stored is not None
    assert stored["metadata"]["annotations"]["note"] == "hello"


@contract
async def test_a_template_swap_and_a_record_are_one_write(world: World) -> None:
    obj = await deployed(world)
    template = obj["spec"]["template"]
    template["spec"]["containers"][0]["image"] = "app:2"
    operations = [*annotate(obj, "record", "r"), *replace("/spec/template", template)]
    answer = await _patch(world, operations)
    assert answer["metadata"]["generation"] == obj["metadata"]["generation"] + 1
    assert answer["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"


@contract
async def test_a_failed_test_of_the_generation_is_a_conflict(world: World) -> None:
    obj = await deployed(world)
    await _patch(world, annotate(obj, "first", "1"))
    with pytest.raises(Conflict):
        await _patch(world, annotate(obj, "second", "2"))


@contract
async def test_a_test_of_the_uid_of_another_object_is_a_conflict(world: World) -> None:
    await deployed(world)
    operations = [{"op": "test", "path": "/metadata/uid", "value": "another"}]
    with pytest.raises(Conflict):
        await _patch(world, operations)


@contract
async def test_a_test_of_a_path_that_is_not_there_is_a_conflict(world: World) -> None:
    await deployed(world)
    operations = [{"op": "test", "path": "/metadata/nowhere/at/all", "value": 1}]
    with pytest.raises(Conflict):
        await _patch(world, operations)


@contract
async def test_a_generation_tested_as_a_float_is_a_conflict(world: World) -> None:
    obj = await deployed(world)
    generation = float(obj["metadata"]["generation"])
    with pytest.raises(Conflict):
        await _patch(world, annotate(obj, "note", "hello", generation=generation))


@contract
async def test_a_stale_resource_version_in_a_patch_is_a_conflict(world: World) -> None:
    obj = await deployed(world)
    await _patch(world, annotate(obj, "first", "1"))
    with pytest.raises(Conflict):
        await _patch(
            world, replace("/metadata/resourceVersion", obj["metadata"]["resourceVersion"])
        )


@contract
async def test_of_fifty_racing_patches_exactly_one_wins(world: World) -> None:
    obj = await deployed(world)
    racers = [_patch(world, annotate(obj, "winner", str(number))) for number in range(50)]
    ends = await asyncio.gather(*racers, return_exceptions=True)
    won = [end for end in ends if isinstance(end, dict)]
    assert len(won) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 49
    stored = await world.cluster.deployment(world.namespace, "api")
    assert stored is not None
    assert stored["metadata"]["generation"] == obj["metadata"]["generation"] + 1
    assert (
        stored["metadata"]["annotations"]["winner"] == (won[0]["metadata"]["annotations"]["winner"])
    )


@contract
@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        pytest.param("/spec/replicas", -1, "spec.replicas", id="negative_replicas"),
        pytest.param(
            "/spec/selector", {"matchLabels": {"app": "other"}}, "spec.selector", id="immutable"
        ),
        pytest.param(
            "/spec/template/spec/containers", [], "spec.template.spec.containers", id="no_container"
        ),
        pytest.param(
            "/metadata/annotations",
            {"big": "x" * 300_000},
            "metadata.annotations",
            id="annotations_over_256_KiB",
        ),
    ],
)
async def test_what_validation_refuses_is_denied_and_names_the_field(
    world: World, path: str, value: Any, field: str
) -> None:
    await deployed(world)
    with pytest.raises(Denied) as caught:
        await _patch(world, replace(path, value))
    assert field in str(caught.value)
    assert "422 Invalid" in str(caught.value)
    assert len(str(caught.value)) <= SHORT


@contract
async def test_an_unknown_field_is_denied_and_the_object_is_not_relayed(world: World) -> None:
    secret = "do-not-relay-" * 700
    await deployed(world, annotations={"huge": secret})
    operations = [{"op": "add", "path": "/spec/tempalte", "value": {}}]
    with pytest.raises(Denied) as caught:
        await _patch(world, operations)
    assert len(str(caught.value)) <= SHORT
    assert "do-not-relay" not in str(caught.value)


@contract
async def test_a_patch_that_is_no_list_is_denied(world: World) -> None:
    await deployed(world)
    with pytest.raises(Denied) as caught:
        await _patch(world, cast("list[Obj]", {"op": "test"}))
    assert "400" in str(caught.value)


@contract
async def test_a_patch_of_a_deployment_that_is_not_there_is_rejected(world: World) -> None:
    with pytest.raises(Rejected) as caught:
        await _patch(world, replace("/spec/replicas", 1))
    assert (caught.value.status, caught.value.reason) == (404, "target_not_found")


@contract
async def test_a_dry_run_judges_the_patch_and_writes_nothing(world: World) -> None:
    obj = await deployed(world)
    answer = await _patch(world, annotate(obj, "note", "hello"), dry_run=True)
    assert answer["metadata"]["generation"] == obj["metadata"]["generation"] + 1
    assert await _written(world) == _of_people(obj)
    with pytest.raises(Denied):
        await _patch(world, replace("/spec/replicas", -1), dry_run=True)
    with pytest.raises(Conflict):
        await _patch(world, annotate(obj, "note", "x", generation=99), dry_run=True)


@contract
async def test_a_missing_right_is_forbidden_and_named(world: World) -> None:
    obj = await deployed(world)
    async with world.lacking(("patch", "deployments")) as cluster:
        with pytest.raises(Forbidden) as caught:
            await cluster.patch(world.namespace, "api", annotate(obj, "note", "hello"))
        assert await _written(world) == _of_people(obj)
    assert "patch" in str(caught.value)
    assert "deployments" in str(caught.value)
    assert "403 Forbidden" in str(caught.value)
