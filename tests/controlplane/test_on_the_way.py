"""What happens between our read and our write, and to our requests on their way to the API server.

Everything else is real: the API server judges the patch, and its audit log counts.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from tests.controlplane.plane import ControlPlane
from tests.controlplane.road import Fault, Road, road
from tests.controlplane.scene import Scene, ours, scene, tried
from tests.controlplane.world import REAL
from tests.kube.http import image_of, set_image
from tests.stage import NAME

pytestmark = REAL


@contextlib.asynccontextmanager
async def roaded(
    home: Path, plane: ControlPlane, **policy: Any
) -> AsyncIterator[tuple[Scene, Road, app.Replica]]:
    """Set the scene with one replica that takes the road."""
    async with (
        scene(home, plane.connection) as on,
        road(on) as way,
        on.quick(**policy) as replica,
    ):
        await on.ready(replica)
        yield on, way, replica


def _path(on: Scene) -> str:
    return on.world.path("Deployment", on.namespace, NAME)


def _codes(on: Scene, plane: ControlPlane) -> list[int]:
    """Return how the API server answered each template write that we sent."""
    return [r["responseStatus"]["code"] for r in tried(plane.audited(), on.namespace)]


async def test_a_scaling_between_our_read_and_our_write_costs_one_more_try_and_stays(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", replicas=1)
        scale = on.world.path("Deployment", on.namespace, NAME, "scale")
        three = {"spec": {"replicas": 3}}
        way.before(f"PATCH {_path(on)}?", lambda: on.world.http.merge(scale, three))
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "verifying")
        obj = await on.world.complete(NAME)
        assert (image_of(obj), obj["spec"]["replicas"]) == ("app:v1", 3)
        assert _codes(on, plane) == [422, 200]


async def test_a_release_between_our_read_and_our_write_is_not_undone(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", replicas=1)
        way.before(f"PATCH {_path(on)}?", lambda: on.release("v3"))
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "superseded")
        assert await on.image() == "v3"
        assert _codes(on, plane) == [422]


async def test_a_namesake_made_between_our_read_and_our_write_is_not_patched(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", replicas=1)

        async def anew() -> None:
            await on.world.delete("Deployment", on.namespace, NAME)
            await on.release("v1", "v2", replicas=1)

        way.before(f"PATCH {_path(on)}?", anew)
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "gone")
        assert await on.image() == "v2"
        assert _codes(on, plane) == [422]


FAULTS: list[tuple[Fault, int]] = [
    ("status", 429),
    ("status", 500),
    ("status", 503),
    ("reset_before", 0),
    ("reset_after", 0),
    ("cut", 0),
    ("hang_after", 0),
]
IDS = [f"{fault}_{status}" if status else fault for fault, status in FAULTS]


@pytest.mark.parametrize(("fault", "status"), FAULTS, ids=IDS)
async def test_a_fault_on_the_way_of_the_patch_is_no_second_rollback(
    tmp_path: Path, plane: ControlPlane, fault: Fault, status: int
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", "v3", replicas=1)
        way.fault(f"PATCH {_path(on)}?", fault, status)
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        await on.ended(replica, "verifying", 45)
        await on.resolves(replica, began)
        await on.ended(replica, "recovered")
        assert len(way.met) == 1
        assert await on.image() == "v2"
        assert len(ours(plane.audited(), on.namespace)) == 1
        # Whether it had been applied was found out, not tried out.
        assert _codes(on, plane) == [200]


WATCHES: list[tuple[Fault, int]] = [
    ("status", 410),
    ("status", 429),
    ("status", 503),
    ("reset_before", 0),
    ("cut", 0),
]


@pytest.mark.parametrize(
    ("fault", "status"), WATCHES, ids=[f"{f}_{s}" if s else f for f, s in WATCHES]
)
async def test_a_fault_of_the_watch_hides_no_end_of_the_rollout(
    tmp_path: Path, plane: ControlPlane, fault: Fault, status: int
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1-slow-2s", replicas=0)
        await on.release("v2", replicas=1)
        way.fault("watch=", fault, status)
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "verifying")
        assert len(way.met) == 1
        assert len(ours(plane.audited(), on.namespace)) == 1


async def test_a_list_that_is_behind_hides_no_revision_that_a_person_left(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", "v3", replicas=1)
        way.freeze("resourceVersion=0")
        assert (await on.rollback(replica, dry_run=True))[0] == 200
        # A person went back to v2, and away from it again. The list does not show it.
        await on.release("v2", "v3")
        way.met.clear()
        status, answer = await on.rollback(replica, wait=True)
        assert (status, answer["to"]["revision"]) == (200, 1)
        assert way.met
        assert await on.image() == "v1"


async def test_a_list_that_is_behind_leads_an_alert_to_no_older_revision(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", replicas=1)
        way.freeze("resourceVersion=0")
        assert (await on.rollback(replica, dry_run=True))[0] == 200
        await on.release("v3")
        way.met.clear()
        assert await on.fires(replica) == "rolled_back"
        incident = await on.ended(replica, "verifying")
        assert (incident["from"]["revision"], incident["to"]["revision"]) == (3, 2)
        assert way.met
        assert await on.image() == "v2"


@pytest.mark.parametrize(("what", "then"), [("pruned", "v1"), ("edited", "hand-made")])
async def test_a_destination_that_is_another_by_then_is_not_what_is_written(
    tmp_path: Path, plane: ControlPlane, what: str, then: str
) -> None:
    """Between the list and the patch: the chosen ReplicaSet is read by name before."""
    async with roaded(tmp_path, plane) as (on, way, replica):
        await on.release("v1", "v2", "v3", replicas=1)
        name = (await on.world.replicaset("app:v2"))["metadata"]["name"]
        path = on.world.path("ReplicaSet", on.namespace, name)

        async def change() -> None:
            if what == "pruned":
                return await on.world.delete("ReplicaSet", on.namespace, name)
            assert (await on.world.http.patch(path, set_image("app:hand-made"))).status == 200
            return None

        way.before(f"GET {path}", change)
        assert await on.fires(replica) == "rolled_back"
        await on.ended(replica, "verifying")
        assert len(way.met) == 1
        assert await on.image() == then
        assert _codes(on, plane) == [200]
