"""The Deployment controller: which ReplicaSet is current, its number, its size, its past."""

from typing import Any

import pytest

from receiver.sandbox.revisions import HISTORY, REVISION, annotated, proportions
from tests.kube.http import add, condition, image_of, replace, set_image
from tests.sandbox.api import API, NAMESPACE, Api, on_sandbox


def sizes(api: Api) -> dict[str, int]:
    return {
        image_of(rs): rs["spec"]["replicas"] for rs in api.sandbox.list("ReplicaSet", NAMESPACE)
    }


def annotations(obj: Any) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


@on_sandbox
async def test_a_new_template_makes_a_replicaset_named_by_its_hash(api: Api) -> None:
    await api.deployed(track="stable")
    replicaset = api.replicaset("app:v1")
    labels = replicaset["metadata"]["labels"]
    digest = labels["pod-template-hash"]
    assert replicaset["metadata"]["name"] == f"api-{digest}"
    assert labels == {"app": "api", "track": "stable", "pod-template-hash": digest}
    assert replicaset["spec"]["selector"]["matchLabels"] == labels
    assert replicaset["spec"]["template"]["metadata"]["labels"] == labels
    (owner,) = replicaset["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Deployment", api.api()["metadata"]["uid"])
    assert owner["controller"] is True
    pods = api.sandbox.list("Pod", NAMESPACE)
    assert len(pods) == 3
    assert {pod["metadata"]["labels"]["pod-template-hash"] for pod in pods} == {digest}


@on_sandbox
async def test_revisions_count_up_and_reach_the_deployment_one_write_later(api: Api) -> None:
    await api.deployed()
    await api.deployed("app:v2")
    assert api.revisions() == {"1": "app:v1", "2": "app:v2"}
    assert annotations(api.api())[REVISION] == "2"
    api.sandbox.clear_log()
    await api.deployed("app:v1")
    assert api.revisions() == {"2": "app:v2", "3": "app:v1"}
    told = [
        (write.kind, annotations(write.after)[REVISION])
        for write in api.sandbox.writes
        if write.kind != "Pod" and annotations(write.before)[REVISION] != "3"
    ]
    # First the ReplicaSet has the new number, and only a later write the Deployment.
    assert told.index(("ReplicaSet", "3")) < told.index(("Deployment", "3"))


@on_sandbox
async def test_a_known_template_is_used_again_and_renumbered(api: Api) -> None:
    await api.deployed()
    first = api.replicaset("app:v1")
    await api.deployed("app:v2")
    await api.deployed("app:v3")
    assert HISTORY not in annotations(first)
    await api.deployed("app:v2")
    assert api.revisions() == {"1": "app:v1", "3": "app:v3", "4": "app:v2"}
    again = api.replicaset("app:v2")
    assert annotations(again)[HISTORY] == "2"
    await api.deployed("app:v3")
    await api.deployed("app:v2")
    assert annotations(api.replicaset("app:v2"))[HISTORY] == "2,4"
    assert again["metadata"]["uid"] == api.replicaset("app:v2")["metadata"]["uid"]
    assert HISTORY not in annotations(api.replicaset("app:v1"))


def test_the_history_of_revisions_has_2000_characters_at_most() -> None:
    deployment = {"metadata": {}, "spec": {"replicas": 1, "strategy": {"type": "Recreate"}}}
    replicaset: Any = {"metadata": {"annotations": {REVISION: "1000"}}}
    for number in range(1001, 2000):
        mine = annotated(deployment, replicaset, number, exists=True)
        replicaset = {"metadata": {"annotations": mine}}
    history = annotations(replicaset)[HISTORY]
    assert 1990 < len(history) <= 2000
    assert history.endswith(",1997,1998")
    assert not history.startswith("1000,")


@on_sandbox
async def test_annotations_travel_to_the_new_replicaset_but_for_the_controllers_own(
    api: Api,
) -> None:
    await api.deployed(annotations={"kubernetes.io/change-cause": "v1", "team": "shop"})
    first = annotations(api.replicaset("app:v1"))
    assert (first["kubernetes.io/change-cause"], first["team"]) == ("v1", "shop")
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    await api.deployed("app:v2", annotations={"kubernetes.io/change-cause": "v2", applied: "{}"})
    second = annotations(api.replicaset("app:v2"))
    assert second["kubernetes.io/change-cause"] == "v2"
    assert applied not in second
    assert annotations(api.replicaset("app:v1")) | {HISTORY: ""} == first | {HISTORY: ""}
    # An annotation alone reaches the current one too; labels do not.
    await api.patch(API, add("/metadata/annotations/note", "x"), add("/metadata/labels/l", "x"))
    await api.sandbox.settled()
    current = api.replicaset("app:v2")
    assert annotations(current)["note"] == "x"
    assert "l" not in current["metadata"]["labels"]
    assert annotations(current)["deployment.kubernetes.io/desired-replicas"] == "3"
    assert annotations(current)["deployment.kubernetes.io/max-replicas"] == "4"


@on_sandbox
@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "least"),
    [(1, 0, 5, 4), (0, 1, 4, 3), ("25%", "25%", 5, 3), ("30%", "30%", 6, 3), ("100%", 0, 8, 4)],
)
async def test_a_rollout_goes_step_by_step_within_its_bounds(
    api: Api, surge: Any, unavailable: Any, most: int, least: int
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    await api.deployed(replicas=4, strategy=strategy)
    api.sandbox.clear_log()
    await api.deployed("app:v2")
    alive, available, seen_most, seen_least = 4, 4, 4, 4
    for write in api.sandbox.writes:
        if write.kind != "Pod":
            continue
        alive += (write.before is None) - (write.after is None)
        available += is_ready(write.after) - is_ready(write.before)
        seen_most, seen_least = max(seen_most, alive), min(seen_least, available)
    assert (seen_most, seen_least) == (most, least)
    assert sizes(api) == {"app:v1": 0, "app:v2": 4}
    assert api.api()["status"]["availableReplicas"] == 4


def is_ready(pod: Any) -> bool:
    conditions = ((pod or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@on_sandbox
async def test_a_bad_image_stops_a_rollout_where_availability_allows_no_more(api: Api) -> None:
    await api.deployed(replicas=4)
    await api.deployed("app:bad")
    status = api.api()["status"]
    assert (status["updatedReplicas"], status["availableReplicas"]) == (2, 3)
    assert (status["replicas"], status["unavailableReplicas"]) == (5, 2)
    assert sizes(api) == {"app:v1": 3, "app:bad": 2}


@on_sandbox
async def test_broken_pods_are_the_first_to_go(api: Api) -> None:
    await api.deployed(replicas=4)
    await api.deployed("app:bad")
    api.sandbox.clear_log()
    await api.deployed("app:v1")
    assert sizes(api) == {"app:v1": 4, "app:bad": 0}
    ended = [is_ready(w.before) for w in api.sandbox.writes if w.kind == "Pod" and w.after is None]
    assert ended == [False, False]


@on_sandbox
async def test_pods_that_crash_leave_a_rollout_unfinished(api: Api) -> None:
    await api.deployed(replicas=2)
    await api.deployed("app:crash")
    crashed = [p for p in api.sandbox.list("Pod", NAMESPACE) if not is_ready(p)]
    assert crashed
    (status,) = crashed[0]["status"]["containerStatuses"]
    assert (status["restartCount"], status["state"]["waiting"]["reason"]) == (1, "CrashLoopBackOff")


@on_sandbox
async def test_a_slow_image_takes_its_time(api: Api) -> None:
    began = api.clock.monotonic()
    await api.deployed("app:slow-30s", replicas=1)
    assert 30 <= api.clock.monotonic() - began < 31
    assert api.api()["status"]["readyReplicas"] == 1


@on_sandbox
async def test_min_ready_seconds_are_waited_for(api: Api) -> None:
    began = api.clock.monotonic()
    api.sandbox.deploy(NAMESPACE, "api", "app:v1", replicas=1, minReadySeconds=20)
    await api.clock.sleep(10)
    assert api.api()["status"]["readyReplicas"] == 1
    assert "availableReplicas" not in api.api()["status"]
    await api.sandbox.settled()
    assert 19 <= api.clock.monotonic() - began < 22
    assert api.api()["status"]["availableReplicas"] == 1


@on_sandbox
async def test_recreate_ends_all_pods_before_it_starts_new_ones(api: Api) -> None:
    await api.deployed(strategy={"type": "Recreate"})
    api.sandbox.clear_log()
    await api.deployed("app:v2")
    steps = [w.before is None for w in api.sandbox.writes if w.kind == "Pod"]
    created = [index for index, is_new in enumerate(steps) if is_new]
    deleted = [
        index
        for index, write in enumerate(w for w in api.sandbox.writes if w.kind == "Pod")
        if write.after is None
    ]
    assert (len(created), len(deleted)) == (3, 3)
    assert max(deleted) < min(created)
    assert api.revisions() == {"1": "app:v1", "2": "app:v2"}


@on_sandbox
async def test_scaling_makes_no_revision(api: Api) -> None:
    await api.deployed()
    api.sandbox.scale(NAMESPACE, "api", 6)
    await api.sandbox.settled()
    assert sizes(api) == {"app:v1": 6}
    assert api.revisions() == {"1": "app:v1"}
    assert api.api()["status"]["availableReplicas"] == 6
    api.sandbox.scale(NAMESPACE, "api", 0)
    await api.sandbox.settled()
    assert (sizes(api), api.sandbox.list("Pod", NAMESPACE)) == ({"app:v1": 0}, [])


@on_sandbox
async def test_scaling_in_the_middle_of_a_rollout_is_spread(api: Api) -> None:
    await api.deployed(replicas=10)
    await api.deployed("app:bad")
    before = sizes(api)
    assert before == {"app:v1": 8, "app:bad": 5}
    api.sandbox.scale(NAMESPACE, "api", 20)
    await api.sandbox.settled()
    after = sizes(api)
    assert sum(after.values()) == 25
    assert after["app:v1"] > before["app:v1"]
    assert after["app:bad"] > before["app:bad"]


def test_a_new_size_is_spread_in_proportion() -> None:
    def sized(name: str, replicas: int, created: int) -> Any:
        meta = {
            "name": name,
            "creationTimestamp": f"2026-01-01T00:00:0{created}Z",
            "annotations": {"deployment.kubernetes.io/max-replicas": "10"},
        }
        return {"metadata": meta, "spec": {"replicas": replicas}}

    deployment = {
        "spec": {"replicas": 20, "strategy": {"type": "Recreate"}},
        "metadata": {},
        "status": {"replicas": 10},
    }
    spread = proportions(deployment, [sized("old", 5, 1), sized("new", 5, 2)])
    assert {rs["metadata"]["name"]: size for rs, size in spread} == {"old": 10, "new": 10}
    deployment["spec"] = {"replicas": 0, "strategy": {"type": "Recreate"}}
    spread = proportions(deployment, [sized("old", 5, 1), sized("new", 5, 2)])
    assert [size for _, size in spread] == [0, 0]


@on_sandbox
async def test_a_paused_deployment_scales_and_does_not_roll(api: Api) -> None:
    await api.deployed()
    api.sandbox.pause(NAMESPACE, "api")
    await api.deployed("app:v2", replicas=5)
    assert api.revisions() == {"1": "app:v1"}
    assert sizes(api) == {"app:v1": 5}
    paused = condition(api.api(), "Progressing")
    assert paused is not None
    assert (paused["status"], paused["reason"]) == ("Unknown", "DeploymentPaused")
    assert api.api()["status"]["observedGeneration"] == api.generation()
    api.sandbox.resume(NAMESPACE, "api")
    await api.sandbox.settled()
    assert sizes(api) == {"app:v1": 0, "app:v2": 5}


@on_sandbox
async def test_old_replicasets_are_pruned_when_a_rollout_is_complete(api: Api) -> None:
    for number in range(1, 6):
        await api.deployed(f"app:v{number}", revisionHistoryLimit=2)
    assert api.revisions() == {"3": "app:v3", "4": "app:v4", "5": "app:v5"}
    await api.deployed("app:v3")
    assert set(api.revisions()) == {"4", "5", "6"}
    # While a rollout is under way nothing is pruned, and never what still has pods.
    await api.deployed("app:bad")
    assert set(api.revisions()) == {"4", "5", "6", "7"}


@on_sandbox
async def test_with_a_limit_of_0_nothing_is_left_to_go_back_to(api: Api) -> None:
    await api.deployed(revisionHistoryLimit=0)
    await api.deployed("app:v2")
    assert api.revisions() == {"2": "app:v2"}


@on_sandbox
async def test_a_stopped_controller_is_behind_and_catches_up(api: Api) -> None:
    await api.deployed()
    api.sandbox.controller_running = False
    api.sandbox.deploy(NAMESPACE, "api", "app:v2")
    await api.sandbox.settled()
    await api.clock.sleep(100)
    assert not api.sandbox.controller_running
    assert api.api()["status"]["observedGeneration"] == api.generation() - 1
    assert api.revisions() == {"1": "app:v1"}
    api.sandbox.controller_running = True
    await api.sandbox.settled()
    assert api.api()["status"]["observedGeneration"] == api.generation()
    assert sizes(api) == {"app:v1": 0, "app:v2": 3}


@on_sandbox
async def test_a_deployment_owns_by_uid_not_by_name_or_label(api: Api) -> None:
    await api.deployed()
    stranger = api.replicaset("app:v1")
    body = {
        "metadata": {"name": "stranger", "labels": stranger["metadata"]["labels"]},
        "spec": stranger["spec"] | {"replicas": 0},
    }
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"
    assert (await api.post(path, body)).status == 201
    api.sandbox.delete("ReplicaSet", NAMESPACE, stranger["metadata"]["name"])
    await api.sandbox.settled()
    owned = [
        rs["metadata"]["name"]
        for rs in api.sandbox.list("ReplicaSet", NAMESPACE)
        if rs["metadata"].get("ownerReferences")
    ]
    assert owned == [stranger["metadata"]["name"]]
    assert len(api.sandbox.list("Pod", NAMESPACE)) == 3


@on_sandbox
async def test_a_name_that_is_taken_is_a_collision_and_gives_another_hash(api: Api) -> None:
    await api.deployed(replicas=0)
    name = api.replicaset("app:v1")["metadata"]["name"]
    spec = api.replicaset("app:v1")["spec"]
    api.sandbox.delete("Deployment", NAMESPACE, "api")
    await api.sandbox.settled()
    api.sandbox.create(
        "ReplicaSet", {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    )
    await api.deployed(replicas=1)
    assert api.api()["status"]["collisionCount"] == 1
    assert api.api()["status"]["availableReplicas"] == 1
    assert name in [rs["metadata"]["name"] for rs in api.sandbox.list("ReplicaSet", NAMESPACE)]
    assert len(api.sandbox.list("ReplicaSet", NAMESPACE)) == 2


@on_sandbox
async def test_a_pod_that_is_deleted_comes_again(api: Api) -> None:
    await api.deployed()
    (first, *_) = api.sandbox.list("Pod", NAMESPACE)
    name = first["metadata"]["name"]
    assert (await api.send("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")).status == 200
    await api.sandbox.settled()
    pods = [pod["metadata"]["name"] for pod in api.sandbox.list("Pod", NAMESPACE)]
    assert (len(pods), name in pods) == (3, False)


@on_sandbox
async def test_a_pod_may_be_made_ready_by_hand(api: Api) -> None:
    await api.deployed("app:bad", replicas=1)
    (pod,) = api.sandbox.list("Pod", NAMESPACE)
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T01:00:00Z"}]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/status"
    body = {"status": {"phase": "Running", "conditions": ready}}
    assert (await api.merge(path, body)).status == 200
    await api.sandbox.settled()
    assert api.api()["status"]["availableReplicas"] == 1
    done = condition(api.api(), "Progressing")
    assert done is not None
    assert done["reason"] == "NewReplicaSetAvailable"


@on_sandbox
async def test_a_rollout_that_is_replaced_half_way_ends_with_the_last_template(api: Api) -> None:
    await api.deployed(replicas=4)
    await api.deployed("app:bad")
    await api.patch(API, set_image("app:v3"), replace("/spec/replicas", 6))
    await api.sandbox.settled()
    assert sizes(api) == {"app:v1": 0, "app:bad": 0, "app:v3": 6}
