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
_IMAGE = "[!-~]{1,500}"


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
    if not re.fullmatch(_IMAGE, image):
        raise ValueError("an image is one word, such as registry.example/shop:1.4.2")
    return image


# For the document of the API, what `_printable` says, but for code points without a meaning: no
# controls, no other spaces, nothing that turns the text around, and not spaces alone.
_UNPRINTABLE = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    r"\ue000-\uf8ff\ufeff"
)
_LINE = rf"^ *[^ {_UNPRINTABLE}][^{_UNPRINTABLE}]*$"

_Line = Annotated[
    str,
    Field(strict=True, max_length=500, json_schema_extra={"pattern": _LINE}),
    AfterValidator(_printable),
]
_Image = Annotated[str, Field(json_schema_extra={"pattern": f"^{_IMAGE}$"}), AfterValidator(_image)]
_Images = Annotated[
    dict[Annotated[str, AfterValidator(_container)], _Image],
    Field(max_length=50, json_schema_extra={"propertyNames": {"pattern": f"^{al.LABEL.pattern}$"}}),
]
# A revision. Beyond 2**53 a JSON number is not the same everywhere.
_Number = Annotated[int, Field(ge=1, lt=2**53)]


class Rollback(BaseModel):
    """A rollback by hand."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: _Line = Field(description="why, for the record: one line of text")
    to_revision: _Number | None = Field(
        default=None, description="the revision to go to; without it the last good one"
    )
    expect_current: _Line | _Number | None = Field(
        default=None,
        description="revision number or pod-template-hash that must be current, else 409",
    )
    dry_run: bool = Field(
        default=False, description="let the API server judge the patch and write nothing"
    )
    force: bool = Field(default=False, description="get past what only needs force")
    quarantine: bool = Field(
        default=True, description="false: the revision that is left may be rolled back to later"
    )
    wait: bool = Field(
        default=False,
        description="answer when all is over, instead of when the patch is applied",
    )


class NewRelease(BaseModel):
    """A staged release that is to begin."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: _Line = Field(description="why, for the record: one line of text")
    images: _Images | None = Field(
        default=None,
        description="the image that each of these containers of the canary is to get;"
        " without any, what it has is released",
    )
    plan: _Line | None = Field(
        default=None, description="the plan; without it the first of the configuration"
    )
    version: Annotated[_Line, Field(max_length=SAID)] | None = Field(
        default=None, description="what people call it; without it the new images"
    )
    force: bool = Field(default=False, description="get past what only needs force")
    dry_run: bool = Field(default=False, description="say what would be, and write nothing")


class Tick(BaseModel):
    """What becomes of a line of a checklist."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    done: bool = Field(default=True, description="false takes the tick away")
    note: Annotated[_Line, Field(max_length=SAID)] | None = Field(
        default=None, description="one line of text beside the tick"
    )


class Why(BaseModel):
    """The reason for what a person does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: _Line = Field(description="why, for the record: one line of text")


def wish(body: bytes, key: str | None) -> Wish:
    """Read what a person wants; raises `Rejected` (400) with the field that is wrong."""
    if key is not None and not (0 < len(key) <= KEY_LENGTH and key.isprintable()):
        raise Rejected(f"Idempotency-Key: 1 to {KEY_LENGTH} printable characters")
    try:
        read = Rollback.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _rejected(error, Rollback) from None
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
        read = NewRelease.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _rejected(error, NewRelease) from None
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
        return Why.model_validate_json(body or b"{}").reason
    except ValidationError as error:
        raise _rejected(error, Why) from None


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
