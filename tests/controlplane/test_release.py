"""A staged release on a real API server: shares, approvals by its tokens, everybody, and back."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from receiver import app
from tests.controlplane.plane import Connection
from tests.controlplane.scene import Scene, scene
from tests.controlplane.world import REAL
from tests.kube.http import Obj, image_of
from tests.prometheus.double import RULE, SIDE, Double
from tests.stage import NAME, OPTED_IN

pytestmark = REAL
CANARY, US = f"{NAME}-canary", "rollback-receiver"
CHECK = "CanaryErrorRatioHigh"
MAY_PATCH = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]


@contextlib.asynccontextmanager
async def planned(home: Path, where: Connection) -> AsyncIterator[tuple[Scene, app.Replica]]:
    """Set the scene for a plan of seconds: nine stable pods, and a canary that has none yet."""
    monitoring = Double(rules=[RULE | {"name": CHECK}])
    async with scene(home, where) as on, monitoring.serve() as url:

        def released(document: Obj) -> None:
            user = f"system:serviceaccount:{on.state_namespace}:cto"
            stages = [
                {"name": "canary", "percent": 10, "soak": "2s"},
                {"name": "beta", "percent": 50, "soak": "2s"},
                {"name": "full", "percent": 100, "approvals": ["cto"]},
            ]
            checks = [{"name": "error rate", "alert": CHECK}]
            plan = {"name": "quick", "stages": stages, "watch": "2s", "health_checks": checks}
            document["prometheus"] = {"url": url}
            document["release"] = {"roles": {"cto": {"users": [user]}}, "plans": [plan]}

        on.changes.append(released)
        for name, track, replicas in ((NAME, "stable", 9), (CANARY, "canary", 0)):
            labels = OPTED_IN | {"track": track}
            await on.world.deploy(name, "app:v1", labels=labels, replicas=replicas)
            await on.world.complete(name)
            series = {"namespace": on.namespace, "deployment": name}
            monitoring.vectors.setdefault(SIDE, []).append((series, "0.01"))
        async with on.quick() as replica:
            await on.ready(replica)
            yield on, replica


async def begin(on: Scene, replica: app.Replica, tag: str) -> None:
    """Begin the release of an image."""
    wish = {"reason": "ship it", "images": {"app": f"app:{tag}"}}
    status, answer = await on.ask(replica, "POST", path(on), wish)
    assert status == 202, answer


def path(on: Scene) -> str:
    return f"deployments/{on.namespace}/{NAME}/release"


async def reached(on: Scene, replica: app.Replica, step: str, stage: str) -> None:
    """Wait until the release is in a step of a stage."""

    async def holds() -> bool:
        _, found = await on.ask(replica, "GET", path(on))
        return (found["step"], found["stage"]) == (step, stage)

    await on.world.until(holds, 60)


async def state(on: Scene) -> list[tuple[str, int]]:
    """Return image and number of pods of both Deployments."""
    both = [await on.world.deployment(name) for name in (NAME, CANARY)]
    return [(image_of(obj), obj["spec"]["replicas"]) for obj in both]


async def test_a_version_gets_to_everybody_by_shares_and_an_approval(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with planned(tmp_path, kubernetes) as (on, replica):
        await on.world.account("cto")
        async with on.world.granted("cto", MAY_PATCH, on.namespace):
            await begin(on, replica, "v2")
            await reached(on, replica, "soaking", "canary")
            assert await state(on) == [("app:v1", 9), ("app:v2", 1)]
            await reached(on, replica, "waiting", "beta")
            assert await state(on) == [("app:v1", 9), ("app:v2", 9)]
            # Who began it has no role, whatever he may patch.
            body = {"reason": "well so far"}
            status, answer = await on.ask(replica, "POST", f"{path(on)}/approve", body)
            assert (status, answer["error"]["reason"]) == (403, "not_an_approver")
            token = f"Bearer {await on.world.token('cto', US)}"
            status, answer = await on.ask(
                replica, "POST", f"{path(on)}/approve", body, Authorization=token
            )
            assert status == 200, answer
            await reached(on, replica, "completed", "full")
        assert await state(on) == [("app:v2", 9), ("app:v2", 0)]
        assert await on.world.revisions(NAME) == {"1": "app:v1", "2": "app:v2"}
        stable = await on.world.deployment(NAME)
        # What tells the two apart, and what the selector rests on, was not taken over.
        assert stable["spec"]["template"]["metadata"]["labels"] == {"app": NAME}
        assert "successfully rolled out" in await on.world.rollout("status", NAME)


async def test_an_alert_about_the_canary_takes_it_back_and_nothing_else(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with planned(tmp_path, kubernetes) as (on, replica):
        await begin(on, replica, "v2")
        await reached(on, replica, "soaking", "canary")
        assert await on.fires(replica, deployment=CANARY) == "release_aborted"
        await reached(on, replica, "aborted", "canary")
        assert await state(on) == [("app:v1", 9), ("app:v2", 0)]
        assert await on.world.revisions(NAME) == {"1": "app:v1"}
        wish = {"reason": "again", "images": {"app": "app:v2"}}
        status, answer = await on.ask(replica, "POST", path(on), wish)
        assert status == 409, answer
