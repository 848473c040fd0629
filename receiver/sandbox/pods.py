"""A fake kubelet: what becomes of a pod is written in the tag of its image."""

import re
from collections.abc import Callable

from receiver.sandbox.objects import PODS, Key, Obj, stamp
from receiver.sandbox.replicasets import ready_since
from receiver.sandbox.store import Store

WHO = "kubelet"
CRASHES_AFTER = 1.0
_SLOW = re.compile(r"slow-(\d+)s")


def tag_of(image: str) -> str:
    """Return the tag of an image reference, "latest" when there is none."""
    last = image.split("@", 1)[0].rsplit("/", 1)[-1]
    return last.partition(":")[2] or "latest"


def sync(store: Store, key: Key, ready_after: float, again_after: Callable[[float], None]) -> None:
    """Bring one pod to where its tag says it should be by now.

    `bad` is never ready; `slow-5s` is ready after 5 s; `crash` is ready, and a second later not
    any more; everything else is ready after `ready_after`.
    """
    pod = store.get(PODS, *key)
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return
    tags = [tag_of(container.get("image", "")) for container in pod["spec"]["containers"]]
    if not (pod.get("status") or {}).get("startTime"):
        waiting = "ImagePullBackOff" if _any(tags, "bad") else "ContainerCreating"
        _write(store, pod, waiting=waiting)
        if not _any(tags, "bad"):
            slow = [int(read[1]) for tag in tags if (read := _SLOW.search(tag))]
            again_after(max(slow, default=ready_after))
    elif _any(tags, "bad") or restarts_of(pod):
        return
    elif ready_since(pod) is None:
        _write(store, pod, waiting=None)
        if _any(tags, "crash"):
            again_after(CRASHES_AFTER)
    elif _any(tags, "crash"):
        _write(store, pod, waiting="CrashLoopBackOff", restarts=1)


def restarts_of(pod: Obj) -> int:
    """Return how often its containers were restarted."""
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(status.get("restartCount") or 0 for status in found)


def _any(tags: list[str], word: str) -> bool:
    return any(word in tag for tag in tags)


def _write(store: Store, pod: Obj, *, waiting: str | None, restarts: int = 0) -> None:
    status = status_of(pod, stamp(store.clock.now()), waiting=waiting, restarts=restarts)
    meta = pod["metadata"]
    store.change(
        PODS,
        meta["namespace"],
        meta["name"],
        lambda obj: obj | {"status": status},
        by=WHO,
        subresource="status",
    )


def status_of(pod: Obj, now: str, *, waiting: str | None, restarts: int = 0) -> Obj:
    """Return the status a kubelet writes: ready, or `waiting` for a reason. Pure."""
    ready = waiting is None
    started = (pod.get("status") or {}).get("startTime") or now
    conditions = [
        {"type": kind, "status": "True" if ready else "False", "lastTransitionTime": now}
        for kind in ("ContainersReady", "Ready")
    ]
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": now}}
    return {
        "phase": "Running" if ready or restarts else "Pending",
        "startTime": started,
        "conditions": conditions,
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": restarts,
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ],
    }
