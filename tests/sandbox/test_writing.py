"""Writes over HTTP: generation, preconditions, dry runs."""

import asyncio
from typing import Any

import pytest

from receiver.sandbox import ApiError
from receiver.sandbox.status import REJECTED
from tests.kube.http import STRATEGIC, add, expect, image_of, replace, set_image
from tests.sandbox.api import (
    API,
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACE,
    ROUTES,
    Api,
    configmap,
    on_sandbox,
)

NOTE = "/metadata/annotations/note"


@on_sandbox
async def test_what_the_server_gives_to_a_new_object(api: Api) -> None:
    made = await api.post(CONFIGMAPS, configmap("one", k="v") | {"nonsense": 1})
    assert made.status == 201
    meta = made.body["metadata"]
    assert meta.pop("uid").count("-") == 4
    assert int(meta.pop("resourceVersion")) > 1000
    assert meta == {
        "name": "one",
        "namespace": NAMESPACE,
        "creationTimestamp": "2026-11-23T01:00:00Z",
    }
    assert made.body["data"] == {"k": "v"}
    assert (made.body["kind"], made.body["apiVersion"]) == ("ConfigMap", "v1")
    assert "nonsense" not in made.body


@on_sandbox
async def test_a_deployment_is_completed_with_the_defaults(api: Api) -> None:
    template = {
        "metadata": {"labels": {"app": "x"}, "creationTimestamp": None},
        "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
    }
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    made = await api.post(DEPLOYMENTS, {"metadata": {"generateName": "x-"}, "spec": spec})
    assert made.status == 201
    assert made.body["metadata"]["generation"] == 1
    assert len(made.body["metadata"]["name"]) == len("x-") + 5
    assert made.body["spec"] == {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
        },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        },
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


@on_sandbox
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(add("/metadata/annotations/new", "1"), id="annotation"),
        pytest.param(set_image("app:v2"), id="template"),
        pytest.param(add("/spec/paused", True), id="pause"),
        pytest.param(replace("/spec/replicas", 7), id="scale"),
    ],
)
async def test_generation_moves_on_with_spec_and_annotations(api: Api, operation: Any) -> None:
    await api.deployed(annotations={"note": "old"})
    before = api.generation()
    answer = await api.patch(API, operation)
    assert (answer.status, answer.body["metadata"]["generation"]) == (200, before + 1)
    assert api.generation() == before + 1


@on_sandbox
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(add("/metadata/labels/new", "1"), id="label"),
        pytest.param(add("/metadata/finalizers", ["test/hold"]), id="finalizers"),
        pytest.param(replace(NOTE, "old"), id="annotation to its own value"),
        pytest.param(add("/spec/paused", False), id="zero value of a field that was not there"),
        pytest.param(add("/spec/template/spec/nodeSelector", {}), id="empty map"),
        pytest.param(add("/spec/template/metadata/creationTimestamp", None), id="null"),
        pytest.param(replace("/metadata/generation", 77), id="generation"),
        pytest.param(add("/status/replicas", 77), id="status"),
    ],
)
async def test_generation_stands_still_with_all_else(api: Api, operation: Any) -> None:
    await api.deployed(annotations={"note": "old"})
    before = api.generation()
    answer = await api.patch(API, operation)
    assert (answer.status, answer.body["metadata"]["generation"]) == (200, before)


@on_sandbox
async def test_a_write_that_changes_nothing_is_none(api: Api) -> None:
    obj = await api.deployed()
    api.sandbox.clear_log()
    answer = await api.patch(API, set_image("app:v1"))
    assert answer.status == 200
    assert answer.body["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]
    assert api.sandbox.writes == []


@on_sandbox
async def test_status_keeps_the_spec_and_lets_annotations_through_uncounted(api: Api) -> None:
    await api.deployed()
    before = api.generation()
    body = {
        "metadata": {"annotations": {"note": "through"}, "labels": {"new": "label"}},
        "spec": {"replicas": 9},
        "status": {"collisionCount": 3},
    }
    answer = await api.merge(f"{API}/status", body)
    assert answer.status == 200
    after = answer.body
    assert after["status"]["collisionCount"] == 3
    assert after["spec"]["replicas"] == 3
    assert after["metadata"]["annotations"]["note"] == "through"
    assert "new" not in after["metadata"]["labels"]
    assert after["metadata"]["generation"] == before


@on_sandbox
async def test_a_dry_run_answers_the_next_generation_and_writes_nothing(api: Api) -> None:
    obj = await api.deployed()
    before = api.generation()
    api.sandbox.clear_log()
    answer = await api.patch(API, set_image("app:v2"), dryRun="All")
    assert answer.body["metadata"]["generation"] == before + 1
    assert image_of(answer.body) == "app:v2"
    made = await api.post(CONFIGMAPS, configmap("one"), dryRun="All")
    assert made.status == 201
    gone = await api.send("DELETE", API, dryRun="All")
    assert gone.status == 200
    await api.sandbox.settled()
    assert api.api() == obj
    assert (await api.get(f"{CONFIGMAPS}/one")).status == 404
    assert api.sandbox.writes == []


@on_sandbox
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(expect("/metadata/generation", 99), id="other value"),
        pytest.param(expect("/metadata/generation", 1.0), id="a float"),
        pytest.param(expect("/metadata/annotations/absent", "x"), id="missing path"),
        pytest.param(expect("/metadata/uid", "another"), id="uid"),
        pytest.param(replace("/metadata/annotations/absent", "x"), id="replace of nothing"),
    ],
)
async def test_a_failed_test_is_422_without_causes(api: Api, operation: Any) -> None:
    await api.deployed()
    api.sandbox.clear_log()
    answer = await api.patch(API, operation, set_image("app:v2"))
    assert answer.status == 422
    assert (answer.body["reason"], answer.body["message"]) == ("Invalid", REJECTED)
    assert "causes" not in answer.body.get("details", {})
    assert api.sandbox.writes == []


@on_sandbox
async def test_a_stale_resource_version_is_409(api: Api) -> None:
    obj = await api.deployed()
    stale = str(int(obj["metadata"]["resourceVersion"]) - 1)
    for answer in (
        await api.patch(API, replace("/metadata/resourceVersion", stale), set_image("app:v2")),
        await api.merge(API, {"metadata": {"resourceVersion": stale}, "spec": {"replicas": 1}}),
        await api.put(API, obj | {"metadata": obj["metadata"] | {"resourceVersion": stale}}),
    ):
        assert (answer.status, answer.body["reason"]) == (409, "Conflict")
        assert answer.body["message"] == (
            'Operation cannot be fulfilled on deployments.apps "api": the object has been '
            "modified; please apply your changes to the latest version and try again"
        )
        assert answer.body["details"] == {"name": "api", "group": "apps", "kind": "deployments"}


@on_sandbox
async def test_a_put_of_a_stale_configmap_is_409_and_of_a_fresh_one_is_not(api: Api) -> None:
    first = (await api.post(CONFIGMAPS, configmap("one", k="1"))).body
    path = f"{CONFIGMAPS}/one"
    assert (await api.put(path, first | {"data": {"k": "2"}})).status == 200
    assert (await api.put(path, first | {"data": {"k": "3"}})).status == 409
    assert (await api.put(path, configmap("one", k="4"))).status == 200
    other = {"name": "one", "uid": "another"}
    answer = await api.put(path, {"metadata": other, "data": {}})
    assert (answer.status, "UID in precondition" in answer.body["message"]) == (409, True)


@on_sandbox
async def test_of_fifty_patches_that_test_one_generation_one_wins(api: Api) -> None:
    await api.deployed()
    generation = api.generation()
    answers = await asyncio.gather(
        *(
            api.patch(API, expect("/metadata/generation", generation), set_image(f"app:n{n}"))
            for n in range(50)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 49
    assert api.generation() == generation + 1


@on_sandbox
async def test_of_fifty_puts_of_one_resource_version_one_wins(api: Api) -> None:
    first = (await api.post(CONFIGMAPS, configmap("one"))).body
    answers = await asyncio.gather(
        *(api.put(f"{CONFIGMAPS}/one", first | {"data": {"n": str(n)}}) for n in range(50))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 49


@on_sandbox
async def test_a_competing_write_comes_between_read_and_patch(api: Api) -> None:
    await api.deployed()
    seen = []

    def compete(verb: str, path: str, before: Any) -> None:
        seen.append((verb, path, before["metadata"]["generation"]))
        api.sandbox.before_commit = None
        api.sandbox.scale(NAMESPACE, "api", 5)

    api.sandbox.before_commit = compete
    operations = expect("/metadata/generation", 1), set_image("app:v2")
    lost = await api.patch(API, *operations)
    assert (lost.status, api.generation()) == (422, 2)
    assert seen == [("patch", API, 1)]
    won = await api.patch(API, expect("/metadata/generation", 2), set_image("app:v2"))
    assert (won.status, won.body["spec"]["replicas"]) == (200, 5)


@on_sandbox
async def test_who_wrote_what_is_kept(api: Api) -> None:
    await api.deployed()
    api.sandbox.controller_running = False
    api.sandbox.clear_log()
    await api.patch(API, set_image("app:v2"), fieldManager="the-manager")
    await api.patch(API, add("/metadata/labels/x", "y"))
    api.sandbox.scale(NAMESPACE, "api", 2)
    first, second, third = api.sandbox.writes
    assert (first.by, second.by, third.by) == ("the-manager", "tests/1", "person")
    assert (first.verb, first.path, first.kind) == ("patch", API, "Deployment")
    assert (first.namespace, first.name, first.generation) == (NAMESPACE, "api", 2)
    assert (first.template_changed, second.template_changed) == (True, False)
    assert first.before is not None
    assert first.after is not None
    assert (image_of(first.before), image_of(first.after)) == ("app:v1", "app:v2")
    assert first.at == api.clock.now()


@on_sandbox
async def test_a_strategic_merge_of_one_container_leaves_the_others(api: Api) -> None:
    await api.deployed()
    containers = [{"name": "side", "image": "side:1"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    answer = await api.send("PATCH", API, patch, kind=STRATEGIC)
    found = answer.body["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in found] == ["app", "side"]


@on_sandbox
@pytest.mark.parametrize("kind", ["application/apply-patch+yaml", "text/plain", "application/json"])
async def test_other_kinds_of_patch_are_refused(api: Api, kind: str) -> None:
    await api.deployed()
    answer = await api.send("PATCH", API, {}, kind=kind)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


@on_sandbox
async def test_a_custom_resource_has_no_strategic_merge_and_no_blind_update(api: Api) -> None:
    route = {"metadata": {"name": "r"}, "spec": {"rules": [{"backendRefs": [{"name": "a"}]}]}}
    made = await api.post(ROUTES, route)
    assert (made.status, made.body["metadata"]["generation"]) == (201, 1)
    path = f"{ROUTES}/r"
    assert (await api.send("PATCH", path, {}, kind=STRATEGIC)).status == 415
    answer = await api.put(path, route)
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (
        422,
        "metadata.resourceVersion",
    )
    weights = replace("/spec/rules/0/backendRefs/0/weight", 3)
    answer = await api.patch(path, add(weights["path"], 3))
    assert answer.body["metadata"]["generation"] == 2
    heavy = await api.patch(path, add(weights["path"], 1_000_001))
    assert (heavy.status, bool(heavy.body["details"]["causes"])) == (422, True)
    text = await api.patch(path, add(weights["path"], "3"))
    assert (text.status, bool(text.body["details"]["causes"])) == (422, True)


@on_sandbox
async def test_scale_is_a_view_of_replicas(api: Api) -> None:
    await api.deployed()
    path = f"{API}/scale"
    seen = (await api.get(path)).body
    assert (seen["kind"], seen["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert seen["spec"] == {"replicas": 3}
    assert seen["status"] == {"replicas": 3, "selector": "app=api"}
    answer = await api.merge(path, {"spec": {"replicas": 5}})
    assert answer.body["spec"] == {"replicas": 5}
    assert (api.api()["spec"]["replicas"], api.generation()) == (5, 2)
    assert (await api.put(path, seen)).status == 409
    del seen["metadata"]["resourceVersion"]
    assert (await api.put(path, seen | {"spec": {}})).body["spec"] == {"replicas": 0}
    for wrong in (-1, "3", 2.5, None):
        answer = await api.patch(path, replace("/spec/replicas", wrong))
        assert answer.status == (200 if wrong is None else 422)
    assert (await api.merge(path, {"spec": "text"})).status == 400


@on_sandbox
async def test_deleting_says_what_was_deleted(api: Api) -> None:
    obj = await api.deployed()
    answer = await api.send("DELETE", API)
    assert answer.status == 200
    uid = obj["metadata"]["uid"]
    details = {"name": "api", "group": "apps", "kind": "deployments", "uid": uid}
    assert (answer.body["status"], answer.body["details"]) == ("Success", details)
    assert (await api.get(API)).body["message"] == 'deployments.apps "api" not found'
    await api.sandbox.settled()
    assert api.sandbox.list("ReplicaSet", NAMESPACE) == api.sandbox.list("Pod", NAMESPACE) == []
    assert (await api.send("DELETE", API)).status == 404


@on_sandbox
async def test_a_deletion_may_leave_orphans(api: Api) -> None:
    await api.deployed()
    await api.send("DELETE", API, {"propagationPolicy": "Orphan"})
    await api.sandbox.settled()
    (replicaset,) = api.sandbox.list("ReplicaSet", NAMESPACE)
    assert "ownerReferences" not in replicaset["metadata"]
    assert len(api.sandbox.list("Pod", NAMESPACE)) == 3


@on_sandbox
async def test_a_deletion_may_have_preconditions(api: Api) -> None:
    obj = await api.deployed()
    uid = obj["metadata"]["uid"]
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        answer = await api.send("DELETE", API, {"preconditions": wrong})
        assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert (await api.send("DELETE", API, {"preconditions": {"uid": uid}})).status == 200


@on_sandbox
async def test_finalizers_hold_an_object_that_is_being_deleted(api: Api) -> None:
    await api.deployed()
    await api.merge(API, {"metadata": {"finalizers": ["test/hold"]}})
    before = api.generation()
    answer = await api.send("DELETE", API)
    assert answer.body["metadata"]["deletionTimestamp"] == "2026-11-23T01:00:00Z"
    assert answer.body["metadata"]["generation"] == before + 1
    await api.sandbox.settled()
    assert api.api()["status"]["observedGeneration"] == before + 1
    answer = await api.merge(API, {"metadata": {"finalizers": None}})
    assert answer.status == 200
    assert api.sandbox.get("Deployment", NAMESPACE, "api") is None


@on_sandbox
async def test_a_deleted_namespace_takes_everything_with_it(api: Api) -> None:
    await api.deployed()
    await api.post(CONFIGMAPS, configmap("one"))
    answer = await api.send("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    assert answer.body["metadata"]["name"] == NAMESPACE
    await api.sandbox.settled()
    left = [api.sandbox.list(kind) for kind in ("Deployment", "ReplicaSet", "Pod", "ConfigMap")]
    assert left == [[], [], [], []]
    answer = await api.post(CONFIGMAPS, configmap("two"))
    assert (answer.status, answer.body["message"]) == (404, f'namespaces "{NAMESPACE}" not found')


@on_sandbox
async def test_a_recreated_namesake_has_another_uid(api: Api) -> None:
    first = await api.deployed()
    api.sandbox.delete("Deployment", NAMESPACE, "api")
    second = await api.deployed()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert second["metadata"]["generation"] == 1


def test_a_person_gets_the_same_errors_in_python() -> None:
    @on_sandbox
    async def story(api: Api) -> None:
        obj = await api.deployed()
        with pytest.raises(ApiError) as caught:
            api.sandbox.json_patch("Deployment", NAMESPACE, "api", [expect("/x", 1)])
        assert caught.value.code == 422
        version = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
        with pytest.raises(ApiError) as caught:
            api.sandbox.merge_patch("Deployment", NAMESPACE, "api", version)
        assert caught.value.code == 409
        with pytest.raises(ApiError) as caught:
            api.sandbox.create("Deployment", {"metadata": {"name": "api", "namespace": NAMESPACE}})
        assert caught.value.code == 422
        again = {"metadata": {"name": "api", "namespace": NAMESPACE}, "spec": obj["spec"]}
        with pytest.raises(ApiError) as caught:
            api.sandbox.create(again | {"kind": "Deployment"})
        assert caught.value.reason == "AlreadyExists"
        with pytest.raises(LookupError):
            api.sandbox.list("Nonsense")

    story()
