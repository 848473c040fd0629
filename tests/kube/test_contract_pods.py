"""What the pods of the tests do: the tag of the image says it, in the sandbox and elsewhere."""

from typing import NamedTuple

from receiver.sandbox.objects import PODS
from tests.kube.http import Obj
from tests.kube.world import World, contract


class _Moment(NamedTuple):
    """What a pod says of itself: "" is nothing."""

    ready: str
    waits_for: str


RUNS, CRASHED = _Moment("True", ""), _Moment("False", "CrashLoopBackOff")


def _moment(pod: Obj) -> _Moment:
    status = pod.get("status") or {}
    conditions: list[Obj] = status.get("conditions") or []
    ready = next((c["status"] for c in conditions if c["type"] == "Ready"), "")
    said: list[Obj] = status.get("containerStatuses") or [{"state": {}}]
    return _Moment(ready, said[0]["state"].get("waiting", {}).get("reason", ""))


async def _life(world: World, tag: str, last: _Moment) -> tuple[list[_Moment], Obj]:
    """Deploy one pod, and watch it up to a moment: a watch misses none, however busy all are."""
    path = PODS.path(world.namespace)
    version = (await world.http.get(path)).body["metadata"]["resourceVersion"]
    await world.deploy("api", f"app:{tag}", replicas=1)
    moments: list[_Moment] = []
    async with world.http.watch(path, resourceVersion=version) as events:
        while event := await events.next():
            now = _moment(event["object"])
            if moments[-1:] != [now]:
                moments.append(now)
            if now == last:
                return moments, event["object"]
    raise AssertionError(f"the watch ended after {moments}")


async def _available(world: World, count: int) -> None:
    async def holds() -> bool:
        return ((await world.deployment())["status"].get("availableReplicas") or 0) == count

    await world.until(holds)


@contract
async def test_a_pod_becomes_ready_and_is_counted(world: World) -> None:
    moments, pod = await _life(world, "v1", RUNS)
    assert CRASHED not in moments
    assert pod["status"]["phase"] == "Running"
    await _available(world, 1)


@contract
async def test_a_pod_of_a_bad_image_is_never_ready(world: World) -> None:
    moments, pod = await _life(world, "v1-bad", _Moment("False", "ImagePullBackOff"))
    assert RUNS not in moments
    await world.clock.sleep(1)
    (still,) = await world.list("Pod", world.namespace)
    assert still["metadata"]["uid"] == pod["metadata"]["uid"]
    assert _moment(still).ready == "False"
    await _available(world, 0)


@contract
async def test_a_slow_pod_is_ready_after_its_seconds_and_not_before(world: World) -> None:
    began = world.clock.monotonic()
    moments, _ = await _life(world, "v1-slow-2s", RUNS)
    assert moments[-2:] == [_Moment("False", "ContainerCreating"), RUNS]
    assert world.clock.monotonic() - began >= 2
    await _available(world, 1)


@contract
async def test_a_pod_that_crashes_was_ready_and_is_not_any_more(world: World) -> None:
    moments, pod = await _life(world, "v1-crash", CRASHED)
    assert moments[-2:] == [RUNS, CRASHED]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
    await _available(world, 0)
