"""TokenReview and SubjectAccessReview: who somebody is, and what he may."""

from typing import Any

import pytest

from receiver.controller.ports import Act, Identity
from tests.kube.http import Obj
from tests.kube.world import World, contract

US = "rollback-receiver"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
PATCH: Obj = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}


async def _review(world: World, token: str, *audiences: str) -> Obj:
    spec: Obj = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    answer = await world.http.post(TOKEN_REVIEWS, {"spec": spec})
    assert answer.status == 201
    status: Obj = answer.body["status"]
    return status


@contract
async def test_a_token_is_good_for_its_audience_alone(world: World) -> None:
    user = await world.account("alice")
    token = await world.token("alice", US)
    good = await _review(world, token, US)
    assert good["authenticated"] is True
    assert good["audiences"] == [US]
    assert good["user"]["username"] == user
    assert {"system:serviceaccounts", "system:authenticated"} <= set(good["user"]["groups"])
    assert "error" not in good
    for status in (
        await _review(world, token, "somebody-else"),
        await _review(world, token),
        await _review(world, "nonsense", US),
    ):
        assert not status.get("authenticated")
        assert "audiences" not in status
        assert status["error"]


@contract
async def test_of_the_audiences_asked_about_the_answer_has_those_of_the_token(world: World) -> None:
    await world.account("alice")
    token = await world.token("alice", US)
    status = await _review(world, token, "somebody-else", US)
    assert (status["authenticated"], status["audiences"]) == (True, [US])


@contract
async def test_who_shows_a_token_for_us_is_known_and_with_any_other_nobody(world: World) -> None:
    user = await world.account("alice")
    alice = await world.cluster.identify(await world.token("alice", US), US)
    assert alice is not None
    assert (alice.username, bool(alice.uid)) == (user, True)
    assert "system:serviceaccounts" in alice.groups
    for other in (
        await world.token("alice"),
        await world.token("alice", "somebody-else"),
        "nonsense",
        "a.b.c",
    ):
        assert await world.cluster.identify(other, US) is None


def _act(world: World, **other: Any) -> Act:
    wanted = {"verb": "patch", "group": "apps", "resource": "deployments"}
    return Act(**wanted | {"namespace": world.namespace, "name": "api"} | other)


@contract
async def test_who_may_do_what_follows_what_is_granted(world: World) -> None:
    alice = Identity(username=await world.account("alice"))

    async def allowed() -> bool:
        return await world.cluster.permits(alice, _act(world))

    async def refused() -> bool:
        return not await allowed()

    assert await refused()
    async with world.granted("alice", [PATCH], world.namespace):
        # A binding takes effect when the API server's own watch has seen it.
        await world.until(allowed)
        for other in (
            {"verb": "get"},
            {"verb": "rollback"},
            {"resource": "replicasets"},
            {"group": ""},
            {"namespace": world.state_namespace},
        ):
            assert not await world.cluster.permits(alice, _act(world, **other)), other
        bob = Identity(username=await world.account("bob"))
        assert not await world.cluster.permits(bob, _act(world))
    await world.until(refused)


@contract
async def test_what_is_granted_everywhere_holds_in_each_namespace(world: World) -> None:
    alice = Identity(username=await world.account("alice"))
    own = PATCH | {"verbs": ["rollback"]}  # a verb may be an invented one
    async with world.granted("alice", [own]):
        for namespace in (world.namespace, world.state_namespace):
            act = _act(world, verb="rollback", namespace=namespace)

            async def allowed(act: Act = act) -> bool:
                return await world.cluster.permits(alice, act)

            await world.until(allowed)
        assert not await world.cluster.permits(alice, _act(world))


@contract
@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        ({"verb": "patch", "group": "apps", "resource": "deployments"}, True),
        ({"verb": "get", "group": "apps", "resource": "deployments"}, False),
    ],
    ids=["allowed", "denied"],
)
async def test_an_access_review_answers_201_whatever_the_verdict(
    world: World, attributes: Obj, allowed: bool
) -> None:
    user = await world.account("alice")
    wanted = attributes | {"namespace": world.namespace, "name": "api"}

    async def verdict() -> bool:
        spec = {"user": user, "resourceAttributes": wanted}
        answer = await world.http.post(ACCESS_REVIEWS, {"spec": spec})
        assert (answer.status, answer.body["kind"]) == (201, "SubjectAccessReview")
        return bool(answer.body["status"]["allowed"])

    async def granted() -> bool:
        act = _act(world)
        return await world.cluster.permits(Identity(username=user), act)

    async with world.granted("alice", [PATCH], world.namespace):
        await world.until(granted)
        assert await verdict() is allowed
