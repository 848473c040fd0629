"""The bodies of what people ask for: checked, with the nearest name for a wrong field."""

import difflib
import re
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from receiver import alerts as al
from receiver.controller.answers import ReleaseWish, Wish
from receiver.errors import Rejected
from receiver.journal import SAID

KEY_LENGTH = 200


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text")
    return text.strip()


def _container(name: str) -> str:
    if not al.is_namespace(name):  # the same rule: a label of RFC 1123
        raise ValueError("each is the name of a container and its image")
    return name


def _image(image: str) -> str:
    # What is no image at all; the rest is for the API server to judge.
    if not re.fullmatch(r"[!-~]{1,500}", image):
        raise ValueError("an image is one word, such as registry.example/shop:1.4.2")
    return image


_Line = Annotated[str, Field(strict=True, max_length=500), AfterValidator(_printable)]
_Images = Annotated[
    dict[Annotated[str, AfterValidator(_container)], Annotated[str, AfterValidator(_image)]],
    Field(max_length=50),
]
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


class _Release(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: _Line
    images: _Images | None = None
    plan: _Line | None = None
    version: Annotated[_Line, Field(max_length=SAID)] | None = None
    force: bool = False
    dry_run: bool = False


class Tick(BaseModel):
    """What becomes of a line of a checklist."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    done: bool = True
    note: Annotated[_Line, Field(max_length=SAID)] | None = None


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


def release_wish(body: bytes) -> ReleaseWish:
    """Read which release a person wants; raises `Rejected` (400) with the field that is wrong."""
    try:
        read = _Release.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _rejected(error, _Release) from None
    return ReleaseWish(
        reason=read.reason,
        images=tuple((read.images or {}).items()),
        plan=read.plan or "",
        version=read.version or "",
        force=read.force,
        dry_run=read.dry_run,
    )


def tick(body: bytes) -> Tick:
    """Read what becomes of a line of a checklist; raises `Rejected` (400)."""
    try:
        return Tick.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _rejected(error, Tick) from None


def why(body: bytes) -> str:
    """Read the reason for what a person does; raises `Rejected` (400)."""
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
