"""Reading requests and writing answers: JSON in, JSON and Status documents out."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from receiver.sandbox.faults import Fault
from receiver.sandbox.objects import DEPLOYMENTS, Obj, Resource
from receiver.sandbox.patch import json_patch, merge_patch
from receiver.sandbox.paths import Where
from receiver.sandbox.selectors import text_of
from receiver.sandbox.status import ApiError, bad_request, cause, invalid
from receiver.sandbox.strategic import strategic_merge

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
LONGEST_MANAGER = 128


async def body(request: web.Request, *kinds: str) -> Any:
    """Read JSON, as Go does: no NaN, and no half of a surrogate pair.

    The real one reads YAML and Protobuf too, and what names no type as JSON.
    """
    kinds = kinds or ("application/json",)
    if "Content-Type" in request.headers and request.content_type not in kinds:
        text = "the body of the request was in an unknown format - accepted media types include: "
        raise ApiError(415, "UnsupportedMediaType", text + ", ".join(kinds))
    raw = await request.read()
    try:
        read = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad_request("the body of the request is not valid JSON") from None
    return _whole(read) if b"\\u" in raw else read


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


async def patch(request: web.Request, resource: Resource) -> Callable[[Obj], Any]:
    """Read a patch by its content type (handlers/patch.go)."""
    kinds: dict[str, Callable[[Obj, Any], Any]] = {
        "application/json-patch+json": json_patch,
        "application/merge-patch+json": _merge,
    }
    if not resource.group.endswith(".networking.k8s.io"):
        # A custom resource has no Go type, and so no merge keys.
        kinds["application/strategic-merge-patch+json"] = strategic_merge
    sent = await body(request, *kinds)
    apply = kinds.get(request.content_type) or json_patch
    return lambda obj: apply(obj, sent)


def _merge(obj: Obj, sent: Any) -> Any:
    if not isinstance(sent, dict):
        raise bad_request("the merge patch must be an object")
    return merge_patch(obj, sent)


def check_options(query: Mapping[str, str], verb: str) -> None:
    """Validate what a write is asked for (apimachinery pkg/apis/meta/v1/validation)."""
    allowed = {
        "dryRun": ("", "All"),
        "fieldValidation": ("", "Ignore", "Warn", "Strict"),
        "propagationPolicy": ("", "Background", "Foreground", "Orphan"),
    }
    causes = [
        cause("FieldValueNotSupported", field, f'Unsupported value: "{query[field]}"')
        for field, values in allowed.items()
        if query.get(field, "") not in values
    ]
    if len(query.get("fieldManager", "")) > LONGEST_MANAGER:
        text = f"Too long: may not be more than {LONGEST_MANAGER} bytes"
        causes.append(cause("FieldValueTooLong", "fieldManager", text))
    if causes:
        raise invalid(f"{verb.capitalize()}Options", "meta.k8s.io", "", causes)


def shown(where: Where, obj: Obj) -> Obj:
    """Return an object as this path shows it."""
    if where.subresource != "scale":
        return {"kind": where.resource.kind, "apiVersion": where.resource.api_version} | obj
    meta, spec = obj["metadata"], obj["spec"]
    keep = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in keep},
        "spec": {"replicas": spec["replicas"]},
        "status": {
            "replicas": obj["status"].get("replicas", 0),
            "selector": text_of(spec["selector"]),
        },
    }


def scaled(how: Callable[[Obj], Any]) -> Callable[[Obj], Obj]:
    """Apply a change to the Scale of an object, and what comes of it to the object.

    k/k pkg/registry/apps/deployment/storage (scaleUpdatedObjectInfo).
    """

    def change(obj: Obj) -> Obj:
        meta = obj["metadata"]
        scale = how(shown(Where(DEPLOYMENTS, meta["namespace"], meta["name"], "scale"), obj))
        spec = scale.get("spec") or {} if isinstance(scale, dict) else None
        sent = scale.get("metadata") or {} if isinstance(scale, dict) else None
        if not isinstance(spec, dict) or not isinstance(sent, dict):
            raise bad_request('Scale in version "v1" cannot be handled as a Scale')
        replicas = spec.get("replicas") or 0
        if type(replicas) is not int or replicas < 0:
            text = f"Invalid value: {json.dumps(replicas)}: must be greater than or equal to 0"
            causes = [cause("FieldValueInvalid", "spec.replicas", text)]
            raise invalid("Scale", "autoscaling", meta["name"], causes)
        tested = {key: sent[key] for key in ("name", "uid", "resourceVersion") if sent.get(key)}
        return obj | {"metadata": meta | tested, "spec": obj["spec"] | {"replicas": replicas}}

    return change


def deleted(resource: Resource, obj: Obj, *, remains: bool) -> Obj:
    """Return what a DELETE answers: the object where it remains, or is of a kind that says so."""
    if remains or resource.kind in ("Pod", "Namespace"):
        return {"kind": resource.kind, "apiVersion": resource.api_version} | obj
    meta = obj["metadata"]
    details = {"name": meta["name"], "group": resource.group, "kind": resource.plural}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value} | {"uid": meta["uid"]},
    }


def answer(content: Obj, status: int = 200) -> web.Response:
    """Answer JSON; a failure that knows when to come again says so."""
    seconds = (content.get("details") or {}).get("retryAfterSeconds") if status >= 400 else None  # noqa: PLR2004 - from there on it is a failure
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return web.json_response(content, status=status, headers=headers)


def ordered(fault: Fault) -> web.Response:
    """Answer what a fault orders."""
    if fault.body is None:
        reason = _REASONS.get(fault.status, "InternalError")
        error = ApiError(fault.status, reason, "on order", {}, retry_after=fault.retry_after)
        return answer(error.body(), fault.status)
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(fault.body, status=fault.status, headers=headers)
