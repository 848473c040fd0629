"""The settings as a table: for the README, and to find the name that was meant."""

from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from receiver.config.settings import Part, Settings
from receiver.config.values import Shown

# Of a union of parts, the one that says which it is stands in the table once, with its values.
_KIND = "kind"


def described() -> list[tuple[str, str, str]]:
    """Return (path, default, meaning) of every setting; `[]` is one of a list, `NAME` a name."""
    return list(dict.fromkeys(_rows(Settings, "")))


def _rows(part: type[Part], path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in part.model_fields.items():
        here = f"{path}.{name}" if path else name
        below = parts_of(field.annotation)
        if name == _KIND:
            yield here, "required", "slack-webhook or pagerduty"
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


def names_below(path: tuple[str | int, ...]) -> list[str]:
    """Return the settings there are below a path."""
    parts: list[type[Part]] = [Settings]
    steps = list(path)
    while steps:
        step = steps.pop(0)
        fields = [part.model_fields[step] for part in parts if step in part.model_fields]
        parts = [each for field in fields for each in parts_of(field.annotation)]
        if steps and any(_step(field.annotation) for field in fields):
            steps.pop(0)  # which one of a list, or the name of a sink
    return list(dict.fromkeys(name for part in parts for name in part.model_fields))
