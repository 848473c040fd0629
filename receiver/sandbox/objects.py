"""What the sandbox keeps: plain JSON objects, and the table of the resources it knows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

Obj: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]  # namespace ("" for what has none), name

HASH_LABEL = "pod-template-hash"


class Clock(Protocol):
    """The time, as whoever makes the sandbox sees it. Structural: `receiver.clock` is not known."""

    def now(self) -> datetime:
        """Return the wall time, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


@dataclass(frozen=True)
class Resource:
    """One row of the API: where it lives and what it is called."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Return `apps/v1`, or `v1` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return `deployments.apps`: the form error messages use (GroupResource.String)."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the path this object is served under."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", subresources=("status", "scale"))
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet", subresources=("status",))
PODS = Resource("", "v1", "pods", "Pod", subresources=("status",))
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES = Resource(
    "", "v1", "namespaces", "Namespace", namespaced=False, subresources=("status",)
)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
ROUTES = Resource(
    "gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", subresources=("status",)
)
RESOURCES = (DEPLOYMENTS, REPLICASETS, PODS, CONFIGMAPS, NAMESPACES, EVENTS, ROUTES)


def resource_of(name: str) -> Resource:
    """Return the resource of a kind ("Deployment") or a plural ("deployments")."""
    for resource in RESOURCES:
        if name in (resource.kind, resource.plural):
            return resource
    raise LookupError(f"the sandbox has no resource {name!r}")


_NESTED = (dict, list)


def clone(value: Any) -> Any:
    """Copy JSON; several times faster than copy.deepcopy, which also looks for cycles."""
    # Most of what is in it is text and numbers: no call for those.
    if isinstance(value, dict):
        return {k: clone(v) if isinstance(v, _NESTED) else v for k, v in value.items()}
    if isinstance(value, list):
        return [clone(v) if isinstance(v, _NESTED) else v for v in value]
    return value


def key_of(obj: Obj) -> Key:
    """Return (namespace, name)."""
    meta = obj["metadata"]
    return meta.get("namespace") or "", meta["name"]


def annotations_of(obj: Obj) -> dict[str, str]:
    """Return the annotations, {} where there are none."""
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def labels_of(obj: Obj) -> dict[str, str]:
    """Return the labels, {} where there are none."""
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def controller_of(obj: Obj) -> Obj | None:
    """Return the owner reference that controls it (apimachinery metav1.GetControllerOf)."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Obj = reference
            return found
    return None


def owned_by(owner: Obj, objects: Iterable[Obj]) -> list[Obj]:
    """Return those whose controller is `owner`, by UID: a recreated namesake owns nothing."""
    uid = owner["metadata"]["uid"]
    return [obj for obj in objects if (ref := controller_of(obj)) and ref["uid"] == uid]


def owner_reference(resource: Resource, owner: Obj) -> Obj:
    """Return the reference that a controller puts on what it creates (metav1.NewControllerRef)."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def stamp(moment: datetime) -> str:
    """Write a metav1.Time: RFC 3339 in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    """Read a metav1.Time."""
    return datetime.fromisoformat(text)
