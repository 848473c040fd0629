"""The body of a rollback by hand: checked, with the nearest name for a wrong one."""

import difflib
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from receiver.controller.answers import Wish
from receiver.errors import Rejected

KEY_LENGTH = 200


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text")
    return text.strip()


_Line = Annotated[str, Field(strict=True, max_length=500), AfterValidator(_printable)]
# A revision. Beyond 2**53 a JSON number is not the same everywhere.
_Number = Annotated[int, Field(ge=1, lt=2**53)]


class _Rollback(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: _Line
    to_revision: _Number | None = None
    expect_current: _Line | _Number | None = None
    dry_run: bool = False
    force: bool = False
    quarantine: bool = True
    wait: bool = False


class _Why(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: _Line


def wish(body: bytes, key: str | None) -> Wish:
    """Read what a person wants; raises `Rejected` (400) with the field that is wrong."""
    if key is not None and not (0 < len(key) <= KEY_LENGTH and key.isprintable()):
        raise Rejected(f"Idempotency-Key: 1 to {KEY_LENGTH} printable characters")
    try:
        read = _Rollback.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _rejected(error, _Rollback) from None
    expected = read.expect_current
    return Wish(
        reason=read.reason,
        to_revision=read.to_revision,
        expect_current=None if expected is None else str(expected),
        dry_run=read.dry_run,
        force=read.force,
        quarantine=read.quarantine,
        wait=read.wait,
        key=key,
        digest=sha256(read.model_dump_json().encode()).hexdigest(),
    )


def why(body: bytes) -> str:
    """Read the reason for a stop or a pause; raises `Rejected` (400)."""
    try:
        return _Why.model_validate_json(body or b"{}").reason
    except ValidationError as error:
        raise _rejected(error, _Why) from None


def _rejected(error: ValidationError, model: type[BaseModel]) -> Rejected:
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "json_invalid":
        return Rejected("the body is not JSON", reason="not_json")
    name = str(first["loc"][0])[:50] if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, list(model.model_fields), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return Rejected(f"{name}: is no field of this request{hint}", reason="bad_field")
    text = str(first["msg"]).removeprefix("Value error, ")
    return Rejected(f"{name or 'body'}: {text}", reason="bad_field")
