"""YAML without surprises: what a file holds, where it stands, and what is wrong with it as a file.

Only the scalars of YAML's core schema: `on`, `yes`, `12:30`, `010` and `2026-01-01` are what they
look like. A key that is there twice is a mistake, and so is one that is no text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

Path: TypeAlias = tuple[str | int, ...]

# An anchor can be used again and again, and so on: a few lines that are gigabytes.
MOST_NODES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where, and what."""

    path: str
    text: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.path
        if self.line is not None:
            where = f"{where} (line {self.line})" if where else f"line {self.line}"
        return f"{where}: {self.text}" if where else self.text


@dataclass(slots=True)
class Document:
    """What a file holds; `lines` says where each setting stands."""

    value: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, text: str) -> Problem:
        """Return a problem of a setting, with the line of it or of what it should stand in."""
        known = (
            self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines
        )
        return Problem(path=dotted(path), text=text, line=next(known, None))

    def at(self, path: Path) -> Any:
        """Return what stands at a path, None where there is nothing."""
        found: Any = self.value
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def dotted(path: Path) -> str:
    """Write a path: `auth.webhook.bearer_tokens[0].file`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in path)
    return "".join(steps).removeprefix(".")


class _Loader(yaml.SafeLoader):
    """Knows the scalars of the core schema and nothing else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - yaml's way to say it


_NULL, _BOOL, _INT, _FLOAT, _STR = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")
)
# YAML 1.2.2, 10.3.2. Tried in this order.
for _tag, _pattern in (
    (_NULL, r"null|Null|NULL|~|"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE"),
    (_INT, r"[-+]?[0-9]+"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), None)


def load(text: str) -> Document:
    """Read the text of a file. Never raises: what is wrong is among the problems."""
    return _read(text, _single)[0]


def load_all(text: str) -> list[Document]:
    """Read a file of several documents, such as manifests; empty ones are left out.

    A file that is no YAML is one document with a problem.
    """
    documents = _read(text, _each)
    return [each for each in documents if each.value or each.problems]


def _single(loader: _Loader) -> list[yaml.Node | None]:
    return [loader.get_single_node()]


def _each(loader: _Loader) -> list[yaml.Node | None]:
    nodes: list[yaml.Node | None] = []
    while loader.check_node():
        nodes.append(loader.get_node())
    return nodes


def _read(text: str, nodes: Callable[[_Loader], list[yaml.Node | None]]) -> list[Document]:
    document = Document()
    try:
        loader = _Loader(text)
        try:
            return [_document(node) for node in nodes(loader)]
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else None
        document.problems.append(Problem(path="", text=error.problem or "is no YAML", line=line))
    except yaml.YAMLError:
        document.problems.append(Problem(path="", text="is no YAML: it holds control characters"))
    except RecursionError:
        document.problems.append(Problem(path="", text="is nested too deeply"))
    return [document]


def _document(node: yaml.Node | None) -> Document:
    document = Document()
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
        return document
    if not isinstance(node, yaml.MappingNode):
        document.problems.append(Problem(path="", text="the top level must be a mapping"))
        return document
    document.value = _Reading(document).mapping(node, ())
    return document


class _Reading:
    """One walk over the nodes of a file."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._nodes = 0
        self._above: list[yaml.Node] = []

    def _say(self, node: yaml.Node, path: Path, text: str) -> None:
        line = node.start_mark.line + 1
        problem = Problem(path=dotted(path), text=text, line=line)
        self._document.problems.append(problem)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        """Return the settings of a mapping; one without a value is as if it were left out."""
        found: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STR:
                shown = str(getattr(key_node, "value", ""))[:40] if key_node.tag != _NULL else ""
                self._say(key_node, path, f"the key {shown!r} is no text: quote it")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in seen:
                self._say(key_node, here, "is there twice")
                continue
            seen.add(key)
            self._document.lines[here] = key_node.start_mark.line + 1
            value = self._value(value_node, here)
            if value is not None:
                found[key] = value
        return found

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES or any(node is each for each in self._above):
            if self._nodes <= MOST_NODES + 1:
                self._say(node, path, "holds itself, or far too much")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._above.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            values = []
            for index, each in enumerate(node.value):
                here = (*path, index)
                self._document.lines[here] = each.start_mark.line + 1
                values.append(self._value(each, here))
            return values
        finally:
            self._above.pop()

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = str(node.value)
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT and len(text) < 20:  # noqa: PLR2004 - no setting needs more digits
            return int(text)
        if node.tag == _FLOAT:
            return float(text)
        if node.tag not in (_STR, _INT):
            self._say(node, path, f"has a tag that is not understood: {str(node.tag)[:60]}")
            return None
        return text
