"""The Go types behind the JSON: what decodes, what is unknown, and how it is written again.

A small table of the types in staging api (apps/v1, core/v1, events/v1) and apimachinery
(meta/v1), and the rules of its decoder (sigs.k8s.io/json): names are case-sensitive, null is the
zero value, and what is empty is not written again where the type says `omitempty`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from receiver.sandbox.objects import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    ROUTES,
    Obj,
    Resource,
    clone,
)

# A scalar by its Go name. With a star it is a pointer, or never left out: a zero is written.
Scalar: TypeAlias = str
Type: TypeAlias = "Scalar | Struct | Slice | Map"


@dataclass(frozen=True)
class Struct:
    """A Go struct. An open one keeps what is not listed: a type that this table shortens."""

    name: str
    fields: Mapping[str, Type]
    is_open: bool = False


@dataclass(frozen=True)
class Slice:
    """A list of one type."""

    of: Type


@dataclass(frozen=True)
class Map:
    """A map from strings."""

    of: Type


_INTEGERS = {"int32": 2**31, "int64": 2**63}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def _fields(kind: Type, names: str) -> dict[str, Type]:
    return dict.fromkeys(names.split(), kind)


_STRINGS = Slice("string")
_OWNER = Struct(
    "OwnerReference",
    _fields("string", "apiVersion kind name uid")
    | _fields("*bool", "controller blockOwnerDeletion"),
)
_META = Struct(
    "ObjectMeta",
    _fields("string", "name generateName namespace selfLink uid resourceVersion")
    | _fields("int64", "generation")
    | _fields("time", "creationTimestamp deletionTimestamp")
    | _fields("*int64", "deletionGracePeriodSeconds")
    | _fields(Map("string"), "labels annotations")
    | {
        "ownerReferences": Slice(_OWNER),
        "finalizers": _STRINGS,
        "managedFields": Slice(Struct("ManagedFieldsEntry", {}, is_open=True)),
    },
)
_SELECTOR = Struct(
    "LabelSelector",
    {
        "matchLabels": Map("string"),
        "matchExpressions": Slice(
            Struct(
                "LabelSelectorRequirement",
                {"key": "string", "operator": "string", "values": _STRINGS},
            )
        ),
    },
)
_NAMED = {"name": "string"}
_PORT = Struct(
    "ContainerPort",
    _fields("string", "name protocol hostIP") | _fields("int32", "hostPort containerPort"),
)
_ENV = Struct("EnvVar", _fields("string", "name value") | {"valueFrom": "any"})
_CONTAINER = Struct(
    "Container",
    _fields("string", "name image workingDir terminationMessagePath terminationMessagePolicy")
    | _fields("string", "imagePullPolicy")
    | _fields("*string", "restartPolicy")
    | _fields("bool", "stdin stdinOnce tty")
    | _fields(_STRINGS, "command args")
    | _fields(Slice("any"), "envFrom volumeDevices resizePolicy restartPolicyRules")
    | _fields("any", "resources livenessProbe readinessProbe startupProbe lifecycle")
    | {
        "securityContext": "any",
        "ports": Slice(_PORT),
        "env": Slice(_ENV),
        "volumeMounts": Slice(Struct("VolumeMount", _NAMED, is_open=True)),
    },
)
_POD_SPEC = Struct(
    "PodSpec",
    _fields(Slice(_CONTAINER), "initContainers containers")
    | _fields("string", "restartPolicy dnsPolicy serviceAccountName serviceAccount nodeName")
    | _fields("string", "hostname subdomain schedulerName priorityClassName")
    | _fields("*string", "runtimeClassName preemptionPolicy hostnameOverride")
    | _fields("bool", "hostNetwork hostPID hostIPC")
    | _fields("*bool", "automountServiceAccountToken shareProcessNamespace enableServiceLinks")
    | _fields("*bool", "setHostnameAsFQDN hostUsers")
    | _fields("*int64", "terminationGracePeriodSeconds activeDeadlineSeconds")
    | _fields("any", "securityContext affinity dnsConfig overhead os resources workloadRef")
    | _fields(Slice("any"), "ephemeralContainers tolerations hostAliases readinessGates")
    | _fields(Slice("any"), "topologySpreadConstraints schedulingGates resourceClaims")
    | _fields(Slice(Struct("LocalObjectReference", _NAMED)), "imagePullSecrets")
    | {
        "volumes": Slice(Struct("Volume", _NAMED, is_open=True)),
        "nodeSelector": Map("string"),
        "priority": "*int32",
    },
)
_TEMPLATE = Struct("PodTemplateSpec", {"metadata": _META, "spec": _POD_SPEC})
_CONDITIONS = Slice(
    Struct(
        "Condition",
        _fields("string", "type status reason message")
        | _fields("time", "lastUpdateTime lastTransitionTime lastProbeTime")
        | _fields("int64", "observedGeneration"),
    )
)
_DEPLOYMENT = {
    "spec": Struct(
        "DeploymentSpec",
        _fields("*int32", "replicas revisionHistoryLimit progressDeadlineSeconds")
        | {
            "minReadySeconds": "int32",
            "paused": "bool",
            "selector": _SELECTOR,
            "template": _TEMPLATE,
            "strategy": Struct(
                "DeploymentStrategy",
                {
                    "type": "string",
                    "rollingUpdate": Struct(
                        "RollingUpdateDeployment",
                        _fields("intstr.IntOrString", "maxUnavailable maxSurge"),
                    ),
                },
            ),
        },
    ),
    "status": Struct(
        "DeploymentStatus",
        _fields("int32", "replicas updatedReplicas readyReplicas availableReplicas")
        | _fields("int32", "unavailableReplicas")
        | _fields("*int32", "terminatingReplicas collisionCount")
        | {"observedGeneration": "int64", "conditions": _CONDITIONS},
    ),
}
_REPLICASET = {
    "spec": Struct(
        "ReplicaSetSpec",
        {
            "replicas": "*int32",
            "minReadySeconds": "int32",
            "selector": _SELECTOR,
            "template": _TEMPLATE,
        },
    ),
    "status": Struct(
        "ReplicaSetStatus",
        _fields("*int32", "replicas terminatingReplicas")
        | _fields("int32", "fullyLabeledReplicas readyReplicas availableReplicas")
        | {"observedGeneration": "int64", "conditions": _CONDITIONS},
    ),
}
_CONTAINER_STATUSES = Slice(
    Struct(
        "ContainerStatus",
        _fields("string", "name image imageID containerID")
        | {"ready": "*bool", "restartCount": "*int32"},
        is_open=True,
    )
)
_POD = {
    "spec": _POD_SPEC,
    "status": Struct(
        "PodStatus",
        _fields("string", "phase message reason hostIP podIP qosClass")
        | _fields(_CONTAINER_STATUSES, "containerStatuses initContainerStatuses")
        | {"startTime": "time", "conditions": _CONDITIONS},
        is_open=True,
    ),
}
_REFERENCE = Struct(
    "ObjectReference",
    _fields("string", "kind namespace name uid apiVersion resourceVersion fieldPath"),
)
_EVENT = (
    _fields("string", "reportingController reportingInstance action reason note type")
    | _fields(_REFERENCE, "regarding related")
    | _fields("time", "deprecatedFirstTimestamp deprecatedLastTimestamp")
    | {
        "eventTime": "time",
        "series": Struct("EventSeries", {"count": "int32", "lastObservedTime": "time"}),
        "deprecatedSource": Struct("EventSource", _fields("string", "component host")),
        "deprecatedCount": "int32",
    }
)
# A custom resource is a schema of its own, and never decoded: wrong types are invalid (422).
_BACKEND = Struct(
    "HTTPBackendRef", _fields("string", "name") | _fields("*int32", "weight port"), is_open=True
)
_RULE = Struct("HTTPRouteRule", {"backendRefs": Slice(_BACKEND)}, is_open=True)
ROUTE_SPEC = Struct(
    "HTTPRouteSpec", _fields(_STRINGS, "hostnames") | _fields(Slice(_RULE), "rules"), is_open=True
)
_ROUTE = {"spec": "any", "status": "any"}

_TOP: dict[str, dict[str, Type]] = {
    DEPLOYMENTS.kind: {**_DEPLOYMENT},
    REPLICASETS.kind: {**_REPLICASET},
    PODS.kind: {**_POD},
    CONFIGMAPS.kind: {**_fields(Map("string"), "data binaryData"), "immutable": "*bool"},
    NAMESPACES.kind: {
        "spec": Struct("NamespaceSpec", {"finalizers": _STRINGS}),
        "status": Struct("NamespaceStatus", {"phase": "string", "conditions": _CONDITIONS}),
    },
    EVENTS.kind: _EVENT,
    ROUTES.kind: {**_ROUTE},
}
_TYPES = {
    kind: Struct(kind, _fields("string", "apiVersion kind") | {"metadata": _META} | fields)
    for kind, fields in _TOP.items()
}


def decode_fault(resource: Resource, obj: Any) -> str | None:
    """Say why this JSON cannot be read into the Go type, as the decoder says it; else None."""
    if not isinstance(obj, dict):
        return _cannot(obj, "", "", f"v1.{resource.kind}")
    return next(iter(faults(_TYPES[resource.kind], obj)), None)


def unknown_fields(resource: Resource, obj: Obj) -> list[str]:
    """Name the fields that the Go type does not have, as strict decoding does."""
    return list(_unknown(_TYPES[resource.kind], obj, ""))


def read(resource: Resource, obj: Obj) -> Obj:
    """Return the object as it is after decoding and encoding. It must decode."""
    written = _written(_TYPES[resource.kind], obj)
    return written if isinstance(written, dict) else {}


def faults(kind: Type, value: Any, owner: str = "", path: str = "") -> list[str]:
    """Return what does not decode."""
    found: list[str] = []
    _look(kind, value, owner, path, found)
    return found


def _look(kind: Type, value: Any, owner: str, path: str, found: list[str]) -> None:
    # One list for all: every write of every story comes by here.
    if value is None or kind == "any":
        return
    if isinstance(kind, str):
        wanted = kind.removeprefix("*")
        if not _fits(wanted, value):
            found.append(_cannot(value, owner, path, wanted))
    elif isinstance(kind, Struct):
        if not isinstance(value, dict):
            found.append(_cannot(value, owner, path, f"v1.{kind.name}"))
            return
        # Most fields of most objects are absent.
        for name, of in kind.fields.items():
            if (item := value.get(name)) is not None:
                _look(of, item, kind.name, f"{path}.{name}", found)
    elif isinstance(kind, Slice):
        if not isinstance(value, list):
            found.append(_cannot(value, owner, path, "[]"))
            return
        for item in value:
            _look(kind.of, item, owner, path, found)
    elif not isinstance(value, dict):
        found.append(_cannot(value, owner, path, "map[string]"))
    else:
        for item in value.values():
            _look(kind.of, item, owner, path, found)


def _fits(scalar: str, value: Any) -> bool:
    if scalar == "string":
        return isinstance(value, str)
    if scalar in _INTEGERS:
        # JSON's 5.0 is no Go integer.
        return type(value) is int and -_INTEGERS[scalar] <= value < _INTEGERS[scalar]
    if scalar == "bool":
        return isinstance(value, bool)
    if scalar == "intstr.IntOrString":
        return isinstance(value, str) or _fits("int32", value)
    if scalar == "time":
        return isinstance(value, str) and _is_time(value)
    return isinstance(value, str)


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _cannot(value: Any, owner: str, path: str, wanted: str) -> str:
    if wanted == "time" and isinstance(value, str):
        return f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse it'
    words = {dict: "object", list: "array", str: "string", bool: "bool"}
    found = words.get(type(value), f"number {value}")
    where = f"Go struct field {owner}{path}" if path else "Go value"
    return f"json: cannot unmarshal {found} into {where} of type {wanted}"


def _unknown(kind: Type, value: Any, path: str) -> Iterator[str]:
    if isinstance(kind, Struct) and isinstance(value, dict):
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if name in kind.fields:
                yield from _unknown(kind.fields[name], item, where)
            elif not kind.is_open:
                yield where
    elif isinstance(kind, Slice) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(kind.of, item, f"{path}[{index}]")
    elif isinstance(kind, Map) and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown(kind.of, item, f"{path}.{key}")


_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0}


def _written(kind: Type, value: Any) -> Any:
    """Write a value again; None where it is left out."""
    if value is None:
        return None
    if isinstance(kind, Struct):
        # In the order in which they came: whoever reads it by eye finds it as it was sent.
        return {
            name: written
            for name, item in value.items()
            if (written := _field(kind, name, item)) is not None
        }
    if isinstance(kind, Slice):
        return [_written_item(kind.of, item) for item in value] or None
    if isinstance(kind, Map):
        return {key: _written_item(kind.of, item) for key, item in value.items()} or None
    if isinstance(kind, str) and value == _ZEROS.get(kind):
        return None
    return clone(value)


def _field(kind: Struct, name: str, item: Any) -> Any:
    if name in kind.fields:
        return _written(kind.fields[name], item)
    return clone(item) if kind.is_open else None


def _written_item(kind: Type, item: Any) -> Any:
    """Write an element: in a list or a map the zero value stands for null."""
    if isinstance(kind, Struct):
        return _written(kind, item or {})
    if isinstance(kind, str) and item is None:
        return _ZEROS.get(kind)
    return clone(item)
