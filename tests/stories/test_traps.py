"""The classic traps, each a story over HTTP with a name of its own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.sandbox import Fault, Sandbox
from tests.stage import NAME, NAMESPACE, PATIENT, crash, firing, stage, webhook
from tests.virtual import virtual


@virtual
async def test_a_bad_release_is_undone_once_and_people_are_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        assert await on.fires(replica) == "rolled_back"
        assert await on.fires(replica, began) == "already_handled"
        await asyncio.sleep(15)
        assert on.image == "v2"
        await on.resolves(replica, began)
        await asyncio.sleep(10)
        assert (await on.incident(replica))["phase"] == "recovered"
        assert len(on.template_writes()) == 1
        assert [page["event_action"] for page in on.people.pages] == ["trigger", "resolve"]
        assert any("RECOVERED" in message["text"] for _, message in on.people.slack)


@virtual
async def test_undo_twice_does_not_flip_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(cooldown="5s", bake="30s") as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(20)
        await on.resolves(replica, began)
        await asyncio.sleep(60)
        assert await on.fires(replica) == "not_a_new_release"
        await asyncio.sleep(60)
        assert on.image == "v1"
        assert len(on.template_writes()) == 1


@virtual
async def test_an_alert_that_still_fires_after_the_undo_moves_nothing_more(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(replica)
        for _ in range(20):
            await asyncio.sleep(30)
            assert await on.fires(replica, began) == "already_handled"
        assert (await on.incident(replica))["phase"] == "did_not_help"
        assert on.image == "v2"
        assert len(on.template_writes()) == 1
        assert on.people.pages[-1]["event_action"] == "trigger"


@virtual
async def test_two_different_alerts_for_one_bad_release_are_one_rollback(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        now = on.clock.now()
        both = webhook(firing(now), firing(now, alertname="LatencyHigh"))
        _, answer = await on.post(replica, both)
        reasons = [alert["reason"] for alert in answer["alerts"]]
        assert reasons == ["rolled_back", "already_handled"]
        await asyncio.sleep(20)
        assert await on.fires(replica, now, alertname="SaturationHigh") == "already_handled"
        assert on.image == "v2"
        assert len(on.template_writes()) == 1


@virtual
async def test_an_alert_about_a_revision_that_is_not_current_moves_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        old = next(
            rs for rs in on.sandbox.list("ReplicaSet", NAMESPACE) if rs["spec"]["replicas"] == 0
        )
        name = old["metadata"]["name"]
        assert await on.fires(replica, replicaset=name) == "revision_not_current"
        await asyncio.sleep(30)
        assert on.template_writes() == []


@virtual
async def test_a_hotfix_between_read_and_write_is_not_rolled_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")

        def hotfix(verb: str, path: str, stored: object) -> None:
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                on.sandbox.before_commit = None
                on.sandbox.deploy(NAMESPACE, NAME, "app:v3-hotfix")

        on.sandbox.before_commit = hotfix
        await on.fires(replica)
        await asyncio.sleep(60)
        assert on.image == "v3-hotfix"
        assert on.template_writes() == []
        assert (await on.incident(replica))["phase"] == "superseded"


@virtual
async def test_the_first_revision_has_nowhere_to_go(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1")
        assert await on.fires(replica) == "no_good_revision"
        await asyncio.sleep(30)
        assert on.template_writes() == []
        assert len(on.people.pages) == 1


@virtual
async def test_a_pruned_history_has_nowhere_to_go(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", revisionHistoryLimit=0)
        assert await on.fires(replica) == "no_good_revision"
        await asyncio.sleep(30)
        assert on.template_writes() == []


@virtual
async def test_a_restart_is_no_new_release(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica(window="10m") as replica:
        await on.release("v1", "v2")
        await asyncio.sleep(3600)
        on.sandbox.rollout_restart(NAMESPACE, NAME)
        await asyncio.sleep(20)
        assert await on.fires(replica) == "outside_window"
        assert on.template_writes() == []


@virtual
async def test_a_restart_of_a_bad_release_hides_it_not(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.rollout_restart(NAMESPACE, NAME)
        await asyncio.sleep(20)
        assert await on.fires(replica) == "rolled_back"
        await asyncio.sleep(30)
        assert on.image == "v1"
        assert len(on.template_writes()) == 1


@virtual
async def test_a_paused_deployment_is_left_alone(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.pause(NAMESPACE, NAME)
        await asyncio.sleep(1)
        assert await on.fires(replica) == "deployment_paused"
        await asyncio.sleep(30)
        assert on.template_writes() == []


@virtual
async def test_a_person_who_undoes_our_rollback_is_not_fought(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(20)
        assert on.image == "v1"
        on.sandbox.rollout_undo(NAMESPACE, NAME)
        await asyncio.sleep(20)
        assert on.image == "v2"
        for _ in range(5):
            assert await on.fires(replica, began) == "bad_revision_returned"
            await asyncio.sleep(60)
        assert await on.fires(replica) == "bad_revision_returned"
        assert on.image == "v2"
        assert len(on.template_writes()) == 1


@virtual
async def test_a_deployment_made_anew_is_another_one(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        await on.fires(replica)
        on.sandbox.delete("Deployment", NAMESPACE, NAME)
        await on.release("v2")
        assert (await on.incident(replica))["phase"] == "gone"
        assert await on.fires(replica, began) == "predates_release"
        assert on.image == "v2"
        assert on.template_writes() == []


@virtual
async def test_a_stale_progress_deadline_is_not_taken_for_ours(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        strategy = {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }
        more: dict[str, Any] = {"replicas": 1, "strategy": strategy, "progressDeadlineSeconds": 5}
        await on.release("v1", "bad", **more)
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(20)
        await on.resolves(replica, began)
        await asyncio.sleep(10)
        assert on.image == "v1"
        assert (await on.incident(replica))["phase"] == "recovered"


@virtual
async def test_a_destination_that_never_becomes_ready_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("bad", "v2", progressDeadlineSeconds=30)
        await on.fires(replica)
        await asyncio.sleep(180)
        incident = await on.incident(replica)
        assert incident["phase"] == "rollout_failed"
        assert len(on.template_writes()) == 1
        assert "FAILED" in on.people.pages[-1]["payload"]["summary"]


@virtual
async def test_a_canary_alert_never_touches_the_stable_deployment(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica, track="canary") == "not_this_track"
        await asyncio.sleep(30)
        assert on.template_writes() == []


@virtual
async def test_trouble_that_began_before_the_release_is_not_blamed_on_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica, for_="5m") == "predates_release"
        await asyncio.sleep(30)
        assert on.template_writes() == []


@virtual
async def test_trouble_older_than_the_release_that_does_not_end_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica() as replica:
        await on.release("v1", "v2")
        since = on.clock.now()
        assert await on.fires(replica, since, for_="5m") == "predates_release"
        await asyncio.sleep(1300)
        texts = [str(message) for _, message in on.people.slack]
        assert any("inherited_alert" in text for text in texts)
        assert on.template_writes() == []


@virtual
async def test_a_curl_right_after_the_automatic_rollback_is_not_a_second_step(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        await on.fires(replica)
        await asyncio.sleep(6)
        assert on.image == "v2"
        status, answer = await on.rollback(replica)
        assert (status, answer["error"]["reason"]) == (409, "cooldown")
        assert answer["incident"]["to"]["revision"] == 2
        await asyncio.sleep(30)
        assert on.image == "v2"
        assert len(on.template_writes()) == 1


@virtual
async def test_a_reply_lost_after_the_patch_is_no_second_rollback(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        on.sandbox.faults.append(
            Fault(
                match=lambda verb, path: verb == "PATCH" and "/deployments/" in path,
                kind="reset_after",
            )
        )
        began = on.clock.now()
        await on.fires(replica)
        await asyncio.sleep(30)
        assert on.image == "v2"
        await on.resolves(replica, began)
        await asyncio.sleep(10)
        assert (await on.incident(replica))["phase"] == "recovered"
        assert len(on.template_writes()) == 1


@virtual
async def test_another_replica_finishes_what_a_dead_one_began(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1) as first, on.replica(2) as second:
        await on.release("v1", "v2", "v3")
        began = on.clock.now()
        await on.fires(first)
        crash(first)
        await asyncio.sleep(on.timing.lasts + 7)
        assert on.image == "v2"
        await asyncio.sleep(20)
        await on.resolves(second, began)
        await asyncio.sleep(10)
        assert (await on.incident(second))["phase"] == "recovered"
        assert len(on.template_writes()) == 1


@virtual
async def test_two_replicas_that_hear_the_same_roll_back_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1) as first, on.replica(2) as second:
        await on.release("v1", "v2", "v3")
        body = webhook(firing(on.clock.now()))
        answers = await asyncio.gather(
            *(on.post(replica, body) for replica in (first, second) for _ in range(5))
        )
        assert {status for status, _ in answers} == {200}
        reasons = sorted(answer["alerts"][0]["reason"] for _, answer in answers)
        assert reasons == ["already_handled"] * 9 + ["rolled_back"]
        await asyncio.sleep(60)
        assert on.image == "v2"
        assert len(on.template_writes()) == 1


@virtual
async def test_shadow_writes_nothing_and_says_what_it_would(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(mode="shadow") as replica:
        await on.release("v1", "v2")
        assert await on.fires(replica) == "shadow"
        await asyncio.sleep(30)
        assert on.template_writes() == []
        assert [channel for channel, _ in on.people.slack] == ["info"]


@virtual
async def test_the_switch_stops_for_the_whole_episode(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        status, answer = await on.ask(replica, "PUT", "stop", {"reason": "change freeze"})
        assert (status, answer["stopped"]) == (200, True)
        assert await on.fires(replica) == "stopped"
        assert (await on.ask(replica, "DELETE", "stop"))[1]["stopped"] is False
        assert await on.fires(replica, began) == "already_handled"
        await asyncio.sleep(60)
        assert on.template_writes() == []
        assert await on.fires(replica) == "rolled_back"


@pytest.mark.parametrize("kind", ["pod", "replicaset"])
@virtual
async def test_a_pod_or_replicaset_leads_to_its_deployment(tmp_path: Path, kind: str) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        labels = {kind: _of_v2(on.sandbox, kind), "deployment": ""}
        assert await on.fires(replica, None, **labels) == "rolled_back"
        await asyncio.sleep(30)
        assert on.image == "v1"


def _of_v2(sandbox: Sandbox, kind: str) -> str:
    found = sandbox.list({"pod": "Pod", "replicaset": "ReplicaSet"}[kind], NAMESPACE)
    names = [o["metadata"]["name"] for o in found if "'app:v2'" in str(o["spec"])]
    name: str = names[0]
    return name


@virtual
async def test_an_alert_of_another_cluster_moves_nothing_here(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(cluster="eu-1") as replica:
        await on.release("v1", "v2")
        began = on.clock.now()
        assert await on.fires(replica, began, cluster="us-1") == "other_cluster"
        assert await on.fires(replica, began) == "other_cluster"
        await asyncio.sleep(60)
        assert (on.image, on.template_writes()) == ("v2", [])
        # Somebody is waiting for that rollback: the wrong address is told.
        assert any("us-1" in str(message) for _, message in on.people.slack)
        assert await on.fires(replica, began, cluster="eu-1") == "rolled_back"
        await asyncio.sleep(60)
        assert (on.image, len(on.template_writes())) == ("v1", 1)
