"""Conditions of a Deployment, and when a rollout is late."""

from typing import Any

import pytest

from receiver.sandbox.conditions import NO_DEADLINE
from tests.kube.http import add, condition, image_of, set_image
from tests.sandbox.api import API, DEPLOYMENTS, NAMESPACE, Api, on_sandbox

ONE_BY_ONE = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
}


def progressing(obj: Any) -> tuple[str, str]:
    found = condition(obj, "Progressing")
    assert found is not None
    return found["status"], found["reason"]


def available(obj: Any) -> tuple[str, str]:
    found = condition(obj, "Available")
    assert found is not None
    return found["status"], found["reason"]


def reasons(api: Api) -> list[str]:
    """Return the reasons of Progressing in the order they were written."""
    found: list[str] = []
    for write in api.sandbox.writes:
        if write.kind == "Deployment" and write.after is not None:
            now = condition(write.after, "Progressing")
            if now is not None and found[-1:] != [now["reason"]]:
                found.append(now["reason"])
    return found


@on_sandbox
async def test_a_rollout_tells_how_far_it_is(api: Api) -> None:
    await api.deployed()
    assert reasons(api) == ["NewReplicaSetCreated", "ReplicaSetUpdated", "NewReplicaSetAvailable"]
    assert progressing(api.api()) == ("True", "NewReplicaSetAvailable")
    assert available(api.api()) == ("True", "MinimumReplicasAvailable")
    api.sandbox.clear_log()
    await api.deployed("app:v2")
    assert reasons(api)[-1] == "NewReplicaSetAvailable"
    api.sandbox.clear_log()
    await api.deployed("app:v1")
    # A known template was not created: there is no such reason, and none that it was found.
    assert "NewReplicaSetCreated" not in reasons(api)


@on_sandbox
async def test_availability_is_lost_and_found(api: Api) -> None:
    api.sandbox.deploy(NAMESPACE, "api", "app:v1")
    await api.clock.sleep(0.1)
    assert available(api.api()) == ("False", "MinimumReplicasUnavailable")
    await api.sandbox.settled()
    assert available(api.api()) == ("True", "MinimumReplicasAvailable")
    await api.deployed("app:bad", strategy={"type": "Recreate"})
    assert available(api.api()) == ("False", "MinimumReplicasUnavailable")


@on_sandbox
async def test_a_rollout_without_progress_is_late_after_its_deadline(api: Api) -> None:
    await api.deployed()
    api.sandbox.deploy(NAMESPACE, "api", "app:bad", progressDeadlineSeconds=60)
    await api.sandbox.settled()
    began = api.clock.monotonic()
    await api.clock.sleep(58)
    assert progressing(api.api())[0] == "True"
    await api.clock.sleep(4)
    assert progressing(api.api()) == ("False", "ProgressDeadlineExceeded")
    late = condition(api.api(), "Progressing")
    assert late is not None
    assert late["message"].endswith("has timed out progressing.")
    # Once said it stays, and nobody is woken any more.
    version = api.api()["metadata"]["resourceVersion"]
    await api.clock.sleep(3600)
    assert api.api()["metadata"]["resourceVersion"] == version
    assert api.clock.monotonic() - began > 3600


@on_sandbox
async def test_each_step_forward_begins_the_deadline_anew(api: Api) -> None:
    await api.deployed(replicas=2, strategy=ONE_BY_ONE)
    slow = {"progressDeadlineSeconds": 40, "strategy": ONE_BY_ONE}
    await api.deployed("app:slow-30s", **slow)
    # Sixty seconds in all, thirty for each pod.
    assert progressing(api.api()) == ("True", "NewReplicaSetAvailable")
    assert "ProgressDeadlineExceeded" not in reasons(api)


@on_sandbox
async def test_the_largest_deadline_means_that_none_is_kept(api: Api) -> None:
    await api.deployed("app:bad", progressDeadlineSeconds=NO_DEADLINE)
    await api.clock.sleep(24 * 3600)
    assert condition(api.api(), "Progressing") is None


@on_sandbox
async def test_who_gets_a_deadline_later_begins_with_the_replicaset_that_is_there(api: Api) -> None:
    await api.deployed(progressDeadlineSeconds=NO_DEADLINE)
    api.sandbox.clear_log()
    await api.deployed(progressDeadlineSeconds=60)
    assert reasons(api) == ["FoundNewReplicaSet", "NewReplicaSetAvailable"]


@on_sandbox
async def test_a_pause_stops_the_clock_of_the_deadline(api: Api) -> None:
    await api.deployed()
    api.sandbox.deploy(NAMESPACE, "api", "app:bad", progressDeadlineSeconds=60)
    await api.clock.sleep(30)
    api.sandbox.pause(NAMESPACE, "api")
    await api.clock.sleep(300)
    assert progressing(api.api()) == ("Unknown", "DeploymentPaused")
    api.sandbox.resume(NAMESPACE, "api")
    await api.clock.sleep(50)
    assert progressing(api.api()) == ("Unknown", "DeploymentResumed")
    await api.clock.sleep(20)
    assert progressing(api.api()) == ("False", "ProgressDeadlineExceeded")


async def late(api: Api) -> Any:
    """Deploy something bad and wait for its deadline; one pod, one more at a time."""
    await api.deployed(replicas=1, strategy=ONE_BY_ONE, progressDeadlineSeconds=5)
    await api.deployed("app:bad")
    await api.clock.sleep(10)
    assert progressing(api.api()) == ("False", "ProgressDeadlineExceeded")
    return condition(api.api(), "Progressing")


@on_sandbox
async def test_a_stale_deadline_outlives_the_undo_by_a_moment(api: Api) -> None:
    stale = await late(api)
    since, generation = api.api()["metadata"]["resourceVersion"], api.generation()
    undone = await api.patch(API, set_image("app:v1"))
    assert undone.body["metadata"]["generation"] == generation + 1
    seen = []
    query = {"resourceVersion": since, "timeoutSeconds": 10}
    async with api.watch(DEPLOYMENTS, **query) as events:
        while event := await events.next():
            obj = event["object"]
            assert image_of(obj) == "app:v1"
            caught_up = obj["status"]["observedGeneration"] == generation + 1
            found = condition(obj, "Progressing")
            assert found is not None
            if found["reason"] == "ProgressDeadlineExceeded":
                assert found["lastUpdateTime"] == stale["lastUpdateTime"]
            seen.append((caught_up, found["reason"]))
    # It is there although the new generation was observed: whoever trusts it reports a failure.
    assert (True, "ProgressDeadlineExceeded") in seen
    assert seen[-1] == (True, "NewReplicaSetAvailable")
    assert seen.index((True, "ProgressDeadlineExceeded")) < len(seen) - 1


@on_sandbox
async def test_a_new_template_begins_a_new_deadline(api: Api) -> None:
    await late(api)
    began = api.clock.monotonic()
    await api.deployed("app:bad-again", progressDeadlineSeconds=30)
    assert progressing(api.api())[0] == "True"
    await api.clock.sleep(28)
    assert progressing(api.api())[0] == "True"
    await api.clock.sleep(5)
    assert progressing(api.api()) == ("False", "ProgressDeadlineExceeded")
    assert api.clock.monotonic() - began < 40


@on_sandbox
async def test_settled_does_not_wait_for_deadlines(api: Api) -> None:
    await api.deployed()
    await api.deployed("app:bad", progressDeadlineSeconds=500)
    assert api.clock.monotonic() < 5


@on_sandbox
@pytest.mark.parametrize("replicas", [0, 1, 3])
async def test_counts_of_zero_are_left_out(api: Api, replicas: int) -> None:
    await api.deployed("app:bad", replicas=replicas)
    status = api.api()["status"]
    assert status.get("unavailableReplicas", 0) == replicas
    assert "availableReplicas" not in status
    assert "readyReplicas" not in status
    assert ("replicas" in status) is (replicas > 0)
    done = progressing(api.api())[1] == "NewReplicaSetAvailable"
    assert done is (replicas == 0)


@on_sandbox
async def test_an_annotation_is_observed_without_a_rollout(api: Api) -> None:
    await api.deployed()
    before = api.replicaset("app:v1")["spec"]
    await api.patch(API, add("/metadata/annotations/note", "x"))
    assert api.api()["status"]["observedGeneration"] < api.generation()
    await api.sandbox.settled()
    assert api.api()["status"]["observedGeneration"] == api.generation()
    assert api.replicaset("app:v1")["spec"] == before
