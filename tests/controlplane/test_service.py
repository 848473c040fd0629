"""Whole stories on a real API server: the service as it is wired, with the rights we ship."""

import asyncio
from pathlib import Path
from typing import Any

from receiver import app
from tests.controlplane.plane import Connection, ControlPlane
from tests.controlplane.scene import Scene, ours, scene
from tests.controlplane.world import REAL, denying
from tests.kube.http import add
from tests.stage import NAME

pytestmark = REAL


async def _undone(on: Scene, replica: app.Replica) -> dict[str, Any]:
    """Let an alert fire until its rollback is complete."""
    assert await on.fires(replica) == "rolled_back"
    return await on.ended(replica, "verifying")


def _deployment(on: Scene) -> str:
    return on.world.path("Deployment", on.namespace, NAME)


async def test_a_bad_release_is_undone_once_and_people_are_told(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick() as replica:
        await on.release("v1", "v2", "v3-bad", replicas=2)
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        assert await on.fires(replica, began) == "already_handled"
        incident = await on.ended(replica, "verifying")
        assert (incident["from"]["revision"], incident["to"]["revision"]) == (3, 2)
        await on.resolves(replica, began)
        await on.ended(replica, "recovered")
        assert await on.image() == "v2"
        assert len(ours(plane.audited(), on.namespace)) == 1

        async def told() -> bool:
            return [page["event_action"] for page in on.people.pages] == ["trigger", "resolve"]

        await on.world.until(told)
        events = await on.world.list("Event", on.namespace)
        mine = {e["reason"] for e in events if e.get("reportingController") == "rollback-receiver"}
        assert mine


async def test_two_replicas_told_at_once_undo_once(tmp_path: Path, plane: ControlPlane) -> None:
    async with (
        scene(tmp_path, plane.connection) as on,
        on.quick(1) as one,
        on.quick(2) as two,
    ):
        await on.release("v1", "v2", "v3", replicas=1)
        began = on.clock.now()
        said = await asyncio.gather(*(on.fires(r, began) for r in (one, two, one, two)))
        assert set(said) <= {"rolled_back", "already_handled"}
        await on.ended(one, "verifying")
        await asyncio.sleep(1)
        assert await on.image() == "v2"
        assert len(ours(plane.audited(), on.namespace)) == 1
        assert len((await on.ask(two, "GET", "incidents"))[1]["incidents"]) == 1
        events = await on.world.list("Event", on.namespace)
        assert [e.get("action") for e in events].count("RolledBack") == 1


async def test_the_second_undo_of_a_service_does_not_flip_back(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.release("v1", "v2", "v3", replicas=1)
        await _undone(on, replica)
        await on.ended(replica, "did_not_help")
        await asyncio.sleep(1)
        # The restored revision is no new release: an alert about it moves nothing.
        assert await on.fires(replica, alertname="Another") == "not_a_new_release"
        # A person may go on, and goes on to v1, not back to v3.
        status, _ = await on.rollback(replica, wait=True)
        assert status == 200
        assert await on.image() == "v1"


async def test_after_a_persons_undo_back_to_the_bad_one_we_do_not_fight(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.release("v1", "v2", "v3", replicas=1)
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        await on.ended(replica, "verifying")
        await on.world.rollout("undo", NAME)
        await on.world.rolled_out(NAME)
        assert await on.image() == "v3"
        for _ in range(3):
            assert await on.fires(replica, began) == "bad_revision_returned"
        assert await on.fires(replica, alertname="Another") == "bad_revision_returned"
        await asyncio.sleep(1)
        assert await on.image() == "v3"


async def test_a_restart_of_the_bad_release_is_undone_with_it(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.release("v1", "v2", replicas=1)
        await on.world.rollout("restart", NAME)
        await on.world.rolled_out(NAME)
        await on.world.complete(NAME)
        await _undone(on, replica)
        assert await on.image() == "v1"


async def test_a_hotfix_between_the_decision_and_the_patch_is_not_undone(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick(settle="2s") as replica:
        await on.release("v1", "v2", replicas=1)
        assert await on.fires(replica) == "rolled_back"
        await on.release("v3")
        await on.ended(replica, "superseded")
        assert await on.image() == "v3"
        assert ours(plane.audited(), on.namespace) == []


async def test_an_autoscaler_between_the_decision_and_the_patch_is_no_obstacle(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick(settle="1s") as replica:
        await on.release("v1", "v2", replicas=1)
        assert await on.fires(replica) == "rolled_back"
        scaled = on.world.path("Deployment", on.namespace, NAME, "scale")
        for replicas in (2, 3, 2, 3):
            await on.world.http.merge(scaled, {"spec": {"replicas": replicas}})
            await asyncio.sleep(0.3)
        await on.ended(replica, "verifying")
        obj = await on.world.deployment(NAME)
        assert (await on.image(), obj["spec"]["replicas"]) == ("v1", 3)
        assert len(ours(plane.audited(), on.namespace)) == 1


async def test_a_destination_that_never_gets_ready_ends_as_failed_and_stays(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick() as replica:
        strict = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        deadline = {"progressDeadlineSeconds": 3, "strategy": strict}
        await on.release("v0", "v1-bad", "v2", replicas=1, **deadline)
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "rollout_failed")
        assert await on.fires(replica, alertname="Another") != "rolled_back"
        await asyncio.sleep(1)
        assert await on.image() == "v1-bad"
        assert len(ours(plane.audited(), on.namespace)) == 1
        _, shown = await on.ask(replica, "GET", f"deployments/{on.namespace}/{NAME}")
        marks = {r["images"][0]["image"]: r["marks"] for r in shown["history"]}
        assert "quarantined" in marks["app:v2"]
        assert on.people.pages[-1]["event_action"] == "trigger"


async def test_a_deadline_missed_by_the_bad_rollout_is_not_taken_for_ours(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        strict = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        deadline = {"progressDeadlineSeconds": 2, "strategy": strict}
        await on.release("v1", "v2-bad", replicas=1, **deadline)
        await asyncio.sleep(3.5)
        await _undone(on, replica)
        assert await on.image() == "v1"


async def test_a_deployment_made_anew_while_we_settle_is_not_touched(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick(settle="3s") as replica:
        await on.release("v1", "v2", replicas=1)
        assert await on.fires(replica) == "rolled_back"
        await on.world.delete("Deployment", on.namespace, NAME)
        await on.release("v1", "v2", replicas=1)
        await asyncio.sleep(4)
        assert await on.image() == "v2"
        assert ours(plane.audited(), on.namespace) == []


async def test_a_deployment_made_anew_while_we_follow_is_no_success(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick() as replica:
        await on.release("v1-slow-20s", replicas=0)
        await on.release("v2", replicas=1)
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "following")
        await on.world.delete("Deployment", on.namespace, NAME)
        await on.release("v1-slow-20s", replicas=0)
        incident = await on.ended(replica, "gone")
        assert "gone" in incident["detail"]
        assert len(ours(plane.audited(), on.namespace)) == 1


async def test_a_policy_that_denies_us_at_length_is_told_in_short(
    tmp_path: Path, plane: ControlPlane
) -> None:
    long = "this cluster does not let anybody touch a template after hours " * 150
    async with scene(tmp_path, plane.connection) as on, on.quick() as replica:
        await on.release("v1", "v2", replicas=1)
        rule = "object.spec.template == oldObject.spec.template"
        async with denying(on.world, rule, long):
            assert await on.fires(replica) == "rolled_back"
            incident = await on.ended(replica, "refused")
            assert incident["reason"] == "rejected"
            status, body = await on.rollback(replica)
            assert (status, body["error"]["reason"]) == (409, "rejected")

        async def told() -> bool:
            return bool(on.people.pages) and bool(on.people.slack)

        await on.world.until(told)
        journals = await on.world.list("ConfigMap", on.state_namespace)
        events = await on.world.list("Event", on.namespace)
        mine = [e for e in events if e.get("reportingController") == "rollback-receiver"]
        for said in (incident, body, *on.people.pages, *on.people.slack, *journals, *mine):
            assert long[:200] not in str(said)
        assert await on.image() == "v2"


async def test_the_switch_holds_a_decided_rollback_back(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick(settle="2s") as replica:
        await on.release("v1", "v2", replicas=1)
        assert await on.fires(replica) == "rolled_back"
        status, _ = await on.ask(replica, "PUT", "stop", {"reason": "we look first"})
        assert status == 200
        await on.ended(replica, "refused")
        assert await on.image() == "v2"
        assert ours(plane.audited(), on.namespace) == []


async def test_a_manual_rollback_says_what_kubectl_says(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.release("v1", replicas=1)
        status, body = await on.rollback(replica)
        assert (status, body["error"]["reason"]) == (409, "no_good_revision")
        await on.release("v2", "v3")
        status, body = await on.rollback(replica, to_revision=9)
        assert (status, body["error"]["reason"]) == (404, "unknown_revision")
        status, body = await on.rollback(replica, to_revision=3)
        assert (status, body["error"]["reason"]) == (409, "same_template")
        await on.world.rollout("pause", NAME)
        status, body = await on.rollback(replica)
        assert (status, body["error"]["reason"]) == (409, "deployment_paused")
        await on.world.rollout("resume", NAME)
        await on.world.rolled_out(NAME)
        status, body = await on.rollback(replica, to_revision=1, dry_run=True)
        assert (status, await on.image()) == (200, "v3")
        status, body = await on.rollback(replica, to_revision=1, wait=True)
        assert (status, await on.image()) == (200, "v1")
        _, found = await on.ask(replica, "GET", f"deployments/{on.namespace}/{NAME}")
        assert [r["revision"] for r in found["history"]] == [4, 3, 2]


async def test_an_alert_that_names_a_pod_finds_its_revision(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.release("v1", "v2", replicas=1)
        (pod,) = [
            p["metadata"]["name"]
            for p in await on.world.list("Pod", on.namespace)
            if p["spec"]["containers"][0]["image"] == "app:v2"
        ]
        assert await on.fires(replica, deployment="", pod=pod) == "rolled_back"
        await on.ended(replica, "verifying")
        assert await on.image() == "v1"


async def test_annotations_of_others_and_their_writes_survive(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.release("v1", "v2", replicas=1)
        theirs = add("/metadata/annotations/example.com~1owner", "team-a")
        assert (await on.world.http.patch(_deployment(on), theirs)).status == 200
        await on.world.rolled_out(NAME)
        await _undone(on, replica)
        obj = await on.world.deployment(NAME)
        assert obj["metadata"]["annotations"]["example.com/owner"] == "team-a"
        said = await on.world.kubectl("rollout", "history", f"deployment/{NAME}")
        assert "rollback from revision 2 to 1" in said
        await on.release("v3")
        assert sorted(await on.world.revisions(NAME)) == ["2", "3", "4"]
