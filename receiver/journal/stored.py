"""A journal as the JSON of its ConfigMap, versioned. Pure."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter

from receiver import versioned
from receiver.journal.target import FIRST, SECOND, VERSION, VERSIONS, Journal
from receiver.reasons import Reason

_SINCE_3 = frozenset({"aborted", "release"})
# A canary's journal holds no release, but its alerts are judged by one: a reason is a word that an
# older version may not know. It would take the journal for damaged, where it is only newer.
_REASONS_SINCE_3 = frozenset(
    {
        Reason.RELEASE_ABORTED,
        Reason.RELEASING,
        Reason.AWAITING_APPROVAL,
        Reason.CANARY_NOT_READY,
        Reason.PROMOTION_FAILED,
        Reason.RELEASE_DRIFTED,
        Reason.RELEASE_UNHEALTHY,
        Reason.RELEASE_BLIND,
        Reason.RELEASE_HELD,
        Reason.RELEASE_REJECTED,
        Reason.NO_PLAN,
        Reason.NO_CANARY,
        Reason.NO_RELEASE,
        Reason.NO_SUCH_CHECK,
        Reason.NOT_RUNNING,
        Reason.RELEASE_IN_PROGRESS,
        Reason.RELEASE_WAS_ABORTED,
        Reason.TARGET_ALERTING,
        Reason.NOT_WAITING,
        Reason.NOT_HELD,
        Reason.NOT_AN_APPROVER,
        Reason.ANOTHER_PERSON,
    }
)
# What holds one. (Of an answer to a key it is only text.)
_REASONED = ("episodes", "incidents", "notices")
_SINCE_2 = frozenset({"dead", "rehearsals", "troubled", "verified"})
_SINCE_2_IN = {
    "episodes": frozenset({"external_url", "labels", "value"}),
    "incidents": frozenset({"resolved_at"}),
    "notices": frozenset({"members", "more", "sinks", "tally"}),
    "owed": frozenset({"doubt", "fell_back", "instead_of", "waiting"}),
    "told": frozenset({"mark"}),
}
Journal.__pydantic_config__ = versioned.STRICT  # type: ignore[attr-defined]
_JOURNAL: TypeAdapter[Journal] = TypeAdapter(Journal)


def load(text: str | None) -> Journal:
    """Read a journal; None is an empty one.

    Raises `StateUnreadable` for what is damaged or of a newer version: it is kept as it is.
    """
    if text is None:
        return Journal()
    found = versioned.read(text, _JOURNAL, what="journal", versions=VERSIONS)
    return replace(found, version=VERSION)


def dump(journal: Journal) -> str:
    """Write a journal as JSON; what is as it is by default is left out."""
    found = _JOURNAL.dump_python(journal, mode="json", exclude_defaults=True)
    found["version"] = _oldest(found)
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def _oldest(found: dict[str, Any]) -> int:
    """Return the oldest version that knows all of it."""
    if found.keys() & _SINCE_3:
        return VERSION
    if any(item["reason"] in _REASONS_SINCE_3 for key in _REASONED for item in found.get(key, ())):
        return VERSION
    newer = found.keys() & _SINCE_2 or any(
        item.keys() & keys for key, keys in _SINCE_2_IN.items() for item in found.get(key, ())
    )
    return SECOND if newer else FIRST


def name_of(namespace: str, deployment: str) -> str:
    """Return the name of a target's ConfigMap: readable, unique, at most 253 characters."""
    digest = sha256(f"{namespace}/{deployment}".encode()).hexdigest()[:10]
    return f"journal-{namespace}-{deployment[:150].rstrip('.-')}-{digest}"


OWN = "journal-of-the-receiver"
