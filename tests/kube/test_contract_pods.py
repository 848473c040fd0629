"""What the pods of the tests do: the tag of the image says it, in the sandbox and elsewhere."""

from tests.kube.http import Obj
from tests.kube.world import World, contract


async def _pod(world: World) -> Obj:
    (pod,) = await world.list("Pod", world.namespace)
    return pod


def _ready(pod: Obj) -> str:
    """Return the condition Ready of a pod: "True" or "False", "" when nothing has been said."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((c["status"] for c in conditions if c["type"] == "Ready"), "")


def _waits(pod: Obj) -> str:
    """Return what its container waits for, "" when it runs."""
    said: list[Obj] = (pod.get("status") or {}).get("containerStatuses") or [{"state": {}}]
    return str(said[0]["state"].get("waiting", {}).get("reason", ""))


async def _available(world: World) -> int:
    return int((await world.deployment())["status"].get("availableReplicas") or 0)


@contract
async def test_a_pod_becomes_ready_and_is_counted(world: World) -> None:
    await world.deploy("api", "app:v1", replicas=1)
    await world.complete()
    pod = await _pod(world)
    assert (_ready(pod), _waits(pod), pod["status"]["phase"]) == ("True", "", "Running")
    assert await _available(world) == 1


@contract
async def test_a_pod_of_a_bad_image_is_never_ready(world: World) -> None:
    await world.deploy("api", "app:v1-bad", replicas=1)

    async def waits() -> bool:
        return [_waits(p) for p in await world.list("Pod", world.namespace)] == ["ImagePullBackOff"]

    await world.until(waits)
    await world.clock.sleep(1)
    assert _ready(await _pod(world)) == "False"
    assert await _available(world) == 0


@contract
async def test_a_slow_pod_is_ready_after_its_seconds_and_not_before(world: World) -> None:
    await world.deploy("api", "app:v1-slow-2s", replicas=1)

    async def begun() -> bool:
        return [_ready(p) for p in await world.list("Pod", world.namespace)] == ["False"]

    await world.until(begun)
    began = world.clock.monotonic()
    assert _waits(await _pod(world)) == "ContainerCreating"
    await world.complete()
    assert world.clock.monotonic() - began >= 1.5


@contract
async def test_a_pod_that_crashes_was_ready_and_is_not_any_more(world: World) -> None:
    await world.deploy("api", "app:v1-crash", replicas=1)
    await world.complete()

    async def crashed() -> bool:
        return _waits(await _pod(world)) == "CrashLoopBackOff"

    await world.until(crashed)
    pod = await _pod(world)
    assert _ready(pod) == "False"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1

    async def gone() -> bool:
        return await _available(world) == 0

    await world.until(gone)
