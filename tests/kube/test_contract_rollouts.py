"""What the Deployment controller and kubectl do to revisions, and what our undo makes of it."""

from typing import Any

import pytest

from receiver import rollout as ro
from receiver.errors import Conflict
from tests.kube.http import Obj, add, condition, image_of, replace, set_image
from tests.kube.world import HISTORY, REVISION, World, contract

CAUSE = "kubernetes.io/change-cause"
RECORD = "rollback-receiver/record"


async def _release(world: World, *tags: str, **spec: Any) -> None:
    """Roll images out one after another, each to its end."""
    for tag in tags:
        await world.deploy("api", f"app:{tag}", annotations={CAUSE: f"app:{tag}"}, **spec)
        await world.rolled_out()
        if "bad" not in tag:
            await world.complete()


async def _three(world: World) -> None:
    await _release(world, "v1", "v2", "v3", replicas=1)


def _annotations(obj: Obj) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


# --- revisions


@contract
async def test_a_template_that_comes_back_reuses_its_replicaset_under_a_new_number(
    world: World,
) -> None:
    await _three(world)
    before = await world.replicaset("app:v2")
    await _release(world, "v2")
    assert await world.revisions() == {"1": "app:v1", "3": "app:v3", "4": "app:v2"}
    after = await world.replicaset("app:v2")
    assert (after["metadata"]["name"], after["metadata"]["uid"]) == (
        before["metadata"]["name"],
        before["metadata"]["uid"],
    )
    assert _annotations(after)[HISTORY] == "2"
    await _release(world, "v3", "v2")
    assert _annotations(await world.replicaset("app:v2"))[HISTORY] == "2,4"
    assert HISTORY not in _annotations(await world.replicaset("app:v1"))


@contract
async def test_an_undo_by_template_patch_copies_the_annotations_onto_the_restored_one(
    world: World,
) -> None:
    await _three(world)
    path = world.path("Deployment", world.namespace, "api")
    answer = await world.http.patch(
        path,
        set_image("app:v2"),
        add("/metadata/annotations/rollback-receiver~1record", "ours"),
        replace("/metadata/annotations/kubernetes.io~1change-cause", "back to v2"),
    )
    assert answer.status == 200
    await world.complete()
    restored = _annotations(await world.replicaset("app:v2"))
    assert (restored[REVISION], restored[HISTORY]) == ("4", "2")
    assert (restored[RECORD], restored[CAUSE]) == ("ours", "back to v2")
    assert _annotations(await world.replicaset("app:v3"))[REVISION] == "3"
    assert _annotations(await world.replicaset("app:v3"))[CAUSE] == "app:v3"


@contract
async def test_an_annotation_alone_makes_no_revision_and_labels_do_not_travel(
    world: World,
) -> None:
    await _release(world, "v1", replicas=1)
    path = world.path("Deployment", world.namespace, "api")
    await world.http.patch(
        path, add("/metadata/annotations/n", "x"), add("/metadata/labels/l", "x")
    )
    await world.rolled_out()
    found = await world.replicaset("app:v1")
    assert _annotations(found)["n"] == "x"
    assert "l" not in found["metadata"]["labels"]
    assert await world.revisions() == {"1": "app:v1"}


@contract
async def test_scaling_makes_no_revision(world: World) -> None:
    await _release(world, "v1", replicas=1)
    scale = world.path("Deployment", world.namespace, "api", "scale")
    assert (await world.http.merge(scale, {"spec": {"replicas": 3}})).status == 200
    await world.complete()
    assert await world.revisions() == {"1": "app:v1"}


@contract
async def test_old_revisions_are_pruned_to_the_limit(world: World) -> None:
    await _release(world, "v1", "v2", "v3", "v4", replicas=1, revisionHistoryLimit=1)

    async def pruned() -> bool:
        return await world.revisions() == {"3": "app:v3", "4": "app:v4"}

    await world.until(pruned)
    assert "unable to find specified revision 2" in await world.rollout(
        "undo", "api", "--to-revision=2"
    )
    await world.rolled_out()
    await _undo(world)
    assert image_of(await world.complete()) == "app:v3"


@contract
async def test_with_a_limit_of_none_nothing_is_left_to_go_back_to(world: World) -> None:
    await _release(world, "v1", "v2", replicas=1, revisionHistoryLimit=0)

    async def pruned() -> bool:
        return await world.revisions() == {"2": "app:v2"}

    await world.until(pruned)
    said = await world.rollout("undo", "api")
    assert "no rollout history found" in said
    assert ro.destination(await _look(world), ()) is None


@contract
async def test_a_paused_deployment_is_patched_and_does_not_roll(world: World) -> None:
    await _release(world, "v1", replicas=1)
    await world.rollout("pause", "api")
    path = world.path("Deployment", world.namespace, "api")
    assert (await world.http.patch(path, set_image("app:v2"))).status == 200

    async def seen() -> bool:
        obj = await world.deployment()
        return bool(obj["status"]["observedGeneration"] == obj["metadata"]["generation"])

    await world.until(seen)
    assert await world.revisions() == {"1": "app:v1"}
    await world.rollout("resume", "api")
    await world.complete()
    assert await world.revisions() == {"1": "app:v1", "2": "app:v2"}


# --- what kubectl does


@contract
async def test_kubectl_undo_goes_to_the_second_highest_number(world: World) -> None:
    await _three(world)
    assert "rolled back" in await world.rollout("undo", "api")
    assert image_of(await world.complete()) == "app:v2"
    assert await world.revisions() == {"1": "app:v1", "3": "app:v3", "4": "app:v2"}


@contract
async def test_kubectl_undo_to_a_number_searches_the_numbers_of_today(world: World) -> None:
    await _three(world)
    assert "rolled back" in await world.rollout("undo", "api", "--to-revision=1")
    assert image_of(await world.complete()) == "app:v1"
    gone = await world.rollout("undo", "api", "--to-revision=1")
    assert "unable to find specified revision 1 in history" in gone
    same = await world.rollout("undo", "api", "--to-revision=4")
    assert "skipped rollback (current template already matches revision 4)" in same


@contract
async def test_kubectl_undo_without_a_history_says_so(world: World) -> None:
    await _release(world, "v1", replicas=1)
    assert "no rollout history found" in await world.rollout("undo", "api")


@contract
async def test_kubectl_undo_of_a_paused_deployment_is_refused(world: World) -> None:
    await _three(world)
    await world.rollout("pause", "api")
    said = await world.rollout("undo", "api")
    assert "cannot rollback a paused deployment" in said
    assert image_of(await world.deployment()) == "app:v3"


@contract
async def test_a_naive_second_undo_flips_back_to_the_bad_revision(world: World) -> None:
    await _three(world)
    for image in ("app:v2", "app:v3", "app:v2"):
        await world.rollout("undo", "api")
        assert image_of(await world.complete()) == image
    assert _annotations(await world.replicaset("app:v2"))[HISTORY] == "2,4"


@contract
async def test_kubectl_undo_rewinds_every_annotation_our_record_included(world: World) -> None:
    await _three(world)
    mine = {RECORD: "about v3", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    await world.merge("Deployment", world.namespace, "api", {"metadata": {"annotations": mine}})
    await world.rolled_out()
    before = (await world.deployment())["metadata"]["generation"]
    await world.rollout("undo", "api")
    await world.complete()
    obj = await world.deployment()
    assert RECORD not in _annotations(obj)
    assert _annotations(obj)[CAUSE] == "app:v2"
    assert _annotations(obj)["kubectl.kubernetes.io/last-applied-configuration"] == "{}"
    assert obj["metadata"]["generation"] == before + 1
    await world.rollout("undo", "api")
    assert _annotations(await world.complete())[RECORD] == "about v3"


@contract
async def test_a_restart_is_a_revision_of_the_same_code(world: World) -> None:
    await _release(world, "v1", replicas=1)
    await world.rollout("restart", "api")
    await world.rolled_out()
    await world.complete()
    every = await world.revisions()
    assert every == {"1": "app:v1", "2": "app:v1"}
    found = [obj["spec"]["template"] for obj in await world.list("ReplicaSet", world.namespace)]
    assert len({ro.code_of(template) for template in found}) == 1


# --- our undo


async def _look(world: World) -> ro.Rollout:
    seen = await world.cluster.observe(world.namespace, "api")
    assert seen is not None
    return ro.read(seen.deployment, seen.replicasets)


async def _undo(world: World, to: ro.Revision | None = None) -> int:
    """Send our own patch, to the previous good revision if not told; return the generation."""
    rollout = await _look(world)
    target = to or ro.destination(rollout, ro.left_by_undo(rollout))
    assert target is not None
    record = {"id": "i-1", "intent": "n-1"}
    operations = ro.undo(rollout, target, record=record, cause="undone")
    answer = await world.cluster.patch(world.namespace, "api", operations)
    generation: int = answer["metadata"]["generation"]
    return generation


async def _state_after(
    world: World, generation: int, before: ro.Progressing | None, seconds: float = 30
) -> str:
    """Follow every state that a watch shows, as `rollout status` does; return how it ended."""
    obj = await world.deployment()
    end = world.clock.monotonic() + seconds
    while True:
        version = obj["metadata"]["resourceVersion"]
        async with world.cluster.watch(world.namespace, "api", version) as events:
            state = ro.progress(ro.read(obj, ()), generation, before).state
            if state != "waiting":
                return state
            async for seen in events:
                assert seen is not None
                state = ro.progress(ro.read(seen, ()), generation, before).state
                if state != "waiting":
                    return state
                assert world.clock.monotonic() < end
        obj = await world.deployment()


@contract
async def test_our_undo_does_not_flip_back(world: World) -> None:
    await _three(world)
    await _undo(world)
    assert image_of(await world.complete()) == "app:v2"
    await world.rolled_out()
    await _undo(world)
    assert image_of(await world.complete()) == "app:v1"
    await world.rolled_out()
    rollout = await _look(world)
    assert ro.destination(rollout, ro.left_by_undo(rollout)) is None


@contract
async def test_our_undo_leaves_the_annotations_of_others_alone(world: World) -> None:
    await _three(world)
    theirs = {
        "example.com/owner": "team-a",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    await world.merge("Deployment", world.namespace, "api", {"metadata": {"annotations": theirs}})
    await world.rolled_out()
    await _undo(world)
    await world.complete()
    await world.rolled_out()
    found = _annotations(await world.deployment())
    assert {key: found[key] for key in theirs} == theirs
    assert found[CAUSE] == "undone"
    assert _annotations(await world.replicaset("app:v2"))[CAUSE] == "undone"
    assert _annotations(await world.replicaset("app:v3"))[CAUSE] == "app:v3"


@contract
async def test_a_restart_of_the_bad_release_is_not_what_we_go_back_to(world: World) -> None:
    await _three(world)
    await world.rollout("restart", "api")
    await world.rolled_out()
    await world.complete()
    await _undo(world)
    assert image_of(await world.complete()) == "app:v2"


@contract
async def test_a_restart_is_no_new_release(world: World) -> None:
    await _release(world, "v1", replicas=1)
    began = ro.release_started(await _look(world))
    await world.clock.sleep(1.1)
    await world.rollout("restart", "api")
    await world.rolled_out()
    assert ro.release_started(await _look(world)) == began


@contract
async def test_a_rollout_that_is_half_done_is_undone(world: World) -> None:
    await _release(world, "v1", replicas=4)
    await _release(world, "v2-bad", replicas=4)

    async def stuck() -> bool:
        return bool((await world.deployment())["status"].get("updatedReplicas") == 2)

    await world.until(stuck)
    generation = await _undo(world)
    assert await _state_after(world, generation, None) == "done"
    done = await world.complete()
    assert (image_of(done), done["status"]["readyReplicas"]) == ("app:v1", 4)


STRICT = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


async def _exceeded(world: World) -> ro.Progressing:
    async def exceeded() -> bool:
        found = condition(await world.deployment(), "Progressing")
        return bool(found and found["reason"] == "ProgressDeadlineExceeded")

    await world.until(exceeded)
    found = (await _look(world)).progressing
    assert found is not None
    return found


@contract
async def test_a_deadline_that_the_bad_rollout_missed_says_nothing_of_ours(world: World) -> None:
    deadline = {"progressDeadlineSeconds": 2, "strategy": STRICT}
    await _release(world, "v1", replicas=1, **deadline)
    await _release(world, "v2-bad")
    before = await _exceeded(world)
    generation = await _undo(world)
    assert await _state_after(world, generation, before) == "done"


@contract
async def test_a_destination_that_does_not_start_fails_by_its_own_deadline(world: World) -> None:
    deadline = {"progressDeadlineSeconds": 2, "strategy": STRICT}
    await _release(world, "v1-bad", replicas=1, **deadline)
    await _release(world, "v2")
    generation = await _undo(world)
    assert await _state_after(world, generation, None) == "failed"


@contract
async def test_after_a_persons_undo_our_record_is_gone_from_the_deployment_only(
    world: World,
) -> None:
    await _three(world)
    await _undo(world)
    await world.complete()
    await world.rolled_out()
    await world.rollout("undo", "api")
    await world.complete()
    await world.rolled_out()
    rollout = await _look(world)
    assert image_of({"spec": {"template": rollout.template}}) == "app:v3"
    assert ro.record_in(rollout.annotations) is None
    # The ReplicaSet that we restored still bears it: what became of the intent can be told.
    assert ro.fate(rollout, "n-1") == "applied"


@contract
async def test_an_undo_that_was_voided_never_applies(world: World) -> None:
    await _three(world)
    rollout = await _look(world)
    to = ro.destination(rollout, ())
    assert to is not None
    late = ro.undo(rollout, to, record={"id": "i-1", "intent": "n-1"}, cause="late")
    void = ro.void(rollout, rollout.generation, "n-1")
    await world.cluster.patch(world.namespace, "api", void)
    with pytest.raises(Conflict):
        await world.cluster.patch(world.namespace, "api", late)
    assert image_of(await world.deployment()) == "app:v3"
    assert ro.fate(await _look(world), "n-1") == "voided"


@contract
async def test_a_deployment_made_anew_under_the_same_name_is_not_patched(world: World) -> None:
    await _three(world)
    rollout = await _look(world)
    to = ro.destination(rollout, ())
    assert to is not None
    await world.delete("Deployment", world.namespace, "api")
    await _three(world)
    assert (await _look(world)).generation == rollout.generation
    operations = ro.undo(rollout, to, record={"id": "i", "intent": "n"}, cause="late")
    with pytest.raises(Conflict):
        await world.cluster.patch(world.namespace, "api", operations)
