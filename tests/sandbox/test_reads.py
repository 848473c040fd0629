"""Reads: by name, by selector, page by page, fresh and stale."""

from typing import Any

import pytest

from tests.kube.http import Answer, image_of
from tests.sandbox.api import (
    API,
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACE,
    REPLICASETS,
    Api,
    configmap,
    on_sandbox,
)


def names(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [item["metadata"]["name"] for item in answer.body["items"]]


async def five(api: Api) -> None:
    for number, labels in enumerate(
        ({"app": "a", "tier": "web"}, {"app": "a"}, {"app": "b"}, {"tier": "db"}, {})
    ):
        obj = {"metadata": {"name": f"c{number}", "labels": labels}}
        assert (await api.post(CONFIGMAPS, obj)).status == 201


@on_sandbox
async def test_a_list_has_a_version_and_items_with_their_kind(api: Api) -> None:
    await api.deployed()
    answer = await api.get(DEPLOYMENTS)
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("DeploymentList", "apps/v1")
    assert answer.body["metadata"] == {"resourceVersion": str(api.sandbox.store.version)}
    (item,) = answer.body["items"]
    assert (item["kind"], item["apiVersion"]) == ("Deployment", "apps/v1")
    assert item == (await api.get(API)).body


@on_sandbox
@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", "c0 c1 c2 c3 c4"),
        ("app=a", "c0 c1"),
        ("app==a,tier=web", "c0"),
        ("app!=a", "c2 c3 c4"),
        ("app", "c0 c1 c2"),
        ("!app", "c3 c4"),
        ("app in (a, b)", "c0 c1 c2"),
        ("app notin (a),tier", "c3"),
        ("tier in (web,db), app notin (b)", "c0 c3"),
    ],
)
async def test_labels_select(api: Api, selector: str, expected: str) -> None:
    await five(api)
    assert " ".join(names(await api.get(CONFIGMAPS, labelSelector=selector))) == expected


@on_sandbox
@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=c1", "c1"),
        ("metadata.name!=c1", "c0 c2 c3 c4"),
        ("metadata.name=absent", ""),
        (f"metadata.namespace={NAMESPACE},metadata.name=c2", "c2"),
        ("metadata.namespace=elsewhere", ""),
    ],
)
async def test_fields_select(api: Api, selector: str, expected: str) -> None:
    await five(api)
    assert " ".join(names(await api.get(CONFIGMAPS, fieldSelector=selector))) == expected


@on_sandbox
async def test_a_scale_shows_the_selector_as_a_query(api: Api) -> None:
    expressions = [
        {"key": "app", "operator": "In", "values": ["api", "b"]},
        {"key": "tier", "operator": "NotIn", "values": ["db"]},
        {"key": "app", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    await api.deployed(selector={"matchLabels": {"app": "api"}, "matchExpressions": expressions})
    scale = (await api.get(f"{API}/scale")).body
    assert scale["status"]["selector"] == "!old,app,app in (api,b),app=api,tier notin (db)"
    assert api.api()["status"]["availableReplicas"] == 3


@on_sandbox
@pytest.mark.parametrize(
    "query",
    [
        {"labelSelector": "a b c"},
        {"labelSelector": "app in a"},
        {"fieldSelector": "spec.replicas=3"},
        {"fieldSelector": "nonsense"},
        {"resourceVersion": "abc"},
        {"resourceVersion": "-1"},
        {"resourceVersion": "²"},
        {"limit": "many"},
        {"limit": "9" * 30},
        {"continue": "nonsense"},
        {"continue": "WzFd"},
        {"continue": "WzEsMl0"},
    ],
    ids=str,
)
async def test_what_a_list_cannot_understand_is_400(api: Api, query: dict[str, str]) -> None:
    answer = await api.get(CONFIGMAPS, **query)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


@on_sandbox
async def test_a_namespace_is_a_part_of_the_key(api: Api) -> None:
    for namespace in ("first", "second"):
        api.sandbox.create_namespace(namespace)
        await api.post(f"/api/v1/namespaces/{namespace}/configmaps", configmap("same"))
    everywhere = await api.get("/api/v1/configmaps")
    assert names(everywhere) == ["same", "same"]
    assert names(await api.get("/api/v1/namespaces/second/configmaps")) == ["same"]
    assert names(await api.get("/api/v1/namespaces")) == ["default", "first", "second", NAMESPACE]


@on_sandbox
async def test_a_list_comes_page_by_page_as_it_was_at_the_first_page(api: Api) -> None:
    await five(api)
    first = await api.get(CONFIGMAPS, limit=2)
    assert first.body["metadata"]["remainingItemCount"] == 3
    await api.send("DELETE", f"{CONFIGMAPS}/c3")
    await api.post(CONFIGMAPS, configmap("c2b"))
    await api.merge(f"{CONFIGMAPS}/c4", {"data": {"k": "changed"}})
    second = await api.get(CONFIGMAPS, limit=2, **{"continue": first.body["metadata"]["continue"]})
    third = await api.get(CONFIGMAPS, limit=2, **{"continue": second.body["metadata"]["continue"]})
    assert names(first) + names(second) + names(third) == ["c0", "c1", "c2", "c3", "c4"]
    assert "continue" not in third.body["metadata"]
    assert "data" not in third.body["items"][0]
    versions = {a.body["metadata"]["resourceVersion"] for a in (first, second, third)}
    assert len(versions) == 1


@on_sandbox
async def test_a_page_of_a_forgotten_version_is_410(api: Api) -> None:
    await five(api)
    first = await api.get(CONFIGMAPS, limit=2)
    await api.post(CONFIGMAPS, configmap("more"))
    api.sandbox.compact()
    token = first.body["metadata"]["continue"]
    answer = await api.get(CONFIGMAPS, limit=2, **{"continue": token})
    assert (answer.status, answer.body["reason"]) == (410, "Expired")


@on_sandbox
async def test_a_list_may_be_asked_for_as_it_was(api: Api) -> None:
    await five(api)
    version = (await api.get(CONFIGMAPS)).body["metadata"]["resourceVersion"]
    await api.send("DELETE", f"{CONFIGMAPS}/c0")
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert names(await api.get(CONFIGMAPS, **exact)) == ["c0", "c1", "c2", "c3", "c4"]
    assert names(await api.get(CONFIGMAPS, resourceVersion=version)) == ["c1", "c2", "c3", "c4"]
    api.sandbox.compact()
    assert (await api.get(CONFIGMAPS, **exact)).status == 410


@on_sandbox
@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Nonsense", "resourceVersion": "5"},
    ],
    ids=str,
)
async def test_options_that_contradict_each_other_are_422(api: Api, query: dict[str, str]) -> None:
    answer = await api.get(CONFIGMAPS, **query)
    assert (answer.status, bool(answer.body["details"]["causes"])) == (422, True)


@on_sandbox
async def test_a_version_that_is_not_there_yet_is_waited_for_and_then_504(api: Api) -> None:
    await api.deployed()
    began, ahead = api.clock.monotonic(), str(api.sandbox.store.version + 5)
    for path in (DEPLOYMENTS, API):
        answer = await api.get(path, resourceVersion=ahead)
        assert (answer.status, answer.body["reason"]) == (504, "Timeout")
        details = answer.body["details"]
        assert details["retryAfterSeconds"] == 1
        assert details["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert answer.headers["Retry-After"] == "1"
    assert api.clock.monotonic() - began == pytest.approx(6, abs=0.1)


@on_sandbox
async def test_a_frozen_list_is_stale_at_version_0_and_only_there(api: Api) -> None:
    await api.deployed()
    before = api.sandbox.store.version
    with api.sandbox.frozen_lists():
        await api.deployed("app:v2")
        stale = await api.get(REPLICASETS, resourceVersion="0")
        fresh = await api.get(REPLICASETS)
        assert (len(names(stale)), len(names(fresh))) == (1, 2)
        assert stale.body["metadata"]["resourceVersion"] == str(before)
        assert len(names(await api.get(REPLICASETS, resourceVersion=str(before)))) == 1
        newer = str(api.sandbox.store.version)
        assert len(names(await api.get(REPLICASETS, resourceVersion=newer))) == 2
        deployments = await api.get(DEPLOYMENTS, resourceVersion="0", labelSelector="app=api")
        assert [image_of(item) for item in deployments.body["items"]] == ["app:v1"]
        assert image_of((await api.get(API, resourceVersion="0")).body) == "app:v2"
        assert names(await api.get("/api/v1/namespaces", resourceVersion="0"))
        elsewhere = "/apis/apps/v1/namespaces/elsewhere/deployments"
        assert names(await api.get(elsewhere, resourceVersion="0")) == []
    assert len(names(await api.get(REPLICASETS, resourceVersion="0"))) == 2


@on_sandbox
@pytest.mark.parametrize(
    "path",
    [
        "/apis/apps/v1/nonsense",
        "/apis/nonsense/v1/deployments",
        "/apis/apps/v2/deployments",
        f"{API}/nonsense",
        f"{API}/status/more",
        "/apis/apps/v1/deployments/api",
        f"/api/v1/namespaces/{NAMESPACE}/namespaces",
        "/api/v1/namespaces//configmaps",
        "/nonsense",
        "/",
    ],
)
async def test_a_path_to_nothing_is_404_with_a_status(api: Api, path: str) -> None:
    await api.deployed(replicas=0)
    answer = await api.get(path)
    assert (answer.status, answer.body["reason"]) == (404, "NotFound")
    assert answer.body["message"] == "the server could not find the requested resource"


@on_sandbox
async def test_a_missing_object_is_404_and_named(api: Api) -> None:
    answers = [
        await api.get(API),
        await api.patch(API, {"op": "remove", "path": "/x"}),
        await api.put(API, {"metadata": {"name": "api"}}),
        await api.send("DELETE", API),
    ]
    for answer in answers:
        assert answer.status == 404
        assert answer.body == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": 'deployments.apps "api" not found',
            "reason": "NotFound",
            "details": {"name": "api", "group": "apps", "kind": "deployments"},
            "code": 404,
        }


@on_sandbox
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/version", ("gitVersion", "v1.36.3")),
        ("/api", ("versions", ["v1"])),
        ("/apis", ("kind", "APIGroupList")),
        ("/apis/apps", ("name", "apps")),
        ("/api/v1", ("groupVersion", "v1")),
        ("/apis/gateway.networking.k8s.io/v1", ("kind", "APIResourceList")),
    ],
)
async def test_a_client_can_find_its_way(api: Api, path: str, expected: tuple[str, Any]) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.body[expected[0]]) == (200, expected[1])


@on_sandbox
async def test_discovery_names_each_resource_and_subresource(api: Api) -> None:
    rows = (await api.get("/apis/apps/v1")).body["resources"]
    assert [row["name"] for row in rows] == [
        "deployments",
        "deployments/status",
        "deployments/scale",
        "replicasets",
        "replicasets/status",
    ]
    assert rows[2]["kind"] == "Scale"


@on_sandbox
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_probes_answer_without_a_token(api: Api, path: str) -> None:
    api.sandbox.require_token("right")
    answer = await api.get(path)
    assert (answer.status, answer.body) == (200, "ok")


@on_sandbox
async def test_the_status_of_a_namespace_is_a_path_of_its_own(api: Api) -> None:
    answer = await api.get(f"/api/v1/namespaces/{NAMESPACE}/status")
    assert answer.body["status"] == {"phase": "Active"}
    wish = {"status": {"phase": "Terminating"}}
    ignored = await api.merge(f"/api/v1/namespaces/{NAMESPACE}", wish)
    assert ignored.body["status"] == {"phase": "Active"}
