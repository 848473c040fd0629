"""What is valid and what is not: decoding, strictness, limits."""

from typing import Any

import pytest

from receiver.sandbox.objects import CONFIGMAPS as CONFIGMAP
from receiver.sandbox.objects import DEPLOYMENTS as DEPLOYMENT
from receiver.sandbox.objects import PODS as POD
from receiver.sandbox.schema import decode_fault, read, unknown_fields
from tests.kube.http import Answer, add, expect, replace
from tests.sandbox.api import (
    API,
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACE,
    Api,
    configmap,
    on_sandbox,
)

SELECTOR = "/spec/selector/matchLabels"


def fields(answer: Answer) -> list[str]:
    """Return the fields that the causes of a 422 name."""
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    return [cause["field"] for cause in answer.body["details"]["causes"]]


@on_sandbox
@pytest.mark.parametrize(
    ("field", "operation"),
    [
        ("spec.replicas", replace("/spec/replicas", -1)),
        ("spec.selector", add(f"{SELECTOR}/more", "x")),
        ("spec.template.metadata.labels", replace("/spec/template/metadata/labels", {"a": "b"})),
        (
            "spec.template.spec.containers[0].image",
            replace("/spec/template/spec/containers/0/image", ""),
        ),
        ("spec.template.spec.containers", replace("/spec/template/spec/containers", [])),
        (
            "spec.template.spec.containers[1].name",
            add("/spec/template/spec/containers/-", {"name": "app", "image": "x"}),
        ),
        ("spec.progressDeadlineSeconds", replace("/spec/progressDeadlineSeconds", 0)),
        ("spec.strategy.type", replace("/spec/strategy/type", "Magic")),
        ("spec.strategy.rollingUpdate", replace("/spec/strategy/type", "Recreate")),
        (
            "spec.strategy.rollingUpdate.maxUnavailable",
            replace("/spec/strategy/rollingUpdate", {"maxSurge": 0, "maxUnavailable": "0%"}),
        ),
        (
            "spec.strategy.rollingUpdate.maxUnavailable",
            replace("/spec/strategy/rollingUpdate/maxUnavailable", "101%"),
        ),
        (
            "spec.strategy.rollingUpdate.maxSurge",
            replace("/spec/strategy/rollingUpdate/maxSurge", "many"),
        ),
        (
            "spec.strategy.rollingUpdate.maxSurge",
            replace("/spec/strategy/rollingUpdate/maxSurge", -1),
        ),
        ("metadata.annotations", add("/metadata/annotations/not~1a~1key", "x")),
        ("metadata.annotations", add("/metadata/annotations/large", "x" * 262_144)),
        ("metadata.labels", add("/metadata/labels/x", "not a label")),
        ("metadata.finalizers", add("/metadata/finalizers", ["no finalizer"])),
        ("metadata.ownerReferences[0].uid", add("/metadata/ownerReferences", [
            {"apiVersion": "v1", "kind": "Pod", "name": "x"}
        ])),
    ],
    ids=lambda value: str(value)[-60:],
)  # fmt: skip
async def test_what_is_invalid_is_422_with_causes(api: Api, field: str, operation: Any) -> None:
    await api.deployed(annotations={"note": "x"})
    assert field in fields(await api.patch(API, operation))


@on_sandbox
async def test_annotations_may_have_262144_bytes_in_all(api: Api) -> None:
    await api.deployed(replicas=0)
    used = sum(len(k) + len(v) for k, v in api.api()["metadata"]["annotations"].items())
    most = "x" * (262_144 - used - len("large"))
    assert (await api.patch(API, add("/metadata/annotations/large", most + "x"))).status == 422
    assert (await api.patch(API, add("/metadata/annotations/large", most))).status == 200


@on_sandbox
async def test_an_unknown_field_is_dropped_unless_strictness_is_asked_for(api: Api) -> None:
    await api.deployed(replicas=0)
    unknown = add("/spec/template/spec/containers/0/imag", "x")
    answer = await api.patch(API, unknown)
    assert answer.status == 200
    assert "imag" not in answer.body["spec"]["template"]["spec"]["containers"][0]
    answer = await api.patch(API, unknown, fieldValidation="Strict")
    assert fields(answer) == ["patch"]
    message = answer.body["message"]
    assert message.endswith('unknown field "spec.template.spec.containers[0].imag"')


@on_sandbox
async def test_a_strict_refusal_holds_the_whole_object(api: Api) -> None:
    await api.deployed(replicas=0, annotations={"note": "x" * 10_000})
    answer = await api.patch(API, add("/spec/unknown", 1), fieldValidation="Strict")
    assert len(answer.body["message"]) > 10_000
    assert len(answer.body["details"]["causes"][0]["message"]) > 10_000


@on_sandbox
async def test_a_strict_create_or_update_is_400(api: Api) -> None:
    obj = await api.deployed(replicas=0)
    bad = {"spec": obj["spec"] | {"unknown": 1}}
    made = await api.post(
        DEPLOYMENTS, bad | {"metadata": {"name": "other"}}, fieldValidation="Strict"
    )
    put = await api.put(API, bad | {"metadata": {"name": "api"}}, fieldValidation="Strict")
    for answer in (made, put):
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
        assert 'unknown field "spec.unknown"' in answer.body["message"]


@on_sandbox
@pytest.mark.parametrize(
    "operation",
    [
        replace("/spec/replicas", "3"),
        replace("/spec/replicas", 3.5),
        replace("/spec/replicas", 2**31),
        replace("/spec/template/spec", []),
        replace("/spec/template/spec/containers/0", "text"),
        replace("/spec/template/spec/containers/0/image", {}),
        add("/metadata/annotations/x", 1),
        replace("/metadata/annotations", []),
        add("/spec/paused", "yes"),
        add("/spec/selector", "text"),
        replace("/spec/strategy/rollingUpdate/maxSurge", True),
        replace("/metadata/name", 7),
    ],
    ids=str,
)
async def test_what_does_not_decode_is_422_in_a_patch(api: Api, operation: Any) -> None:
    await api.deployed(replicas=0)
    answer = await api.patch(API, operation)
    assert fields(answer) == ["patch"]
    assert "cannot unmarshal" in answer.body["message"]


@on_sandbox
async def test_what_does_not_decode_is_400_in_a_create(api: Api) -> None:
    answer = await api.post(CONFIGMAPS, {"metadata": {"name": "x"}, "data": {"k": 1}})
    assert answer.status == 400
    assert answer.body["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal '
        "number 1 into Go struct field ConfigMap.data of type string"
    )


@on_sandbox
async def test_an_object_must_be_of_the_kind_and_name_of_its_path(api: Api) -> None:
    obj = await api.deployed(replicas=0)
    wrong = await api.post(CONFIGMAPS, {"kind": "Pod", "metadata": {"name": "x"}})
    assert (wrong.status, "does not match the expected kind" in wrong.body["message"]) == (
        400,
        True,
    )
    wrong = await api.put(API, obj | {"apiVersion": "apps/v2"})
    assert (wrong.status, "API version" in wrong.body["message"]) == (400, True)
    wrong = await api.patch(API, replace("/metadata/name", "other"))
    assert (wrong.status, wrong.body["message"]) == (
        400,
        "the name of the object (other) does not match the name on the URL (api)",
    )
    assert (await api.put(API, {"metadata": {}, "spec": obj["spec"]})).status == 400
    elsewhere = {"metadata": {"name": "x", "namespace": "elsewhere"}}
    assert (await api.post(CONFIGMAPS, elsewhere)).status == 400
    assert (await api.patch(API, replace("/metadata/namespace", "elsewhere"))).status == 400


@on_sandbox
@pytest.mark.parametrize(
    ("requirement", "part"),
    [
        ({"key": "app", "operator": "Nonsense"}, "operator"),
        ({"key": "app", "operator": "In"}, "values"),
        ({"key": "app", "operator": "Exists", "values": ["x"]}, "values"),
        ({"operator": "Exists"}, "key"),
        ({}, "operator"),
    ],
)
async def test_a_selector_must_make_sense(api: Api, requirement: Any, part: str) -> None:
    obj = await api.deployed(replicas=0)
    spec = obj["spec"] | {"selector": {"matchExpressions": [requirement]}}
    answer = await api.post(DEPLOYMENTS, {"metadata": {"name": "other"}, "spec": spec})
    assert f"spec.selector.matchExpressions[0].{part}" in fields(answer)
    spec = obj["spec"] | {"selector": {"matchLabels": {}}}
    answer = await api.post(DEPLOYMENTS, {"metadata": {"name": "other"}, "spec": spec})
    assert "spec.selector" in fields(answer)


@on_sandbox
async def test_a_configmap_has_its_limits(api: Api) -> None:
    assert (await api.post(CONFIGMAPS, configmap("full", k="x" * 1024 * 1024))).status == 201
    assert (await api.post(CONFIGMAPS, configmap("more", k="x" * (1024 * 1024 + 1)))).status == 422
    assert "data[no key]" in fields(await api.post(CONFIGMAPS, configmap("c", **{"no key": "x"})))
    assert "metadata.name" in fields(await api.post(CONFIGMAPS, configmap("No_Name")))
    await api.post(CONFIGMAPS, configmap("fixed", k="1") | {"immutable": True})
    assert fields(await api.merge(f"{CONFIGMAPS}/fixed", {"data": {"k": "2"}})) == ["data"]


def event(**changes: Any) -> dict[str, Any]:
    sent = {
        "metadata": {"name": "api.1", "namespace": NAMESPACE},
        "eventTime": "2026-11-23T01:00:00.000000Z",
        "reportingController": "example.com/receiver",
        "reportingInstance": "receiver-0",
        "action": "RollBack",
        "reason": "RolledBack",
        "note": "text",
        "type": "Warning",
        "regarding": {"kind": "Deployment", "namespace": NAMESPACE, "name": "api"},
    } | changes
    return {key: value for key, value in sent.items() if value is not None}


@on_sandbox
async def test_an_event_of_one_name_is_accepted_once(api: Api) -> None:
    assert (await api.post(EVENTS, event())).status == 201
    again = await api.post(EVENTS, event())
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'events.events.k8s.io "api.1" already exists'
    changed = await api.merge(f"{EVENTS}/api.1", {"note": "other"})
    assert fields(changed) == ["note"]


@on_sandbox
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"reportingController": None}, "reportingController"),
        ({"reportingController": "no name!"}, "reportingController"),
        ({"reportingInstance": "x" * 129}, "reportingInstance"),
        ({"action": ""}, "action"),
        ({"reason": "x" * 129}, "reason"),
        ({"note": "x" * 1025}, "note"),
        ({"type": "Bad"}, "type"),
        ({"series": {"count": 1, "lastObservedTime": None}}, "series.count"),
        ({"regarding": {"namespace": "elsewhere"}}, "involvedObject.namespace"),
        ({"deprecatedCount": 1}, "deprecatedCount"),
    ],
    ids=str,
)
async def test_events_are_strict(api: Api, changes: dict[str, Any], field: str) -> None:
    assert field in fields(await api.post(EVENTS, event(**changes)))


@on_sandbox
async def test_an_event_whose_time_is_no_time_does_not_decode(api: Api) -> None:
    answer = await api.post(EVENTS, event(eventTime="yesterday"))
    assert (answer.status, "parsing time" in answer.body["message"]) == (400, True)


@on_sandbox
async def test_a_pod_stays_what_it_is_but_for_its_image(api: Api) -> None:
    await api.deployed(replicas=1)
    (pod,) = api.sandbox.list("Pod", NAMESPACE)
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
    assert (await api.patch(path, replace("/spec/containers/0/image", "app:v2"))).status == 200
    assert fields(await api.patch(path, add("/spec/hostNetwork", True))) == ["spec"]
    assert "spec.containers" in fields(
        await api.post(path.rpartition("/")[0], {"metadata": {"name": "empty"}})
    )


def test_an_object_is_written_as_go_would_write_it() -> None:
    sent = {
        "metadata": {"name": "x", "labels": {"a": None}, "annotations": {}, "generation": 0},
        "spec": {"replicas": 0, "minReadySeconds": 0, "paused": False, "template": None},
    }
    assert read(DEPLOYMENT, sent) == {
        "metadata": {"name": "x", "labels": {"a": ""}},
        "spec": {"replicas": 0},
    }
    assert read(CONFIGMAP, {"data": None, "binaryData": {"k": None}}) == {"binaryData": {"k": ""}}


def test_what_the_table_shortens_is_kept_as_it_is() -> None:
    volume = {"name": "v", "configMap": {"name": "x", "optional": False}}
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 0}
    spec = {
        "containers": [{"name": "a", "image": "b", "readinessProbe": probe}],
        "volumes": [volume],
    }
    assert unknown_fields(POD, {"spec": spec}) == []
    assert read(POD, {"spec": spec})["spec"] == spec


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ({"conditions": [{"type": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}, None),
        ({"conditions": [{"lastTransitionTime": "2026-13-01T00:00:00Z"}]}, "parsing time"),
        ({"conditions": [{"lastTransitionTime": 5}]}, "number 5"),
        ({"conditions": {}}, "cannot unmarshal object"),
        ({"startTime": "2026-01-01"}, "parsing time"),
        ({"containerStatuses": [{"restartCount": "1"}]}, "cannot unmarshal string"),
        ("text", "cannot unmarshal string"),
    ],
)
def test_times_and_numbers_in_a_status_must_be_some(status: Any, fault: str | None) -> None:
    found = decode_fault(POD, {"status": status})
    assert (found is None) if fault is None else (found is not None and fault in found)


@pytest.mark.parametrize("sent", [None, [], "text", 5])
def test_an_object_is_an_object(sent: Any) -> None:
    assert decode_fault(POD, sent) is not None


@on_sandbox
async def test_a_patch_that_leaves_no_object_is_refused(api: Api) -> None:
    await api.deployed(replicas=0)
    answer = await api.patch(API, expect("/spec/replicas", 0), replace("/metadata", None))
    assert answer.status in (400, 422)
