"""The parts of an expression. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

CHOOSING = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
AGGREGATIONS = CHOOSING | {"sum", "min", "max", "avg", "group", "count", "count_values"}
AGGREGATIONS |= {"stddev", "stdvar", "quantile"}
SETS = frozenset({"and", "or", "unless"})
COMPARES = frozenset({"==", "!=", "<=", ">=", "<", ">"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """One matcher of a selector: `code=~"5.."`."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Some part of an expression, and where it stands in the text."""

    begin: int
    end: int

    @property
    def below(self) -> "tuple[Node, ...]":
        """Return the parts it is made of."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Node):
    """A number, as it is written."""

    text: str

    @property
    def value(self) -> float:
        """Return its value; NaN for what only newer versions know, such as `5m`."""
        try:
            if self.text[:2].lower() == "0x":
                return int(self.text, 16)
            return float(self.text)
        except ValueError:
            return math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Node):
    """A text, quotes and all."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector(Node):
    """Series by name and matchers; "" where no name is given."""

    name: str
    matchers: tuple[Matching, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Node):
    """`x[5m]`, or a subquery `(x)[1h:1m]`: the span as it is written."""

    of: Node
    span: str

    @property
    def below(self) -> tuple[Node, ...]:
        return (self.of,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    """A function or an aggregation; `by`: what it is grouped by, None where it does not say."""

    name: str
    arguments: tuple[Node, ...]
    by: frozenset[str] | None = None
    without: frozenset[str] | None = None

    @property
    def below(self) -> tuple[Node, ...]:
        return self.arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Node):
    """Two sides; `on` and `ignoring` as written; `many`: `left` or `right` of `group_...`."""

    operator: str
    left: Node
    right: Node
    boolean: bool = False
    on: frozenset[str] | None = None
    ignoring: frozenset[str] = frozenset()
    many: str = ""
    included: frozenset[str] = frozenset()

    @property
    def filters(self) -> bool:
        """Return whether it is a comparison that leaves out what does not fit."""
        return self.operator in COMPARES and not self.boolean

    @property
    def below(self) -> tuple[Node, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Node):
    """`-x` or `+x`."""

    of: Node

    @property
    def below(self) -> tuple[Node, ...]:
        return (self.of,)


def walk(node: Node) -> Iterator[Node]:
    """Return a node and all below it."""
    yield node
    for each in node.below:
        yield from walk(each)


def names(node: Node) -> frozenset[str]:
    """Return the names of the series it reads."""
    return frozenset(n.name for n in walk(node) if isinstance(n, Selector) and n.name)
