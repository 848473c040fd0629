"""What is written on a Deployment, and whether it was."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from receiver.rollout.reading import (
    CAUSE,
    RECORD,
    RELEASE,
    SUSPECTS,
    VOID,
    Obj,
    Revision,
    Rollout,
    pure,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Our annotation: which intent of which incident wrote this template."""

    incident: str
    intent: str


def undo(
    rollout: Rollout,
    to: Revision,
    *,
    record: Obj,
    cause: str,
) -> list[Obj]:
    """Return the one JSON Patch of a rollback: guard, swap and record in a single write.

    `generation` is the compare-and-set token: spec and annotation changes move it (registry/apps/
    deployment/strategy.go), status writes of the running rollout do not. No annotation but our own
    and the change-cause is touched; the latter would otherwise call the good revision by the bad
    one's text, for the controller copies it (k/k#23087).
    """
    annotations = {CAUSE: cause, RECORD: json.dumps(record, sort_keys=True)}
    return [
        *_guard(rollout.uid, rollout.generation),
        {"op": "replace", "path": "/spec/template", "value": pure(to.template)},
        *_annotate(rollout, annotations),
        *_drop(rollout, SUSPECTS),  # its fence has done its work
    ]


def promote(rollout: Rollout, template: Obj, *, record: Obj, cause: str) -> list[Obj]:
    """Return the one JSON Patch that gives a Deployment the template which soaked elsewhere."""
    annotations = {CAUSE: cause, RECORD: json.dumps(record, sort_keys=True)}
    return [
        *_guard(rollout.uid, rollout.generation),
        {"op": "replace", "path": "/spec/template", "value": template},
        *_annotate(rollout, annotations),
    ]


def share(
    canary: Rollout, replicas: int, *, note: str, cause: str, template: Obj | None = None
) -> list[Obj]:
    """Return the one JSON Patch that gives a canary so many pods, and a template if it needs one.

    `note` is written always, and so the generation moves always: what a replica that had stalled
    sends later can no longer apply.
    """
    change: list[Obj] = []
    annotations = {RELEASE: note}
    if template is not None:
        change.append({"op": "replace", "path": "/spec/template", "value": template})
        annotations[CAUSE] = cause
    if replicas != canary.desired:
        change.append({"op": "replace", "path": "/spec/replicas", "value": replicas})
    return [*_guard(canary.uid, canary.generation), *change, *_annotate(canary, annotations)]


def void(rollout: Rollout, generation: int, intent: str) -> list[Obj]:
    """Return the patch that makes sure an intent which tests `generation` can never apply."""
    return [*_guard(rollout.uid, generation), *_annotate(rollout, {VOID: intent})]


def fence(rollout: Rollout, codes: Collection[str]) -> list[Obj]:
    """Return the patch that names suspects on the Deployment, and so moves its generation."""
    value = ",".join(sorted(set(codes) | suspects_named(rollout)))
    guard = _guard(rollout.uid, rollout.generation)[:1]
    return [*guard, *_annotate(rollout, {SUSPECTS: value})]


def suspects_named(rollout: Rollout) -> frozenset[str]:
    """Return the codes that the fence on the Deployment names."""
    return frozenset(filter(None, rollout.annotations.get(SUSPECTS, "").split(",")))


def _guard(uid: str, generation: int) -> list[Obj]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/metadata/generation", "value": generation},
    ]


def _annotate(rollout: Rollout, annotations: dict[str, str]) -> list[Obj]:
    if not rollout.annotations:
        return [{"op": "add", "path": "/metadata/annotations", "value": annotations}]
    return [
        {"op": "add", "path": "/metadata/annotations/" + _pointer(key), "value": value}
        for key, value in annotations.items()
    ]


def _drop(rollout: Rollout, key: str) -> list[Obj]:
    if key not in rollout.annotations:
        return []
    return [{"op": "remove", "path": "/metadata/annotations/" + _pointer(key)}]


def _pointer(key: str) -> str:
    """Escape one step of a JSON Pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


# --- whether an intent was applied


def record(id_: str, intent: str, *, from_: str, to: str, at: datetime, by: str) -> Obj:
    """Return our annotation: enough to know an intent by, and for people to read.

    `from_` and `to` are hashes, "" for one that has no ReplicaSet yet.
    """
    return {
        "v": 1,
        "id": id_,
        "intent": intent,
        "from": from_,
        "to": to,
        "at": at.isoformat(),
        "by": by,
    }


def record_in(annotations: dict[str, str]) -> Record | None:
    """Return our record; None where there is none or it cannot be read (anybody may edit it)."""
    try:
        found = json.loads(annotations.get(RECORD, ""))
        return Record(incident=str(found["id"]), intent=str(found["intent"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def fate(rollout: Rollout, intent: str) -> Literal["applied", "voided", "unknown"]:
    """Return what the objects say of an intent: the controller copies our annotations to the RS."""
    places = [rollout.annotations, *(revision.annotations for revision in rollout.revisions)]
    if any((record := record_in(place)) and record.intent == intent for place in places):
        return "applied"
    if any(place.get(VOID) == intent for place in places):
        return "voided"
    return "unknown"
