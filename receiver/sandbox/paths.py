"""What a path names, and the lists of what there is to name (apiserver pkg/endpoints/discovery)."""

from typing import NamedTuple

from receiver.sandbox.objects import NAMESPACES, RESOURCES, Obj, Resource

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_SHORT = {"deployments": "deploy", "replicasets": "rs", "pods": "po", "configmaps": "cm"} | {
    "namespaces": "ns",
    "events": "ev",
}


class Where(NamedTuple):
    """An object or a collection in the table of resources."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


def locate(path: str) -> Where | None:
    """Read a path; None when there is nothing of that kind."""
    parts = path.strip("/").split("/")
    size = 2 if parts[0] == "api" else 3
    root, rest, namespace = "/".join(parts[:size]), parts[size:], ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in NAMESPACES.subresources:  # noqa: PLR2004 - namespaces/NAME/PLURAL
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3 or not all(parts):  # noqa: PLR2004 - PLURAL/NAME/SUBRESOURCE
        return None
    plural, name, subresource = [*rest, "", ""][:3]
    for resource in RESOURCES:
        if plural != resource.plural or resource.path("") != f"/{root}/{plural}":
            continue
        if subresource and subresource not in resource.subresources:
            return None
        # An object needs its namespace; a collection may be that of all namespaces.
        fits = not (name and not namespace) if resource.namespaced else not namespace
        return Where(resource, namespace, name, subresource) if fits else None
    return None


def discovery(path: str) -> Obj | None:
    """Answer `/api`, `/apis` and what is below them: enough for kubectl to find its way."""
    groups = sorted({resource.group for resource in RESOURCES if resource.group})
    if path == "api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in groups]}
    if path.removeprefix("apis/") in groups:
        return {"kind": "APIGroup", "apiVersion": "v1"} | _group(path.removeprefix("apis/"))
    found = [r for r in RESOURCES if r.path("").strip("/") == f"{path}/{r.plural}"]
    if not found:
        return None
    rows = [row for resource in found for row in _rows(resource)]
    version = found[0].api_version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": rows,
    }


def _group(group: str) -> Obj:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _rows(resource: Resource) -> list[Obj]:
    common = {"singularName": "", "namespaced": resource.namespaced, "kind": resource.kind}
    short = {"shortNames": [_SHORT[resource.plural]]} if resource.plural in _SHORT else {}
    rows = [common | {"name": resource.plural, "verbs": VERBS} | short]
    for subresource in resource.subresources:
        row = common | {
            "name": f"{resource.plural}/{subresource}",
            "verbs": ["get", "patch", "update"],
        }
        scale = {"kind": "Scale", "group": "autoscaling", "version": "v1"}
        rows.append(row | (scale if subresource == "scale" else {}))
    return rows
