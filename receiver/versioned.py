"""What we keep as JSON and read back exactly, or not at all: it bears its version. Pure."""

import json
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from receiver.errors import StateUnreadable

# A frozen dataclass with these is read back exactly, or not at all.
STRICT = ConfigDict(extra="forbid")

T = TypeVar("T")


def read(text: str, adapter: TypeAdapter[T], *, what: str, versions: tuple[int, ...]) -> T:
    """Read a text of one of these versions, the newest of which comes last.

    Raises `StateUnreadable`, which calls it `what`, for what is damaged or of another version.
    """
    try:
        version = json.loads(text).get("version")
    except (ValueError, AttributeError, RecursionError):
        raise StateUnreadable(f"the {what} is damaged: it is no JSON object") from None
    if version not in versions:
        raise StateUnreadable(f"the {what} is of version {version}, known is {versions[-1]}")
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"][:4])
        raise StateUnreadable(f"the {what} is damaged: {where}: {first['msg']}") from None
