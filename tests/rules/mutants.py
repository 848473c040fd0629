"""Rules that are a little wrong: made of the shipped ones, every number and guard in turn.

What is no mutant is said where it is left out. A guard is a clause without which an expression is
still one: the right of an `and`, `unless` or `or`, a filter of a divisor, a matcher of a selector.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from receiver import alerts as al
from receiver import promql as pq
from tests.rules.promtool import STEP, Rule, name_of

_SPAN = re.compile(r"\[([0-9a-z]+)\]|offset ([0-9a-z]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A rule that stands in for another. `timing`: it is one of time, not of size."""

    title: str
    rule: Rule
    timing: bool = False

    def among(self, rules: Sequence[Rule]) -> list[Rule]:
        """Return the rules with this one in its place."""
        return [self.rule if name_of(r) == name_of(self.rule) else r for r in rules]


def mutants(rule: Rule) -> Iterator[Mutant]:
    """Return every mutant of a rule."""
    name, expr = name_of(rule), rule["expr"]
    for key in ("for", "keep_firing_for"):
        if key in rule:
            held = int(al.duration(rule[key]).total_seconds())
            for seconds in (held - STEP, held + STEP):
                title = f"{name}: {key} {seconds}s"
                yield Mutant(title=title, rule=rule | {key: f"{seconds}s"}, timing=True)
    written = {expr}
    for title, changed, timing in _expressions(expr):
        if changed not in written:
            written.add(changed)
            yield Mutant(title=f"{name}: {title}", rule=rule | {"expr": changed}, timing=timing)


def _expressions(expr: str) -> Iterator[tuple[str, str, bool]]:
    def with_(begin: int, end: int, text: str) -> str:
        return expr[:begin] + text + expr[end:]

    for found in _SPAN.finditer(expr):
        at = 1 if found[1] else 2
        seconds = int(al.duration(found[at]).total_seconds())
        for other in (seconds // 2, seconds * 3 // 2):
            text = with_(found.start(at), found.end(at), f"{other}s")
            yield f"{found[0]} is {other}s", text, True
    for node in pq.walk(pq.tree(expr)):
        around = repr(" ".join(expr[max(node.begin - 30, 0) : node.end + 10].split())[:80])
        if isinstance(node, pq.Number):
            for value in _other_numbers(node.value):
                text = with_(node.begin, node.end, f"{value:.6g}")
                yield f"{value:.6g} in {around}", text, False
        if isinstance(node, pq.Selector):
            yield from _without_matchers(node, expr)
        if isinstance(node, pq.Call) and node.name == "label_replace":
            inner = node.arguments[0]
            text = with_(node.begin, node.end, f"({expr[inner.begin : inner.end]})")
            yield f"no label_replace in {around}", text, False
        if isinstance(node, pq.Binary):
            if node.operator in (*pq.SETS, *pq.COMPARES):
                text = with_(*_span(expr, node), f"({_balanced(expr, node.left)})")
                yield f"only the left of {node.operator} in {around}", text, False
            if node.operator == "or":
                text = with_(*_span(expr, node), f"({_balanced(expr, node.right)})")
                yield f"only the right of or in {around}", text, False


def _span(expr: str, node: pq.Node) -> tuple[int, int]:
    """Return where a node stands, with the brackets that stand half within it."""
    begin, end = node.begin, node.end
    while expr[begin:end].count("(") > expr[begin:end].count(")"):
        end = expr.index(")", end) + 1
    while expr[begin:end].count(")") > expr[begin:end].count("("):
        begin = expr.rindex("(", 0, begin)
    return begin, end


def _balanced(expr: str, node: pq.Node) -> str:
    begin, end = _span(expr, node)
    return expr[begin:end]


def _other_numbers(value: float) -> tuple[float, ...]:
    # What is multiplied by 0, or compared with it, may be anything else.
    return (value * 0.9, value * 1.1) if value else (-1.0, 1.0)


def _without_matchers(node: pq.Selector, expr: str) -> Iterator[tuple[str, str, bool]]:
    for matcher in node.matchers:
        pattern = rf',?\s*{matcher.label}\s*{re.escape(matcher.operator)}\s*"[^"]*"'
        inner = expr[node.begin : node.end]
        less = re.sub(r"\{\s*,\s*", "{", re.sub(pattern, "", inner, count=1))
        text = expr[: node.begin] + less + expr[node.end :]
        yield f"no matcher {matcher.label} in {inner!r}", text, False
