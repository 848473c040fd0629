"""How many pods a share of the traffic is, and which template they get. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from receiver.journal import Release, Step
from receiver.rollout import Rollout, pure

Obj: TypeAlias = dict[str, Any]

FULL = 100
# So many differences are listed.
DIFFERENCES = 20
# Neither a key that happens to be called so, nor the image of a volume.
_IMAGE = re.compile(r"spec\.(initContainers|containers)\[[^\]]*\]\.image")


def pods(stable: int, percent: int) -> int:
    """Return how many pods a canary needs beside `stable` others for a share of the traffic.

    The stable Deployment keeps its own, so that an abort is one write and takes no capacity away.
    Rounded to the nearest, halves up, never none: `round_half_up(N * w / (100 - w))`.
    """
    rest = FULL - percent
    return max(1, (2 * stable * percent + rest) // (2 * rest))


def share_of(stable: int, canary: int) -> float:
    """Return the share that so many pods have indeed, in percent."""
    return FULL * canary / (stable + canary) if stable + canary else 0.0


def wanted(release: Release, stable: Rollout) -> int:
    """Return how many pods the canary is to have now."""
    if release.step in (Step.SCALING, Step.SOAKING, Step.WAITING):
        return pods(stable.desired, release.present.percent)
    # On the way to everybody the canary stays as it is, until the stable one is rolled out.
    return release.replicas if release.step is Step.PROMOTING else 0


def note_of(release: Release, replicas: int) -> str:
    """Return what stands on the canary: whose it is, and what was last done to it."""
    note = {"id": release.id, "replicas": replicas, "stage": release.present.name}
    if release.step is Step.ABORTING:
        note["aborted"] = True
    return json.dumps(note, sort_keys=True)


def templates(canary: Obj, images: Mapping[str, str]) -> Obj:
    """Return a pod template with other images, as `kubectl set image` would make it.

    Raises `KeyError` with the name of a container that is not there.
    """
    spec = dict(canary.get("spec") or {})
    left = dict(images)
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            spec[kind] = [
                c | {"image": left.pop(c["name"])} if c.get("name") in left else c
                for c in spec[kind]
            ]
    if left:
        raise KeyError(next(iter(left)))
    return canary | {"spec": spec}


def promoted(stable: Obj, canary: Obj) -> Obj:
    """Return the template that everybody gets: the very pod spec that soaked.

    The labels and annotations stay those of the stable template: its selector rests on them, and
    the canary's tell the two apart.
    """
    return pure(stable) | {"spec": canary["spec"]}


def differences(stable: Obj, canary: Obj) -> tuple[str, ...]:
    """Return where the pod specs differ in anything but images: that is taken over as well."""
    found = _differ(stable.get("spec"), canary.get("spec"), "spec")
    paths = [path for path in found if not _IMAGE.fullmatch(path)]
    more = len(paths) - DIFFERENCES
    return (*paths[:DIFFERENCES], *((f"and {more} more",) if more > 0 else ()))


def _differ(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differ(one.get(key), other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            name = left.get("name", index) if isinstance(left, dict) else index
            yield from _differ(left, right, f"{path}[{name}]")
    elif one != other:
        yield path
