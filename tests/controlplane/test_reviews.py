"""Reviews on a real kube-apiserver: with the shipped ClusterRole, and without it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from receiver.controller.ports import Act, Identity
from receiver.errors import Forbidden
from receiver.kube import KubernetesCluster, connect
from receiver.kube.rights import WHOLE_CLUSTER
from tests.controlplane.world import RealWorld, on_kubernetes
from tests.k8s.shipped import REVIEWS, shipped

US = "rollback-receiver"
RULES = shipped(REVIEWS, "ClusterRole", "rollback-receiver-auth")["rules"]
PATCH = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}]


@asynccontextmanager
async def receiver(world: RealWorld) -> AsyncIterator[KubernetesCluster]:
    """Connect as a ServiceAccount of our own, which has no rights yet."""
    await world.account("receiver")
    cluster = await connect(
        context=None,
        kubeconfig=await world.kubeconfig(await world.token("receiver")),
        state_namespace=world.state_namespace,
        clock=world.clock,
        reviewing=True,
    )
    try:
        yield cluster
    finally:
        await cluster.aclose()


async def identified(cluster: KubernetesCluster, token: str) -> Identity | None:
    """Ask whose token it is; a new binding needs a moment to take effect."""
    for _ in range(20):
        try:
            return await cluster.identify(token, US)
        except Forbidden:
            await asyncio.sleep(0.1)
    return await cluster.identify(token, US)


@on_kubernetes
async def test_the_shipped_role_is_enough_to_ask_who_may_what(world: RealWorld) -> None:
    await world.account("alice")
    token = await world.token("alice", US)
    act = Act(
        verb="patch", group="apps", resource="deployments", namespace=world.namespace, name="api"
    )
    async with receiver(world) as cluster, world.granted("receiver", RULES):
        alice = await identified(cluster, token)
        assert alice is not None
        assert alice.username == f"system:serviceaccount:{world.state_namespace}:alice"
        assert alice.uid
        assert "system:serviceaccounts" in alice.groups
        assert WHOLE_CLUSTER not in await cluster.rights((world.namespace,))
        for other in (await world.token("alice"), await world.token("alice", "another"), "a.b.c"):
            assert await cluster.identify(other, US) is None
        assert not await cluster.permits(alice, act)
        async with world.granted("alice", PATCH, world.namespace):
            for _ in range(20):
                if await cluster.permits(alice, act):
                    break
                await asyncio.sleep(0.1)
            assert await cluster.permits(alice, act)
            elsewhere = Act(
                verb="patch",
                group="apps",
                resource="deployments",
                namespace=world.state_namespace,
                name="api",
            )
            assert not await cluster.permits(alice, elsewhere)


@on_kubernetes
async def test_without_it_what_we_lack_is_named(world: RealWorld) -> None:
    await world.account("alice")
    reviews = ("tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io")
    act = Act(verb="patch", group="apps", resource="deployments", namespace=world.namespace)
    async with receiver(world) as cluster:
        denied = await cluster.rights((world.namespace,))
        assert denied[WHOLE_CLUSTER] == tuple(f"create {each}" for each in reviews)
        with pytest.raises(Forbidden, match=f"^we may not create {reviews[0]}: 403 Forbidden$"):
            await cluster.identify(await world.token("alice", US), US)
        with pytest.raises(Forbidden, match=f"^we may not create {reviews[1]}: 403 Forbidden$"):
            await cluster.permits(Identity(username="alice"), act)
