"""PromQL, as far as an alert's expression has to be understood without a Prometheus. Pure.

`comparisons` says what to ask to tell false from no data; `tree` reads an expression, and the
others look at what was read.
"""

from receiver.promql.comparisons import Comparison, comparisons
from receiver.promql.labels import Labels, Records, conjuncts, is_scalar, labels_of, whole
from receiver.promql.nodes import (
    COMPARES,
    SETS,
    Binary,
    Call,
    Node,
    Number,
    Selector,
    Signed,
    Text,
    Window,
    names,
    walk,
)
from receiver.promql.reading import tree
from receiver.promql.tokens import LONGEST

__all__ = [
    "COMPARES",
    "LONGEST",
    "SETS",
    "Binary",
    "Call",
    "Comparison",
    "Labels",
    "Node",
    "Number",
    "Records",
    "Selector",
    "Signed",
    "Text",
    "Window",
    "comparisons",
    "conjuncts",
    "is_scalar",
    "labels_of",
    "names",
    "tree",
    "walk",
    "whole",
]
