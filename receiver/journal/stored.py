"""A journal as the JSON of its ConfigMap, versioned. Pure."""

import json
from dataclasses import replace
from hashlib import sha256

from pydantic import ConfigDict, TypeAdapter, ValidationError

from receiver.errors import StateUnreadable
from receiver.journal.target import FIRST, VERSION, Journal

# A frozen dataclass with these is read back exactly, or not at all.
_STRICT = ConfigDict(extra="forbid")
_SINCE_2 = frozenset({"rehearsals", "troubled", "verified"})
Journal.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
_JOURNAL: TypeAdapter[Journal] = TypeAdapter(Journal)


def load(text: str | None) -> Journal:
    """Read a journal; None is an empty one.

    Raises `StateUnreadable` for what is damaged or of a newer version: it is kept as it is.
    """
    if text is None:
        return Journal()
    try:
        version = json.loads(text).get("version")
    except (ValueError, AttributeError, RecursionError):
        raise StateUnreadable("the journal is damaged: it is no JSON object") from None
    if version not in (FIRST, VERSION):
        raise StateUnreadable(f"the journal is of version {version}, known is {VERSION}")
    try:
        return replace(_JOURNAL.validate_json(text), version=VERSION)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"][:4])
        raise StateUnreadable(f"the journal is damaged: {where}: {first['msg']}") from None


def dump(journal: Journal) -> str:
    """Write a journal as JSON; what is as it is by default is left out."""
    found = _JOURNAL.dump_python(journal, mode="json", exclude_defaults=True)
    found["version"] = VERSION if found.keys() & _SINCE_2 else FIRST
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def name_of(namespace: str, deployment: str) -> str:
    """Return the name of a target's ConfigMap: readable, unique, at most 253 characters."""
    digest = sha256(f"{namespace}/{deployment}".encode()).hexdigest()[:10]
    return f"journal-{namespace}-{deployment[:150].rstrip('.-')}-{digest}"


OWN = "journal-of-the-receiver"
