"""A rollback with curl: what it does, and what it refuses and why."""

import asyncio
from pathlib import Path

import pytest

from tests.stage import NAME, NAMESPACE, stage
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
