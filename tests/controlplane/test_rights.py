"""The roles in `k8s/` are enough, and each verb of them is needed: without it something says so."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.controller.ports import Act, Happening, Identity, State
from receiver.errors import Forbidden
from receiver.kube import KubernetesCluster
from tests.controlplane.plane import Connection
from tests.controlplane.scene import ACCOUNT, Scene, scene, shipped_rights
from tests.controlplane.world import REAL
from tests.kube.wishes import annotate
from tests.stage import NAME

pytestmark = REAL
Use = Callable[[KubernetesCluster, Scene], Awaitable[Any]]
STATE = State(name="journal", data={"k": "1"})
ACT = Act(verb="patch", group="apps", resource="deployments", namespace="shop")


async def _patch(cluster: KubernetesCluster, on: Scene) -> None:
    obj = await on.world.deployment(NAME)
    await cluster.patch(on.namespace, NAME, annotate(obj, "note", "x"), dry_run=True)


async def _watch(cluster: KubernetesCluster, on: Scene) -> None:
    version = (await on.world.deployment(NAME))["metadata"]["resourceVersion"]
    async with cluster.watch(on.namespace, NAME, version):
        pass


async def _update(cluster: KubernetesCluster, on: Scene) -> None:
    await cluster.write_state(replace(await on.world.cluster.write_state(STATE), data={"k": "2"}))


async def _emit(cluster: KubernetesCluster, on: Scene) -> None:
    uid = (await on.world.deployment(NAME))["metadata"]["uid"]
    happening = Happening(
        namespace=on.namespace,
        deployment=NAME,
        uid=uid,
        id="1",
        action="Rollback",
        reason="RolledBack",
        note="x",
    )
    await cluster.emit(happening)


# What the service does with each right: one call that cannot be made without it.
USES: dict[tuple[str, str], Use] = {
    ("get", "deployments"): lambda c, on: c.deployment(on.namespace, NAME),
    ("list", "deployments"): lambda c, on: c.deployments(on.namespace, labels=""),
    ("watch", "deployments"): _watch,
    ("patch", "deployments"): _patch,
    ("get", "replicasets"): lambda c, on: c.replicaset(on.namespace, "x"),
    ("list", "replicasets"): lambda c, on: c.observe(on.namespace, NAME),
    ("get", "pods"): lambda c, on: c.pod(on.namespace, "x"),
    ("create", "events"): _emit,
    ("get", "configmaps"): lambda c, on: c.read_state("x"),
    ("list", "configmaps"): lambda c, on: c.list_states(labels=""),
    ("create", "configmaps"): lambda c, on: c.write_state(STATE),
    ("update", "configmaps"): _update,
    ("create", "tokenreviews"): lambda c, on: c.identify("a.b.c", ACCOUNT),
    ("create", "subjectaccessreviews"): lambda c, on: c.permits(Identity(username="x"), ACT),
    ("delete", "configmaps"): lambda c, on: c.delete_state(STATE),
    ("patch", "configmaps"): lambda c, on: c.beat("beats", {"a": "1"}),
}


def test_each_right_that_is_shipped_has_a_use_here() -> None:
    assert sorted(USES) == sorted(shipped_rights())


@pytest.mark.parametrize("right", list(USES), ids="-".join)
async def test_without_one_right_it_is_403_by_name_and_readiness_fails(
    tmp_path: Path, kubernetes: Connection, right: tuple[str, str]
) -> None:
    verb, resource = right
    async with scene(tmp_path, kubernetes, without=right) as on:
        await on.world.deploy(NAME, "app:v1", replicas=0)
        await on.world.rolled_out(NAME)
        async with on.replica() as replica:

            async def said() -> bool:
                checks = (await on.look(replica, "/ready"))[1]["checks"]
                denied = str(checks["rights"]).partition(": ")[2].split(", ")
                return [text.split(".")[0] for text in denied] == [f"{verb} {resource}"]

            await on.world.until(said)
            # Without the reviews nobody comes in by a token of Kubernetes; alerts still do.
            ready = resource.endswith("reviews")
            status, body = await on.look(replica, "/ready")
            assert (status, body["ready"]) == (200 if ready else 503, ready)
            with pytest.raises(Forbidden) as caught:
                await USES[right](replica.cluster, on)
            for word in ("403 Forbidden", verb, resource):
                assert word in str(caught.value)


async def test_with_the_shipped_roles_a_replica_is_ready(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.replica() as replica:
        assert (await on.ready(replica))["checks"]["rights"] == "ok"
        await asyncio.sleep(0)
