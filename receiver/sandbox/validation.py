"""Defaulting and validating objects: the part of the rules that depends on the kind."""

import json
import re
from collections.abc import Callable

from receiver.sandbox.objects import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    REPLICASETS,
    ROUTES,
    Obj,
    Resource,
    annotations_of,
    clone,
)
from receiver.sandbox.schema import ROUTE_SPEC, faults
from receiver.sandbox.selectors import fits, requirements_of
from receiver.sandbox.status import cause

# apimachinery pkg/api/validation/objectmeta.go: TotalAnnotationSizeLimitB
MOST_ANNOTATION_BYTES = 256 * 1024
# pkg/apis/core/types.go: MaxSecretSize, which holds for ConfigMaps too
MOST_CONFIGMAP_BYTES = 1024 * 1024
# Gateway API apis/v1: the most a backend may weigh
HEAVIEST = 1_000_000

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

LONGEST_NAME = 253
_INTEGERS = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
_PERCENT = re.compile(r"\d{1,5}%")


def defaulted(resource: Resource, obj: Obj) -> Obj:
    """Fill in, in place, what was left out (pkg/apis/apps/v1/defaults.go SetDefaults_Deployment).

    The pod template is left alone: its defaults are the same for every revision.
    """
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    obj.setdefault("metadata", {})
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
    for position, owner in enumerate(meta.get("ownerReferences") or ()):
        where = f"metadata.ownerReferences[{position}]"
        found += [
            cause("FieldValueInvalid", f"{where}.{field}", 'Invalid value: "": must not be empty')
            for field in ("apiVersion", "kind", "name", "uid")
            if not owner.get(field)
        ]
    for finalizer in meta.get("finalizers") or ():
        if not _QUALIFIED.fullmatch(finalizer):
            text = (
                f'Invalid value: "{finalizer}": name part must consist of alphanumeric characters'
            )
            found.append(cause("FieldValueInvalid", "metadata.finalizers", text))
    return found + _label_faults(meta, "metadata")


def _label_faults(meta: Obj, where: str) -> list[Obj]:
    found = []
    for key, value in (meta.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            text = f'Invalid value: "{value}": a valid label must be an empty string or consist of'
            found.append(cause("FieldValueInvalid", f"{where}.labels", text))
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
    elif wrong := _selector_faults(selector):
        found += wrong
    elif not fits(requirements_of(selector), labels):
        shown = json.dumps(labels, separators=(",", ":"))
        text = f"Invalid value: {shown}: `selector` does not match template `labels`"
        found.append(cause("FieldValueInvalid", "spec.template.metadata.labels", text))
    found += _label_faults(template.get("metadata") or {}, "spec.template.metadata")
    found += _container_faults(template.get("spec") or {}, "spec.template.spec")
    if before is not None and before["spec"]["selector"] != selector:
        shown = json.dumps(selector, separators=(",", ":"))
        text = f"Invalid value: {shown}: field is immutable"
        found.append(cause("FieldValueInvalid", "spec.selector", text))
    return found


def _selector_faults(selector: Obj) -> list[Obj]:
    """Check the expressions of a selector (apimachinery pkg/apis/meta/v1/validation)."""
    found = []
    for position, item in enumerate(selector.get("matchExpressions") or ()):
        where = f"spec.selector.matchExpressions[{position}]"
        takes_values = _OPERATORS.get(item.get("operator") or "")
        if not _QUALIFIED.fullmatch(item.get("key") or ""):
            text = f'Invalid value: "{item.get("key") or ""}": name part must be non-empty'
            found.append(cause("FieldValueInvalid", f"{where}.key", text))
        if takes_values is None:
            text = f'Invalid value: "{item.get("operator") or ""}": not a valid selector operator'
            found.append(cause("FieldValueInvalid", f"{where}.operator", text))
        elif takes_values and not item.get("values"):
            text = "Required value: must be specified when `operator` is 'In' or 'NotIn'"
            found.append(cause("FieldValueRequired", f"{where}.values", text))
        elif not takes_values and item.get("values"):
            text = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(cause("FieldValueForbidden", f"{where}.values", text))
    return found


def _container_faults(spec: Obj, where: str) -> list[Obj]:
    """Check what makes a container (pkg/apis/core/validation/validation.go validateContainers)."""
    containers = spec.get("containers") or []
    where = f"{where}.containers"
    if not containers:
        return [cause("FieldValueRequired", where, "Required value")]
    found, names = [], set()
    for position, container in enumerate(containers):
        found += [
            cause("FieldValueRequired", f"{where}[{position}].{field}", "Required value")
            for field in ("name", "image")
            if not container.get(field)
        ]
        name = container.get("name")
        if name in names:
            text = f'Duplicate value: "{name}"'
            found.append(cause("FieldValueDuplicate", f"{where}[{position}].name", text))
        names.add(name)
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
    elif spec["strategy"]["type"] == "RollingUpdate":
        found += _rolling_faults(rolling, where)
    if spec["progressDeadlineSeconds"] <= (spec.get("minReadySeconds") or 0):
        text = f"Invalid value: {spec['progressDeadlineSeconds']}: must be greater than "
        found.append(
            cause("FieldValueInvalid", "spec.progressDeadlineSeconds", text + "minReadySeconds")
        )
    return found


def _rolling_faults(rolling: Obj, where: str) -> list[Obj]:
    found = []
    for field in ("maxUnavailable", "maxSurge"):
        value = rolling[field]
        if isinstance(value, str) and not _PERCENT.fullmatch(value):
            text = f'Invalid value: "{value}": a valid percent string must be a numeric string'
            found.append(cause("FieldValueInvalid", f"{where}.{field}", text))
        elif isinstance(value, int) and value < 0:
            text = f"Invalid value: {value}: must be greater than or equal to 0"
            found.append(cause("FieldValueInvalid", f"{where}.{field}", text))
    unavailable = str(rolling["maxUnavailable"]).removesuffix("%")
    if not found and int(unavailable) == int(str(rolling["maxSurge"]).removesuffix("%")) == 0:
        text = f"Invalid value: {rolling['maxUnavailable']}: may not be 0 when `maxSurge` is 0"
        found.append(cause("FieldValueInvalid", f"{where}.maxUnavailable", text))
    elif not found and "%" in str(rolling["maxUnavailable"]) and int(unavailable) > 100:  # noqa: PLR2004 - per cent
        text = f'Invalid value: "{rolling["maxUnavailable"]}": must not be greater than 100%'
        found.append(cause("FieldValueInvalid", f"{where}.maxUnavailable", text))
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


def _pod_faults(obj: Obj, before: Obj | None) -> list[Obj]:
    spec = obj.get("spec") or {}
    found = _container_faults(spec, "spec")
    if before is not None and _immutable_of(before["spec"]) != _immutable_of(spec):
        text = "Forbidden: pod updates may not change fields other than the images"
        found.append(cause("FieldValueForbidden", "spec", text))
    return found


def _immutable_of(spec: Obj) -> Obj:
    """Return what of a pod stays as it is (ValidatePodUpdate), a few timers aside."""
    spec = clone(spec)
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        container.pop("image", None)
    for timer in ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"):
        spec.pop(timer, None)
    return spec


def _route_faults(obj: Obj, _: Obj | None) -> list[Obj]:
    """Check the fields that a traffic split lives on (the schema of Gateway API's HTTPRoute)."""
    spec = obj.get("spec")
    if wrong := faults(ROUTE_SPEC, spec, "", "spec"):
        return [cause("FieldValueTypeInvalid", "spec", f"Invalid value: {text}") for text in wrong]
    found = []
    for first, rule in enumerate((spec or {}).get("rules") or ()):
        for second, backend in enumerate((rule or {}).get("backendRefs") or ()):
            where = f"spec.rules[{first}].backendRefs[{second}]"
            weight = (backend or {}).get("weight")
            if not (backend or {}).get("name"):
                found.append(cause("FieldValueRequired", f"{where}.name", "Required value"))
            if weight is not None and not 0 <= weight <= HEAVIEST:
                text = f"Invalid value: {weight}: should be from 0 to {HEAVIEST}"
                found.append(cause("FieldValueInvalid", f"{where}.weight", text))
    return found


_CHECKS: dict[str, Callable[[Obj, Obj | None], list[Obj]]] = {
    DEPLOYMENTS.kind: _deployment_faults,
    REPLICASETS.kind: _workload_faults,
    CONFIGMAPS.kind: _configmap_faults,
    EVENTS.kind: _event_faults,
    PODS.kind: _pod_faults,
    ROUTES.kind: _route_faults,
}
