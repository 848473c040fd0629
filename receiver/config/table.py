"""The settings as a table: for the README, and to find the name that was meant."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from receiver.config.part import Part
from receiver.config.settings import Settings
from receiver.config.sinks import KINDS
from receiver.config.values import Shown

# Of a union of parts, the one that says which it is stands in the table once, with its values.
_KIND = "kind"
*_some, _last = KINDS
ONE_KIND = f"{', '.join(_some)} or {_last}"


def described() -> list[tuple[str, str, str]]:
    """Return (path, default, meaning) of every setting; `[]` is one of a list, `NAME` a name.

    What several kinds of sinks call alike is one row, with what each has for it.
    """
    found: dict[str, tuple[list[str], list[str]]] = {}
    for path, default, meaning in _rows(Settings, ""):
        defaults, meanings = found.setdefault(path, ([], []))
        defaults.append(default)
        meanings.append(meaning)
    return [(path, _each(ds, " or "), _each(ms, "; ")) for path, (ds, ms) in found.items()]


def _each(said: list[str], between: str) -> str:
    return between.join(dict.fromkeys(said))


def _rows(part: type[Part], path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in part.model_fields.items():
        name = field.alias or name  # noqa: PLW2901 - as it is written in the file
        here = f"{path}.{name}" if path else name
        below = parts_of(field.annotation)
        if name == _KIND:
            yield here, "required", ONE_KIND
        elif not below:
            yield here, _default(field), field.description or ""
        for each in below:
            yield from _rows(each, here + _step(field.annotation))


def _step(annotation: Any) -> str:
    origin = get_origin(annotation)
    return "[]" if origin is tuple else ".NAME" if origin is dict else ""


def parts_of(annotation: Any) -> list[type[Part]]:
    """Return the parts of the configuration that a type holds, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [part for argument in get_args(annotation) for part in parts_of(argument)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    for shown in field.metadata:
        if isinstance(shown, Shown):
            return shown.write(value)
    if value in (None, "", (), {}):
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written(field.annotation), value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _written(annotation: Any) -> Callable[[Any], str]:
    """Return how one of a tuple is written."""
    for argument in get_args(annotation):
        for shown in getattr(argument, "__metadata__", ()):
            if isinstance(shown, Shown):
                return shown.write
    return str


def names_beside(path: tuple[str | int, ...]) -> list[str]:
    """Return the settings there are where one of this path stands, the kind of a sink in it."""
    parts: list[type[Part]] = [Settings]
    steps = list(path[:-1])
    while steps:
        step = steps.pop(0)
        fields = [part.model_fields[step] for part in parts if step in part.model_fields]
        parts = [each for field in fields for each in parts_of(field.annotation)]
        if steps and any(_step(field.annotation) for field in fields):
            steps.pop(0)  # which one of a list, or the name of a sink
        if steps and steps[0] in KINDS and len(parts) > 1:
            parts = [KINDS[str(steps.pop(0))]]
    named = [each for part in parts for each in part.model_fields.items()]
    return list(dict.fromkeys(field.alias or name for name, field in named))


def meant(given: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest of the known names was meant, "" for none."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=1)
    near = near or [name for name in names if len(given) > 2 and name.startswith(given)]  # noqa: PLR2004 - less is no word
    return f"; did you mean {near[0]}?" if near else ""
