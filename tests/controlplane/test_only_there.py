"""What only a real API server has: apply, admission policies, tokens, and roles."""

import asyncio
from typing import Any

import pytest

from receiver import rollout as ro
from receiver.errors import Denied, Forbidden
from receiver.kube import KubernetesCluster
from tests.controlplane.manifests import somebody
from tests.controlplane.plane import ControlPlane
from tests.controlplane.tokens import expired
from tests.controlplane.world import RealWorld, denying, on_kubernetes
from tests.kube.http import APPLY, Obj, add, image_of
from tests.kube.wishes import annotate, deployed

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@on_kubernetes
async def test_an_owner_by_server_side_apply_must_force_to_bring_the_bad_image_back(
    world: RealWorld,
) -> None:
    """GitOps by server-side apply notices our undo as a conflict, and only force overrides it."""

    def applied(image: str) -> Obj:
        pod = {"containers": [{"name": "app", "image": image}]}
        template = {"metadata": {"labels": {"app": "api"}}, "spec": pod}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "api"},
            "spec": {"selector": {"matchLabels": {"app": "api"}}, "template": template},
        }

    path = world.path("Deployment", world.namespace, "api")

    async def apply(image: str, **query: Any) -> int:
        manager = {"fieldManager": "gitops"} | query
        answer = await world.http.send("PATCH", path, applied(image), kind=APPLY, **manager)
        return answer.status

    for image in ("app:v1", "app:v2"):
        assert await apply(image) in (200, 201)
        await world.rolled_out()
    seen = await world.cluster.observe(world.namespace, "api")
    assert seen is not None
    rollout = ro.read(seen.deployment, seen.replicasets)
    to = ro.destination(rollout, ())
    assert to is not None
    operations = ro.undo(rollout, to, record={"id": "i", "intent": "n"}, cause="undone")
    await world.cluster.patch(world.namespace, "api", operations)
    await world.rolled_out()
    assert await apply("app:v2") == 409
    assert image_of(await world.deployment()) == "app:v1"
    assert await apply("app:v2", force="true") == 200


# --- what a restart of the API server forgets


@on_kubernetes
async def test_a_watch_from_before_a_restart_of_the_api_server_is_410_and_ends_at_once(
    world: RealWorld, plane: ControlPlane
) -> None:
    obj = await deployed(world, replicas=0)
    old = obj["metadata"]["resourceVersion"]
    await world.cluster.patch(world.namespace, "api", annotate(obj, "note", "newer"))
    plane.stop_api_server()
    await asyncio.to_thread(plane.start_api_server)
    path = world.path("Deployment", world.namespace)
    async with world.http.watch(path, resourceVersion=old) as events:
        event = await events.next()
    assert event is not None
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    async with world.cluster.watch(world.namespace, "api", old) as changes:
        assert [change async for change in changes] == []


# --- admission


@on_kubernetes
async def test_the_deny_of_an_admission_policy_is_422_with_causes_and_stays_bounded(
    world: RealWorld,
) -> None:
    obj = await deployed(world, annotations={"note": "x"})
    path = world.path("Deployment", world.namespace, "api")
    message = "no, because of everything that is written here " * 20
    async with denying(world, "!('forbidden' in object.metadata.annotations)", message):
        answer = await world.http.patch(path, add("/metadata/annotations/forbidden", "x"))
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        (cause,) = answer.body["details"]["causes"]
        assert message.strip() in cause["message"]
        with pytest.raises(Denied) as caught:
            await world.cluster.patch(world.namespace, "api", annotate(obj, "forbidden", "x"))
        assert len(str(caught.value)) <= 300
        assert (await world.deployment())["metadata"]["generation"] == obj["metadata"]["generation"]


# --- who somebody is, and what they may: the rest is in tests/kube/test_contract_who_may_what.py


async def _review(world: RealWorld, token: str, *audiences: str) -> Obj:
    spec: Obj = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    answer = await world.http.post(TOKEN_REVIEWS, {"spec": spec})
    assert answer.status == 201
    status: Obj = answer.body["status"]
    return status


@on_kubernetes
async def test_a_token_that_has_expired_or_whose_owner_is_gone_is_nobodys(
    world: RealWorld, plane: ControlPlane
) -> None:
    await world.account("alice")
    token = await world.token("alice", "rollback-receiver")
    old = await _review(world, expired(token, plane.key), "rollback-receiver")
    assert not old.get("authenticated")
    assert "expired" in old["error"]
    path = f"/api/v1/namespaces/{world.state_namespace}/serviceaccounts/alice"
    assert (await world.http.delete(path)).status == 200

    async def gone() -> bool:
        return not (await _review(world, token, "rollback-receiver")).get("authenticated")

    await world.until(gone)


@on_kubernetes
async def test_a_role_that_names_one_deployment_is_enough_for_all_we_do_with_it(
    world: RealWorld,
) -> None:
    obj = await deployed(world, annotations={"note": "old"})
    await world.account("narrow")
    rule: Obj = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["api"]}
    rules = [rule | {"verbs": ["get", "list", "watch", "patch"]}]
    async with world.granted("narrow", rules, world.namespace):
        cluster = await world.connect(await world.token("narrow"))
        try:

            async def granted() -> bool:
                return "get deployments.apps" not in await _denied(world, cluster, "api")

            await world.until(granted)
            assert await cluster.deployment(world.namespace, "api") is not None
            await cluster.patch(world.namespace, "api", annotate(obj, "note", "new"))
            version = obj["metadata"]["resourceVersion"]
            async with cluster.watch(world.namespace, "api", version) as events:
                assert await anext(events) is not None
            async with somebody(world, "narrow") as http:
                path = world.path("Deployment", world.namespace)
                named = await http.get(path, fieldSelector="metadata.name=api")
                assert [each["metadata"]["name"] for each in named.body["items"]] == ["api"]
                assert (await http.get(path)).status == 403
            with pytest.raises(Forbidden, match="list"):
                await cluster.deployments(world.namespace, labels="")
        finally:
            await cluster.aclose()


async def _denied(world: RealWorld, cluster: KubernetesCluster, name: str) -> str:
    try:
        await cluster.deployment(world.namespace, name)
    except Forbidden:
        return "get deployments.apps"
    return ""
