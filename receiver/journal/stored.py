"""A journal as the JSON of its ConfigMap, versioned. Pure."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter

from receiver import versioned
from receiver.journal.target import FIRST, SECOND, VERSION, VERSIONS, Journal

_SINCE_3 = frozenset({"aborted", "release"})
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
    newer = found.keys() & _SINCE_2 or any(
        item.keys() & keys for key, keys in _SINCE_2_IN.items() for item in found.get(key, ())
    )
    return SECOND if newer else FIRST


def name_of(namespace: str, deployment: str) -> str:
    """Return the name of a target's ConfigMap: readable, unique, at most 253 characters."""
    digest = sha256(f"{namespace}/{deployment}".encode()).hexdigest()[:10]
    return f"journal-{namespace}-{deployment[:150].rstrip('.-')}-{digest}"


OWN = "journal-of-the-receiver"
