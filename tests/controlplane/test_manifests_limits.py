"""Installed by helm on a real API server: what its account may change, and what it may not.

Each refusal is one request as the service's own account: 403 is the Role's, 422 the policy's.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from receiver import release as rl
from receiver import rollout as ro
from tests.controlplane.manifests import RELEASE, in_force, installed, somebody
from tests.controlplane.plane import ControlPlane
from tests.controlplane.scene import ACCOUNT, Scene
from tests.controlplane.world import POLICIES, REAL
from tests.kube.http import APPLY, MERGE, STRATEGIC, Answer, Http, Obj, add, replace
from tests.stage import NAME, OPTED_IN

# One installation, and so one event loop, for all of them.
pytestmark = [*REAL, pytest.mark.asyncio(loop_scope="module")]

ENABLED = "/metadata/labels/rollback-receiver~1enabled"
ANNOTATION = "/metadata/annotations/"
STABLE, CANARY, FOREIGN, LARGE = NAME, f"{NAME}-canary", "somebody-elses", "large"
SPEC = "nothing of a spec but its template"
LABELS = "no labels, owners or finalizers"
ANNOTATIONS = "no annotations but its own"
NOT_OPTED_IN = "only Deployments with the label"
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}

IMAGE = replace("/spec/template/spec/containers/0/image", "app:v0")


def _removed(path: str) -> Obj:
    return {"op": "remove", "path": path}


# On the stable Deployment, which is opted in.
DENIED: dict[str, tuple[list[Obj], str]] = {
    "replicas": ([replace("/spec/replicas", 9)], SPEC),
    "strategy": ([replace("/spec/strategy", {"type": "Recreate"})], SPEC),
    "pause": ([add("/spec/paused", value=True)], SPEC),
    "history": ([replace("/spec/revisionHistoryLimit", 0)], SPEC),
    "deadline": ([replace("/spec/progressDeadlineSeconds", 9)], SPEC),
    "a field less": ([_removed("/spec/minReadySeconds")], SPEC),
    "a label": ([add("/metadata/labels/team", "b")], LABELS),
    "opting out": ([_removed(ENABLED)], LABELS),
    "to be a canary, scaled": (
        [add("/metadata/labels/track", "canary"), replace("/spec/replicas", 9)],
        SPEC,
    ),
    "a finalizer": ([add("/metadata/finalizers", ["example.com/stay"])], LABELS),
    "an owner": ([add("/metadata/ownerReferences", [OWNER])], LABELS),
    "a foreign annotation": ([add(f"{ANNOTATION}example.com~1owner", "x")], ANNOTATIONS),
    "a foreign annotation changed": ([replace(f"{ANNOTATION}note", "y")], ANNOTATIONS),
    "a foreign annotation less": ([_removed(f"{ANNOTATION}note")], ANNOTATIONS),
    "all annotations less": ([_removed("/metadata/annotations")], ANNOTATIONS),
    "a name alike": ([add(f"{ANNOTATION}rollback-receiver.example.com~1x", "y")], ANNOTATIONS),
    "its limits": ([add(f"{ANNOTATION}rollback-receiver~1alerts", "All")], ANNOTATIONS),
    "its mode": ([add(f"{ANNOTATION}rollback-receiver~1mode", "act")], ANNOTATIONS),
    "its protection": ([_removed(f"{ANNOTATION}rollback-receiver~1protected")], ANNOTATIONS),
}


@dataclass(frozen=True, slots=True)
class Account:
    """What the service's own account may do in a scene."""

    on: Scene
    http: Http

    def path(self, name: str) -> str:
        return self.on.world.path("Deployment", self.on.namespace, name)

    async def patch(self, name: str, *operations: Obj) -> Answer:
        """Try a patch, and leave all as it is."""
        return await self.http.patch(self.path(name), *operations, dryRun="All")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def me(
    tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane, operator: None
) -> AsyncIterator[Account]:
    """Install, and deploy what it may change, scale, or not touch."""
    home = tmp_path_factory.mktemp("installed")
    async with installed(home, plane.connection) as on, somebody(on.world) as http:
        theirs = {"note": "x", "rollback-receiver/protected": "we look first"}
        labels = {STABLE: OPTED_IN, LARGE: OPTED_IN, CANARY: OPTED_IN | {"track": "canary"}}
        for name in (STABLE, LARGE, CANARY, FOREIGN):
            await on.world.deploy(
                name,
                "app:v1",
                labels=labels.get(name),
                annotations=theirs,
                replicas=0,
                minReadySeconds=1,
            )
        await in_force(on, http, STABLE)
        yield Account(on, http)


@pytest.mark.parametrize("what", DENIED)
async def test_the_account_is_denied_all_but_a_rollback(me: Account, what: str) -> None:
    operations, message = DENIED[what]
    answer = await me.patch(STABLE, *operations)
    assert answer.status == 422, answer
    assert message in answer.body["details"]["causes"][0]["message"]


@pytest.mark.parametrize(
    "operations",
    [[IMAGE], [add("/metadata/labels", OPTED_IN)], [IMAGE, add("/metadata/labels", OPTED_IN)]],
    ids=["rolling back", "opting in", "both at once"],
)
async def test_the_account_is_denied_whatever_is_not_opted_in(
    me: Account, operations: list[Obj]
) -> None:
    answer = await me.patch(FOREIGN, *operations)
    assert answer.status == 422, answer
    assert NOT_OPTED_IN in answer.body["message"]


@pytest.mark.parametrize(
    ("kind", "query"), [(MERGE, {}), (STRATEGIC, {}), (APPLY, {"force": "true"})]
)
async def test_the_account_is_denied_by_whatever_kind_of_patch(
    me: Account, kind: str, query: dict[str, str]
) -> None:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 9}}
    answer = await me.http.send(
        "PATCH", me.path(STABLE), body, kind=kind, dryRun="All", fieldManager="x", **query
    )
    assert answer.status == 422, answer
    assert SPEC in answer.body["message"]


async def test_a_person_is_not_held_back(me: Account) -> None:
    operations = [*DENIED["strategy"][0], *DENIED["a label"][0]]
    answer = await me.on.world.http.patch(me.path(STABLE), *operations, dryRun="All")
    assert answer.status == 200, answer


def _forbidden(me: Account) -> Iterator[tuple[str, str, Obj | None]]:
    on, stable = me.on, me.path(STABLE)
    here, own = f"namespaces/{on.namespace}", f"namespaces/{on.state_namespace}"
    yield "DELETE", stable, None
    yield "PUT", stable, {}
    yield "DELETE", f"/apis/apps/v1/{here}/deployments", None
    yield "POST", f"/apis/apps/v1/{here}/deployments", {}
    yield "PATCH", f"{stable}/scale", {"spec": {"replicas": 9}}
    yield "PATCH", f"{stable}/status", {"status": {}}
    yield "PATCH", f"/apis/apps/v1/{here}/replicasets/x", {}
    yield "GET", f"/apis/apps/v1/{here}/statefulsets", None
    yield "GET", f"/api/v1/{here}/pods", None
    yield "POST", f"/api/v1/{here}/pods", {}
    yield "POST", f"/api/v1/{here}/pods/x/exec", {}
    yield "GET", f"/api/v1/{here}/configmaps", None
    for space in (here, own):
        yield "GET", f"/api/v1/{space}/secrets", None
        yield "GET", f"/api/v1/{space}/secrets/rollback-receiver", None
        yield "POST", f"/api/v1/{space}/serviceaccounts/{ACCOUNT}/token", {}
        yield "POST", f"/apis/rbac.authorization.k8s.io/v1/{space}/rolebindings", {}
    # Other namespaces, its own among them: it cannot touch itself.
    for space in ("namespaces/default", own):
        yield "GET", f"/apis/apps/v1/{space}/deployments", None
        yield "PATCH", f"/apis/apps/v1/{space}/deployments/{RELEASE}", {}
    yield "GET", "/apis/apps/v1/deployments", None
    yield "GET", "/api/v1/namespaces", None
    yield "GET", "/api/v1/nodes", None
    yield "DELETE", f"{POLICIES}/validatingadmissionpolicies/{on.state_namespace}-limits", None


async def test_the_account_is_forbidden_whatever_it_does_not_need(me: Account) -> None:
    for method, path, body in _forbidden(me):
        kind = MERGE if method == "PATCH" else ""
        answer = await me.http.send(method, path, body, kind=kind)
        assert answer.status == 403, (method, path, answer)


async def test_whatever_a_template_holds_can_be_restored(me: Account) -> None:
    template = (await me.on.world.deployment(STABLE))["spec"]["template"]
    pod = template["spec"]
    container = pod["containers"][0] | {"image": "app:v0", "securityContext": {"runAsUser": 0}}
    wild = pod | {
        "hostNetwork": True,
        "hostPID": True,
        "serviceAccountName": "another",
        "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        "containers": [container, container | {"name": "second"}],
    }
    swap = replace("/spec/template", template | {"spec": wild})
    answer = await me.patch(STABLE, swap)
    assert answer.status == 200, answer


async def test_a_canary_may_be_scaled(me: Account) -> None:
    answer = await me.patch(CANARY, replace("/spec/replicas", 3), IMAGE)
    assert answer.status == 200, answer


async def _read(me: Account, name: str) -> ro.Rollout:
    seen = await me.on.world.cluster.observe(me.on.namespace, name)
    assert seen is not None
    return ro.read(seen.deployment, seen.replicasets)


async def test_each_patch_of_the_service_passes(me: Account) -> None:
    """The fence, the void, and the undo, which also takes the fence away."""
    world = me.on.world
    await world.rolled_out(CANARY)
    await world.deploy(CANARY, "app:v2", labels=OPTED_IN | {"track": "canary"})
    await world.rolled_out(CANARY)
    answer = await me.http.patch(me.path(CANARY), *ro.fence(await _read(me, CANARY), {"abc"}))
    assert answer.status == 200, answer
    rollout = await _read(me, CANARY)
    to = ro.destination(rollout, ())
    assert to is not None
    for operations in (
        ro.void(rollout, rollout.generation, "n"),
        ro.undo(rollout, to, record={"id": "i", "intent": "n"}, cause="undone"),
    ):
        answer = await me.patch(CANARY, *operations)
        assert answer.status == 200, answer


async def test_each_patch_of_a_staged_release_passes(me: Account) -> None:
    """The canary: its share with its template, another share, none. The stable one: promoted."""
    canary, stable = await _read(me, CANARY), await _read(me, STABLE)
    cause = "release rel-1 of app:v9"
    note = {"id": "rel-1", "replicas": 1, "stage": "canary"}
    containers = canary.template["spec"]["containers"]
    template = rl.templates(ro.pure(canary.template), {c["name"]: "app:v9" for c in containers})
    everybodys = rl.promoted(stable.template, template)
    record = {"id": "rel-1", "intent": "n"}
    for name, operations in (
        (CANARY, ro.share(canary, 1, note=json.dumps(note), cause=cause, template=template)),
        (CANARY, ro.share(canary, 9, note=json.dumps(note | {"replicas": 9}), cause=cause)),
        (CANARY, ro.share(canary, canary.desired, note=json.dumps(note), cause=cause)),
        (STABLE, ro.promote(stable, everybodys, record=record, cause=cause)),
    ):
        answer = await me.patch(name, *operations)
        assert answer.status == 200, answer


async def test_the_stable_deployment_of_a_release_is_not_scaled(me: Account) -> None:
    stable = await _read(me, STABLE)
    answer = await me.patch(STABLE, *ro.share(stable, 9, note="{}", cause="c"))
    assert answer.status == 422, answer
    assert SPEC in answer.body["message"]


async def test_the_policy_is_cheap_enough_for_the_largest_deployment(me: Account) -> None:
    """Kubernetes ends an expression that costs too much, and denies: that would be no undo."""
    # All annotations together may have 256 KiB.
    many = {f"example.com/annotation-{n:05}": "x" * 40 for n in range(3500)}
    body = {"metadata": {"annotations": many}}
    answer = await me.on.world.http.merge(me.path(LARGE), body)
    assert answer.status == 200, answer
    container = answer.body["spec"]["template"]["spec"]["containers"][0] | {"image": "app:v0"}
    container["env"] = [{"name": f"E{n}", "value": "x" * 100} for n in range(2000)]
    undo = replace("/spec/template/spec/containers/0", container)
    answer = await me.patch(LARGE, undo, add(f"{ANNOTATION}rollback-receiver~1record", "y"))
    assert answer.status == 200, answer
    answer = await me.patch(LARGE, undo, add(f"{ANNOTATION}example.com~1x", "y"))
    assert ANNOTATIONS in answer.body["message"], answer


async def test_the_api_server_finds_no_doubtful_type_in_the_policy(me: Account) -> None:
    http = me.on.world.http
    path = f"{POLICIES}/validatingadmissionpolicies/{me.on.state_namespace}-limits"

    async def checked() -> bool:
        return "typeChecking" in (await http.get(path)).body.get("status", {})

    await me.on.world.until(checked)
    assert (await http.get(path)).body["status"]["typeChecking"] == {}
