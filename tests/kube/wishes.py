"""The patches that the tests send: as the controller makes them, one compare-and-set each."""

from typing import Any

from tests.kube.http import Obj
from tests.kube.world import World


async def deployed(world: World, name: str = "api", image: str = "app:1", **spec: Any) -> Obj:
    """Deploy, wait for the controller, and return what the adapter reads."""
    await world.deploy(name, image, **spec)
    await world.rolled_out(name)
    found = await world.cluster.deployment(world.namespace, name)
    assert found is not None
    return found


def annotate(obj: Obj, key: str, value: str, *, generation: Any = None) -> list[Obj]:
    """Set one annotation if the generation is still that of `obj`."""
    tested = obj["metadata"]["generation"] if generation is None else generation
    return [
        {"op": "test", "path": "/metadata/uid", "value": obj["metadata"]["uid"]},
        {"op": "test", "path": "/metadata/generation", "value": tested},
        {"op": "add", "path": f"/metadata/annotations/{key}", "value": value},
    ]


def replace(path: str, value: Any) -> list[Obj]:
    """Replace one value, whatever it is."""
    return [{"op": "replace", "path": path, "value": value}]
