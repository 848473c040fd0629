"""What can be said of an expression without a Prometheus: its labels, and what it reads. Pure.

Vector matching is that of prometheus promql/engine.go.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from receiver.promql.nodes import (
    AGGREGATIONS,
    CHOOSING,
    Binary,
    Call,
    Node,
    Number,
    Selector,
    Signed,
    Text,
    Window,
    walk,
)

_SCALARS = frozenset({"time", "scalar", "pi"})

Labels: TypeAlias = frozenset[str]
Records: TypeAlias = Mapping[str, Node]


def is_scalar(node: Node) -> bool:
    """Return whether it is one number, without labels."""
    if isinstance(node, Number):
        return True
    if isinstance(node, Call):
        return node.name in _SCALARS
    return isinstance(node, Binary | Signed) and all(is_scalar(each) for each in node.below)


def labels_of(node: Node, records: Records) -> Labels | None:
    """Return the labels that its elements have; None: those of the scrape, and more.

    `records` are the recording rules that are known by name. With `or`, the labels of both sides.
    """
    if isinstance(node, Selector):
        record = records.get(node.name)
        rest = {name: tree for name, tree in records.items() if name != node.name}
        return labels_of(record, rest) if record is not None else None
    if isinstance(node, Window | Signed):
        return labels_of(node.of, records)
    if isinstance(node, Call):
        return _labels_of_call(node, records)
    if isinstance(node, Binary):
        return _labels_of_both(node, records)
    return frozenset()


def _labels_of_call(call: Call, records: Records) -> Labels | None:
    if call.by is not None:
        return call.by
    vectors = [each for each in call.arguments if not isinstance(each, Number | Text)]
    inner = labels_of(vectors[-1], records) if vectors else frozenset[str]()
    if call.name in AGGREGATIONS - CHOOSING:
        if call.without is None:
            return frozenset()
        return inner - call.without if inner is not None else None
    if call.name in ("absent", "absent_over_time"):
        of = next((each for each in walk(call) if isinstance(each, Selector)), None)
        same = [m.label for m in of.matchers if m.operator == "="] if of is not None else []
        return frozenset(same)
    if call.name in ("vector", *_SCALARS):
        return frozenset()
    if inner is not None and call.name in ("label_replace", "label_join"):
        made = call.arguments[1] if len(call.arguments) > 1 else None
        return inner | {made.text[1:-1]} if isinstance(made, Text) else inner
    if inner is not None and call.name == "histogram_quantile":
        return inner - {"le"}
    return inner


def _labels_of_both(both: Binary, records: Records) -> Labels | None:
    left, right = labels_of(both.left, records), labels_of(both.right, records)
    if both.operator in ("and", "unless") or is_scalar(both.right):
        return left
    if is_scalar(both.left):
        return right
    if both.operator == "or":
        return left & right if left is not None and right is not None else None
    if both.many:
        of = left if both.many == "left" else right
        return of | both.included if of is not None else None
    if both.on is not None:
        return both.on
    return left - both.ignoring if left is not None else None


def whole(node: Node, records: Records) -> Iterator[Node]:
    """Return a node and all below it, also below the recording rules that it reads."""
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        for each in walk(waiting.pop()):
            yield each
            if isinstance(each, Selector) and each.name in records and each.name not in seen:
                seen.add(each.name)
                waiting.append(records[each.name])


def conjuncts(node: Node) -> tuple[Node, ...]:
    """Return what has to hold all at once: the parts of its outermost `and`s.

    What an `unless` takes away is left out.
    """
    if isinstance(node, Binary) and node.operator in ("and", "unless"):
        right = conjuncts(node.right) if node.operator == "and" else ()
        return conjuncts(node.left) + right
    return (node,)
