"""From a YAML file to settings, or to a list of all that is wrong with it."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from receiver.config.settings import Settings, parts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where, and what."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class _Loader(yaml.SafeLoader):
    """Takes a key that is there twice for the mistake it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is no text: quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read(path: Path, *, insecure: bool = False) -> Settings | list[Problem]:
    """Read a configuration file; return the settings, or every problem found.

    Without any credential for the webhook it is refused unless `insecure` says that this is meant.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [Problem(path="", text=f"{path}: cannot be read: {type(error).__name__}")]
    return parse(text, insecure=insecure)


def parse(text: str, *, insecure: bool = False) -> Settings | list[Problem]:
    """Read the text of a configuration; see `read`."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else ""
        return [Problem(path=where, text=str(getattr(error, "problem", None) or "is no YAML"))]
    except (ValueError, RecursionError):
        return [Problem(path="", text="is no YAML that can be read")]
    if document is None:
        document = {}
    if not isinstance(document, dict):
        return [Problem(path="", text="the top level must be a mapping")]
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        return [_problem(one) for one in error.errors(include_input=False, include_url=False)]
    webhook = settings.auth.webhook
    if not webhook.bearer_tokens and webhook.basic is None and not insecure:
        text = "no credential is configured: anybody could post alerts (--insecure if you mean it)"
        return [Problem(path="auth.webhook", text=text)]
    return settings


def _problem(error: Any) -> Problem:
    steps = [step for step in error["loc"] if step not in ("slack-webhook", "pagerduty")]
    path = ".".join(str(step) for step in steps)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(steps[-1]), _names(steps[:-1]), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return Problem(path=path, text=f"is no setting{hint}")
    return Problem(path=path, text=str(error["msg"]).removeprefix("Value error, "))


def _names(steps: list[Any]) -> list[str]:
    """Return the settings there are below a path."""
    parts: list[type[BaseModel]] = [Settings]
    for step in steps:
        fields = [part.model_fields[step] for part in parts if step in part.model_fields]
        below = [one for field in fields for one in parts_of(field.annotation)]
        parts = list(below) or parts
    return [name for part in parts for name in part.model_fields]
