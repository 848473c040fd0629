"""What a kube-apiserver answers to writes: what patch, journal and fence rest on."""

import asyncio
from typing import Any

import pytest

from tests.kube.http import Http, Obj, add, expect, image_of, replace, set_image
from tests.kube.wishes import deployed
from tests.kube.world import World, contract

NOTE = "/metadata/annotations/note"
MERGED = "the server rejected our request due to an error in our request"


def _api(world: World) -> str:
    return world.path("Deployment", world.namespace, "api")


def _causes(body: Obj) -> list[Obj]:
    causes: list[Obj] = (body.get("details") or {}).get("causes") or []
    return causes


@contract
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(add("/metadata/annotations/new", "1"), id="annotation"),
        pytest.param(set_image("app:2"), id="template"),
        pytest.param(add("/spec/paused", True), id="pause"),
        pytest.param(replace("/spec/replicas", 7), id="scale"),
    ],
)
async def test_generation_moves_on_with_spec_and_annotations(world: World, operation: Any) -> None:
    obj = await deployed(world, annotations={"note": "old"})
    before = obj["metadata"]["generation"]
    tried = await world.http.patch(_api(world), operation, dryRun="All")
    assert (tried.status, tried.body["metadata"]["generation"]) == (200, before + 1)
    done = await world.http.patch(_api(world), operation)
    assert (done.status, done.body["metadata"]["generation"]) == (200, before + 1)


@contract
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(add("/metadata/labels/new", "1"), id="label"),
        pytest.param(add("/metadata/finalizers", ["example.com/hold"]), id="finalizers"),
        pytest.param(replace(NOTE, "old"), id="annotation_to_its_own_value"),
        pytest.param(add("/spec/paused", False), id="zero_value_of_an_absent_field"),
        pytest.param(add("/spec/template/spec/nodeSelector", {}), id="empty_map"),
        pytest.param(replace("/metadata/generation", 77), id="generation"),
        pytest.param(add("/status/replicas", 77), id="status"),
    ],
)
async def test_generation_stands_still_with_all_else(world: World, operation: Any) -> None:
    obj = await deployed(world, annotations={"note": "old"})
    answer = await world.http.patch(_api(world), operation)
    assert answer.status == 200
    assert answer.body["metadata"]["generation"] == obj["metadata"]["generation"]
    await world.http.merge(_api(world), {"metadata": {"finalizers": None}})


@contract
async def test_the_status_is_written_beside_the_spec_and_counts_for_nothing(world: World) -> None:
    obj = await deployed(world)
    path = world.path("Deployment", world.namespace, "api", "status")
    answer = await world.http.merge(
        path, {"spec": {"replicas": 9}, "status": {"collisionCount": 3}}
    )
    assert answer.status == 200
    assert answer.body["status"]["collisionCount"] == 3
    assert answer.body["spec"] == obj["spec"]
    assert answer.body["metadata"]["generation"] == obj["metadata"]["generation"]


@contract
@pytest.mark.parametrize(
    "test",
    [
        pytest.param(lambda g: expect("/metadata/generation", g + 1), id="another_value"),
        pytest.param(lambda g: expect("/metadata/generation", float(g)), id="a_float"),
        pytest.param(lambda _: expect("/metadata/nowhere", "x"), id="a_missing_path"),
    ],
)
async def test_a_failed_test_is_422_without_causes(world: World, test: Any) -> None:
    obj = await deployed(world)
    answer = await world.http.patch(
        _api(world), test(obj["metadata"]["generation"]), add(NOTE, "x")
    )
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"] == MERGED
    assert _causes(answer.body) == []


@contract
@pytest.mark.parametrize(
    ("operation", "field"),
    [
        pytest.param(replace("/spec/replicas", -1), "spec.replicas", id="validation"),
        pytest.param(
            replace("/spec/selector", {"matchLabels": {"app": "x"}}),
            "spec.selector",
            id="immutable",
        ),
        pytest.param(
            add("/metadata/annotations", {"big": "x" * 262144}), "metadata.annotations", id="size"
        ),
    ],
)
async def test_a_refused_change_is_422_with_causes(
    world: World, operation: Any, field: str
) -> None:
    await deployed(world)
    answer = await world.http.patch(_api(world), operation)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert field in {cause["field"] for cause in _causes(answer.body)}


@contract
async def test_a_refusal_of_an_unknown_field_holds_the_whole_object(world: World) -> None:
    await deployed(world, annotations={"long": "kept-" * 2000})
    answer = await world.http.patch(
        _api(world), add("/spec/tempalte", {}), fieldValidation="Strict"
    )
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    (cause,) = _causes(answer.body)
    for text in (answer.body["message"], cause["message"]):
        assert len(text) > 10_000
        assert "kept-kept-" in text


@contract
async def test_a_stale_version_is_409_in_a_patch_and_in_a_put(world: World) -> None:
    obj = await deployed(world)
    await world.merge("Deployment", world.namespace, "api", {"metadata": {"labels": {"a": "b"}}})
    stale = obj["metadata"]["resourceVersion"]
    answer = await world.http.patch(_api(world), replace("/metadata/resourceVersion", stale))
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    path = world.path("ConfigMap", world.state_namespace)
    made = await world.http.post(path, {"metadata": {"name": "state"}, "data": {"k": "1"}})
    first = await world.http.put(f"{path}/state", made.body | {"data": {"k": "2"}})
    second = await world.http.put(f"{path}/state", made.body | {"data": {"k": "3"}})
    assert (first.status, second.status, second.body["reason"]) == (200, 409, "Conflict")


@contract
async def test_a_patch_of_another_shape_is_400_and_of_nothing_404(world: World) -> None:
    await deployed(world)
    bent = await world.http.send(
        "PATCH", _api(world), {"op": "test"}, kind="application/json-patch+json"
    )
    assert bent.status == 400
    absent = world.path("Deployment", world.namespace, "absent")
    assert (await world.http.patch(absent, add(NOTE, "x"))).status == 404


async def _race(http: Http, path: str, generation: int) -> list[int]:
    async def one(number: int) -> int:
        operations = expect("/metadata/generation", generation), add(NOTE, str(number))
        return (await http.patch(path, *operations)).status

    return sorted(await asyncio.gather(*(one(number) for number in range(50))))


@contract
async def test_of_fifty_racing_patches_of_one_generation_exactly_one_is_200(world: World) -> None:
    obj = await deployed(world, replicas=0, annotations={"note": ""})
    generation = obj["metadata"]["generation"]
    assert await _race(world.http, _api(world), generation) == [200] + 49 * [422]


@contract
async def test_a_change_that_came_between_is_not_overwritten(world: World) -> None:
    obj = await deployed(world)
    scaled = world.path("Deployment", world.namespace, "api", "scale")
    assert (await world.http.merge(scaled, {"spec": {"replicas": 5}})).status == 200
    operations = expect("/metadata/generation", obj["metadata"]["generation"]), set_image("app:0")
    assert (await world.http.patch(_api(world), *operations)).status == 422
    now = await world.deployment()
    assert (now["spec"]["replicas"], image_of(now)) == (5, "app:1")
    operations = expect("/metadata/generation", now["metadata"]["generation"]), set_image("app:0")
    assert (await world.http.patch(_api(world), *operations)).status == 200
    assert (await world.deployment())["spec"]["replicas"] == 5


@contract
async def test_an_event_of_a_fixed_name_is_taken_once(world: World) -> None:
    obj = await deployed(world, replicas=0)
    event = {
        "metadata": {"name": "api.0123456789abcdef"},
        "eventTime": "2026-11-23T01:00:00.000000Z",
        "reportingController": "tests",
        "reportingInstance": "tests",
        "action": "Rollback",
        "reason": "RolledBack",
        "type": "Normal",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "api",
            "namespace": world.namespace,
            "uid": obj["metadata"]["uid"],
        },
    }
    path = world.path("Event", world.namespace)
    assert (await world.http.post(path, event)).status == 201
    again = await world.http.post(path, event)
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
