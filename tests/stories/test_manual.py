"""A rollback with curl: what it does, and what it refuses and why."""

import asyncio
from pathlib import Path

import pytest

from tests.stage import NAME, NAMESPACE, UNHURRIED, stage
from tests.virtual import virtual


@virtual
async def test_a_person_rolls_back_to_the_previous_revision(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        status, answer = await on.rollback(replica, wait=True)
        assert (status, answer["phase"], answer["to"]["revision"]) == (200, "recovered", 2)
        assert answer["by"] == "you"
        assert on.image == "v2"
        _, shown = await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}")
        marks = {r["images"][0]["image"]: r["marks"] for r in shown["history"]}
        assert "current" in marks["app:v2"]
        assert "quarantined" in marks["app:v3"]


@virtual
async def test_the_history_shows_images_ages_and_marks(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=100)
        status, shown = await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}")
        assert status == 200
        rows = [
            (r["revision"], r["images"], round(r["age_seconds"], -1), r["marks"])
            for r in shown["history"]
        ]
        image = [{"container": "app", "image": "app:v3"}]
        assert rows[0] == (3, image, 100, ["current", "same_code_as_current"])
        assert [row[::2] for row in rows[1:]] == [(2, 200), (1, 300)]
        assert [row[3] for row in rows[1:]] == [[], []]
        assert shown["current"]["images"] == image


@virtual
async def test_a_rollback_is_answered_when_it_is_applied_or_with_wait_when_it_is_over(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, on.replica(cooldown="1s") as replica:
        await on.release("v1", "v2", "v3")
        on.sandbox.pod_ready_after = 10
        began = on.clock.monotonic()
        status, answer = await on.rollback(replica)
        assert (status, answer["open"], on.image) == (200, True, "v2")
        assert on.clock.monotonic() - began < 5
        await asyncio.sleep(100)
        began = on.clock.monotonic()
        status, answer = await on.rollback(replica, wait=True)
        assert (status, answer["phase"], answer["open"]) == (200, "recovered", False)
        assert on.clock.monotonic() - began > 10
        assert on.image == "v1"


@virtual
async def test_what_is_left_without_quarantine_may_be_gone_back_to(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(cooldown="1s") as replica:
        await on.release("v1", "v2")
        assert (await on.rollback(replica, quarantine=False, wait=True))[0] == 200
        await asyncio.sleep(30)
        status, answer = await on.rollback(replica, to_revision=2, wait=True)
        assert (status, on.image) == (200, "v2"), answer


@virtual
async def test_onto_a_quarantined_revision_it_takes_force(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(cooldown="1s") as replica:
        await on.release("v1", "v2")
        assert (await on.rollback(replica, wait=True))[0] == 200
        await asyncio.sleep(30)
        status, answer = await on.rollback(replica, to_revision=2)
        assert (status, answer["error"]["reason"]) == (409, "no_good_revision")
        assert "force" in answer["error"]["message"]
        assert on.image == "v1"
        assert (await on.rollback(replica, to_revision=2, force=True))[0] == 200
        assert on.image == "v2"


@virtual
async def test_what_holds_the_automation_back_holds_no_person_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(mode="shadow") as replica:
        await on.release("v1", "v2")
        await on.ask(replica, "PUT", "stop", {"reason": "change freeze"})
        await on.ask(
            replica, "POST", f"deployments/{NAMESPACE}/{NAME}/pause", {"reason": "load test"}
        )
        assert (await on.rollback(replica))[0] == 200
        assert on.image == "v1"


@virtual
async def test_what_is_not_ours_is_refused_by_hand_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        status, answer = await on.rollback(replica, force=True)
        assert (status, answer["error"]["reason"]) == (404, "target_not_found")
        for tag in ("v1", "v2"):
            on.sandbox.deploy(NAMESPACE, NAME, f"app:{tag}")
            await asyncio.sleep(20)
        status, answer = await on.rollback(replica, force=True)
        assert (status, answer["error"]["reason"]) == (403, "not_opted_in")
        assert on.template_writes() == []


@virtual
async def test_a_person_rolls_back_to_a_named_revision(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        status, answer = await on.rollback(replica, to_revision=1, expect_current=3)
        assert (status, answer["to"]["revision"]) == (200, 1)
        assert on.image == "v1"


@virtual
async def test_a_dry_run_lets_the_server_judge_and_writes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        on.sandbox.clear_log()
        status, answer = await on.rollback(replica, dry_run=True)
        assert (status, answer["dry_run"], answer["to"]["revision"]) == (200, True, 1)
        dry = [r for r in on.sandbox.requests if r.query.get("dryRun") == "All"]
        assert len(dry) == 1
        await asyncio.sleep(20)
        assert on.template_writes() == []


@virtual
async def test_the_same_key_gets_the_first_answer_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3")
        first = await on.rollback(replica, key="k1")
        again = await on.rollback(replica, key="k1")
        assert (first[0], again[0]) == (200, 200)
        assert first[1]["id"] == again[1]["id"]
        status, answer = await on.rollback(replica, key="k1", force=True)
        assert (status, answer["error"]["reason"]) == (422, "idempotency_key_reused")
        assert len(on.template_writes()) == 1


@virtual
async def test_the_same_key_gets_the_first_refusal_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1) as one, on.replica(2) as two:
        await on.release("v1", "v2")
        first = await on.rollback(one, key="k1", expect_current=1)
        await on.release("v1")
        again = await on.rollback(two, key="k1", expect_current=1)
        assert first == again
        assert (first[0], first[1]["error"]["reason"]) == (409, "current_changed")
        assert on.template_writes() == []


@virtual
async def test_the_same_key_at_two_replicas_at_once_is_one_rollback(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(1) as one, on.replica(2) as two:
        await on.release("v1", "v2", "v3")
        answers = await asyncio.gather(
            *(on.rollback(replica, key="k1") for replica in (one, two) for _ in range(3))
        )
        assert {status for status, _ in answers} <= {200, 202}
        assert len({answer["id"] for _, answer in answers}) == 1
        assert (on.image, len(on.template_writes())) == ("v2", 1)


@pytest.mark.parametrize(
    ("wish", "status", "reason"),
    [
        ({"to_revision": 42}, 404, "unknown_revision"),
        ({"to_revision": 2}, 409, "same_template"),
        ({"expect_current": 1}, 409, "current_changed"),
        ({"expect_current": "nonsense"}, 409, "current_changed"),
    ],
    ids=["unknown revision", "same template", "another number", "another hash"],
)
@virtual
async def test_a_wish_is_refused_with_its_reason(
    tmp_path: Path, wish: dict[str, object], status: int, reason: str
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        answered, answer = await on.rollback(replica, **wish)
        assert (answered, answer["error"]["reason"]) == (status, reason)
        assert on.template_writes() == []


@virtual
async def test_what_kubectl_refuses_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1")
        status, answer = await on.rollback(replica)
        assert (status, answer["error"]["reason"]) == (409, "no_good_revision")
        assert "no rollout history" in answer["error"]["message"]
        await on.release("v2")
        on.sandbox.pause(NAMESPACE, NAME)
        await asyncio.sleep(2)
        status, answer = await on.rollback(replica, force=True)
        assert (status, answer["error"]["reason"]) == (409, "deployment_paused")


@virtual
async def test_a_protected_deployment_needs_force(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", annotations={"rollback-receiver/protected": "migrations"})
        status, answer = await on.rollback(replica)
        assert (status, answer["error"]["reason"]) == (409, "protected")
        assert "force" in answer["error"]["message"]
        assert (await on.rollback(replica, force=True))[0] == 200
        assert on.image == "v1"
