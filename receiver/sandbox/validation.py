"""Reading, defaulting and validating objects: the part of the rules that depends on the kind."""

import json
import re
from collections.abc import Callable
from typing import Any

from receiver.sandbox.objects import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    REPLICASETS,
    Obj,
    Resource,
    annotations_of,
    clone,
)
from receiver.sandbox.selectors import fits, requirements_of
from receiver.sandbox.status import cause

# apimachinery pkg/api/validation/objectmeta.go: TotalAnnotationSizeLimitB
MOST_ANNOTATION_BYTES = 256 * 1024
# pkg/apis/core/types.go: MaxSecretSize, which holds for ConfigMaps too
MOST_CONFIGMAP_BYTES = 1024 * 1024

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

_DEPLOYMENT_SPEC = frozenset(
    {
        "replicas",
        "selector",
        "template",
        "strategy",
        "minReadySeconds",
        "revisionHistoryLimit",
        "paused",
        "progressDeadlineSeconds",
    }
)
LONGEST_NAME = 253
_TOP = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_INTEGERS = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")


def decode_fault(resource: Resource, obj: Any) -> str | None:
    """Say why this JSON cannot be read into the Go type, or None. Only what patches can break."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata", {}), dict):
        return "json: cannot unmarshal into Go struct field .metadata"
    for field in ("labels", "annotations"):
        found = obj.get("metadata", {}).get(field) or {}
        if not isinstance(found, dict) or not all(
            value is None or isinstance(value, str) for value in found.values()
        ):
            return (
                f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{field} "
                "of type string"
            )
    if resource == CONFIGMAPS:
        data = obj.get("data") or {}
        if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
            return "json: cannot unmarshal into Go struct field ConfigMap.data of type string"
    if resource in (DEPLOYMENTS, REPLICASETS):
        spec = obj.get("spec") or {}
        if not isinstance(spec, dict) or not isinstance(spec.get("template") or {}, dict):
            return f"json: cannot unmarshal into Go struct field {resource.kind}.spec"
        for field in _INTEGERS:
            if spec.get(field) is not None and type(spec[field]) is not int:
                return (
                    f"json: cannot unmarshal into Go struct field {resource.kind}Spec.spec.{field} "
                    "of type int32"
                )
    return None


def unknown_fields(resource: Resource, obj: Obj) -> list[str]:
    """Name the fields the Go type does not have. Looks at the top and at a Deployment's spec."""
    if resource != DEPLOYMENTS:
        return []
    return [key for key in obj if key not in _TOP] + [
        f"spec.{key}" for key in obj.get("spec") or {} if key not in _DEPLOYMENT_SPEC
    ]


def without_unknown_fields(resource: Resource, obj: Obj) -> Obj:
    """Drop what the Go type has no place for, as decoding does."""
    if not unknown_fields(resource, obj):
        return obj
    kept = {key: value for key, value in obj.items() if key in _TOP}
    kept["spec"] = {k: v for k, v in (obj.get("spec") or {}).items() if k in _DEPLOYMENT_SPEC}
    return kept


def defaulted(resource: Resource, obj: Obj) -> Obj:
    """Fill in what was left out (pkg/apis/apps/v1/defaults.go SetDefaults_Deployment).

    The pod template is left alone: its defaults are the same for every revision.
    """
    obj = clone(obj)
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    meta = obj.setdefault("metadata", {})
    for field in ("labels", "annotations"):
        # A Go map of strings reads null as "", and an empty map is not written.
        if found := meta.pop(field, None):
            meta[field] = {key: value or "" for key, value in found.items()}
    if resource in (DEPLOYMENTS, REPLICASETS):
        spec = obj["spec"] = obj.get("spec") or {}
        spec["replicas"] = 1 if spec.get("replicas") is None else spec["replicas"]
        if resource == DEPLOYMENTS:
            for field, value in (("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
                spec[field] = value if spec.get(field) is None else spec[field]
            strategy = spec["strategy"] = spec.get("strategy") or {}
            kind = strategy["type"] = strategy.get("type") or "RollingUpdate"
            if kind == "RollingUpdate":
                rolling = strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
                for field in ("maxUnavailable", "maxSurge"):
                    rolling[field] = "25%" if rolling.get(field) is None else rolling[field]
    return obj


def faults_of(resource: Resource, obj: Obj, before: Obj | None) -> list[Obj]:
    """Validate an object, or its update, and return the causes."""
    found = _meta_faults(obj)
    check = _CHECKS.get(resource.kind)
    return found + (check(obj, before) if check else [])


def _meta_faults(obj: Obj) -> list[Obj]:
    meta = obj["metadata"]
    found = []
    name = meta.get("name") or ""
    if not _SUBDOMAIN.fullmatch(name) or len(name) > LONGEST_NAME:
        text = f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case'
        found.append(cause("FieldValueInvalid", "metadata.name", text))
    total = 0
    for key, value in annotations_of(obj).items():
        total += len(key.encode()) + len(value.encode())
        if not _QUALIFIED.fullmatch(key.lower()):
            text = f'Invalid value: "{key}": name part must consist of alphanumeric characters'
            found.append(cause("FieldValueInvalid", "metadata.annotations", text))
    if total > MOST_ANNOTATION_BYTES:
        text = f"Too long: may not be more than {MOST_ANNOTATION_BYTES} bytes"
        found.append(cause("FieldValueTooLong", "metadata.annotations", text))
    for key, value in (meta.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            text = f'Invalid value: "{value}": a valid label must be an empty string or consist of'
            found.append(cause("FieldValueInvalid", "metadata.labels", text))
    return found


def _workload_faults(obj: Obj, before: Obj | None) -> list[Obj]:
    """Check what Deployments and ReplicaSets share (pkg/apis/apps/validation/validation.go)."""
    spec = obj["spec"]
    found = [
        cause(
            "FieldValueInvalid",
            f"spec.{field}",
            f"Invalid value: {spec[field]}: must be greater than or equal to 0",
        )
        for field in _INTEGERS
        if (spec.get(field) or 0) < 0
    ]
    selector, template = spec.get("selector") or {}, spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector:
        found.append(cause("FieldValueRequired", "spec.selector", "Required value"))
    elif not fits(requirements_of(selector), labels):
        shown = json.dumps(labels, separators=(",", ":"))
        text = f"Invalid value: {shown}: `selector` does not match template `labels`"
        found.append(cause("FieldValueInvalid", "spec.template.metadata.labels", text))
    containers = (template.get("spec") or {}).get("containers") or []
    where = "spec.template.spec.containers"
    if not containers:
        found.append(cause("FieldValueRequired", where, "Required value"))
    for position, container in enumerate(containers):
        found += [
            cause("FieldValueRequired", f"{where}[{position}].{field}", "Required value")
            for field in ("name", "image")
            if not container.get(field)
        ]
    if before is not None and before["spec"]["selector"] != selector:
        shown = json.dumps(selector, separators=(",", ":"))
        text = f"Invalid value: {shown}: field is immutable"
        found.append(cause("FieldValueInvalid", "spec.selector", text))
    return found


def _deployment_faults(obj: Obj, before: Obj | None) -> list[Obj]:
    found = _workload_faults(obj, before)
    spec = obj["spec"]
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    where = "spec.strategy.rollingUpdate"
    if spec["strategy"]["type"] not in ("RollingUpdate", "Recreate"):
        text = f'Unsupported value: "{spec["strategy"]["type"]}"'
        found.append(cause("FieldValueNotSupported", "spec.strategy.type", text))
    elif spec["strategy"]["type"] == "Recreate" and rolling:
        text = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        found.append(cause("FieldValueForbidden", where, text))
    elif {rolling.get("maxSurge"), rolling.get("maxUnavailable")} <= {0, "0%"}:
        text = f"Invalid value: {rolling.get('maxUnavailable')}: may not be 0 when `maxSurge` is 0"
        if spec["strategy"]["type"] == "RollingUpdate":
            found.append(cause("FieldValueInvalid", f"{where}.maxUnavailable", text))
    if spec["progressDeadlineSeconds"] <= (spec.get("minReadySeconds") or 0):
        text = f"Invalid value: {spec['progressDeadlineSeconds']}: must be greater than "
        found.append(
            cause("FieldValueInvalid", "spec.progressDeadlineSeconds", text + "minReadySeconds")
        )
    return found


def _configmap_faults(obj: Obj, before: Obj | None) -> list[Obj]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    found = []
    if sum(len(value.encode()) for value in (*data.values(), *binary.values())) > (
        MOST_CONFIGMAP_BYTES
    ):
        text = f"Too long: may not be more than {MOST_CONFIGMAP_BYTES} bytes"
        found.append(cause("FieldValueTooLong", "", text))
    found += [
        cause("FieldValueInvalid", f"data[{key}]", f'Invalid value: "{key}": a valid config key')
        for key in (*data, *binary)
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key)
    ]
    if before is not None and before.get("immutable") and data != (before.get("data") or {}):
        text = "Forbidden: field is immutable when `immutable` is set"
        found.append(cause("FieldValueForbidden", "data", text))
    return found


def _event_faults(obj: Obj, before: Obj | None) -> list[Obj]:
    """Be as strict as events.k8s.io/v1 is (pkg/apis/core/validation/events.go)."""
    found = []

    def bounded(field: str, most: int, *, required: bool = True) -> None:
        value = obj.get(field) or ""
        if required and not value:
            found.append(cause("FieldValueRequired", field, "Required value"))
        elif len(value) > most:
            text = f"Invalid value: can have at most {most} characters"
            found.append(cause("FieldValueInvalid", field, text))

    bounded("reportingController", 253)
    bounded("reportingInstance", 128)
    bounded("action", 128)
    bounded("reason", 128)
    bounded("note", 1024, required=False)
    controller = obj.get("reportingController") or ""
    if controller and not _QUALIFIED.fullmatch(controller):
        text = f'Invalid value: "{controller}": name part must consist of alphanumeric characters'
        found.append(cause("FieldValueInvalid", "reportingController", text))
    if not _MICRO_TIME.fullmatch(obj.get("eventTime") or ""):
        found.append(cause("FieldValueRequired", "eventTime", "Required value"))
    if obj.get("type") not in ("Normal", "Warning"):
        text = f'Invalid value: "{obj.get("type") or ""}": has invalid value'
        found.append(cause("FieldValueInvalid", "type", text))
    namespace = obj["metadata"].get("namespace") or ""
    regarding = (obj.get("regarding") or {}).get("namespace") or ""
    # What is cluster scoped has its events in "default".
    if namespace != (regarding or "default"):
        text = f'Invalid value: "{regarding}": does not match event.namespace'
        found.append(cause("FieldValueInvalid", "involvedObject.namespace", text))
    series = obj.get("series")
    if series and (series.get("count") or 0) < 2:  # noqa: PLR2004 - one event is no series
        text = f"Invalid value: {series.get('count')}: should be at least 2"
        found.append(cause("FieldValueInvalid", "series.count", text))
    found += [
        cause("FieldValueInvalid", field, "Invalid value: needs to be unset")
        for field in (
            "deprecatedSource",
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedCount",
        )
        if obj.get(field)
    ]
    if before is not None:
        found += [
            cause("FieldValueInvalid", field, "Invalid value: field is immutable")
            for field in ("reason", "action", "note", "type", "regarding", "reportingController")
            if before.get(field) != obj.get(field)
        ]
    return found


def _pod_faults(obj: Obj, _: Obj | None) -> list[Obj]:
    if not (obj.get("spec") or {}).get("containers"):
        return [cause("FieldValueRequired", "spec.containers", "Required value")]
    return []


_CHECKS: dict[str, Callable[[Obj, Obj | None], list[Obj]]] = {
    DEPLOYMENTS.kind: _deployment_faults,
    REPLICASETS.kind: _workload_faults,
    CONFIGMAPS.kind: _configmap_faults,
    EVENTS.kind: _event_faults,
    PODS.kind: _pod_faults,
}
