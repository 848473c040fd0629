"""What an alert's expression compares: the two sides of its outermost comparisons. Pure.

PromQL filters: `a / b > 0.05` is empty when it is false, and just as empty when `a` or `b` has no
series. Only its sides tell the two apart: they are not empty while there is data.

    sum(rate(errors[5m])) / sum(rate(requests[5m])) > 0.05   ->  the quotient
    ratio > 0.05 and on (job) traffic > 10                   ->  ratio; traffic
    canary > 2 * ignoring (track) stable                     ->  canary with 2 * ... stable

Limits, each on the side of claiming less:
- No comparison at the top (`absent(up)`, `up`, `(a > 1) * 2`), or `bool` there: cannot be told.
- `vector(...)` and `absent(...)` in a side make an element of nothing: cannot be told.
- A filter further inside (`count(up == 0) > 2`) is empty in good times: that reads as no data.
- `last_over_time(x[1d])` and `offset` show old data as if it were new: so does the alert itself.
"""

from collections.abc import Collection
from typing import TypeAlias

from receiver.promql.tokens import COMPARISONS, Tokens, UnclearError, tokens

Comparison: TypeAlias = tuple[str, ...]

# Comparisons that are of use.
MOST = 8
_MATCHING = frozenset({"on", "ignoring", "group_left", "group_right"})
_NUMBERS = frozenset({"inf", "nan"})
# They answer with an element where there is no data, or only there.
_OF_NOTHING = frozenset({"vector", "absent", "absent_over_time"})


def comparisons(expression: str) -> tuple[Comparison, ...] | None:
    """Return the comparisons of an expression, each as its sides without constants.

    The right of an `unless` is left out: there, nothing is the usual. None: it cannot be taken
    apart, and so nobody can tell false from no data.
    """
    try:
        found = _split(tokens(expression), expression)
    except UnclearError:
        return None
    return found if len(found) <= MOST else None


def _split(tokens: Tokens, source: str) -> tuple[Comparison, ...]:
    tokens = _without_brackets(tokens)
    # `or` binds loosest, then `and` and `unless`, then the comparisons; all of them to the left.
    at = _last(tokens, ("or",))
    if at is None:
        at = _last(tokens, ("and", "unless"))
    if at is not None:
        found = _split(tokens[:at], source)
        if tokens[at].word == "unless":
            return found
        return found + _split(_operand(tokens[at + 1 :]), source)
    at = _last(tokens, COMPARISONS)
    if at is None:
        raise UnclearError
    left, right = tokens[:at], _sides(_operand(tokens[at + 1 :]), source)
    if left and _last(left, COMPARISONS) is not None:
        # `0.05 < x < 0.5`: what is left of the last one is a comparison itself.
        *before, last = _split(left, source)
        return (*before, last + right)
    sides = _sides(left, source) + right
    if not sides:
        raise UnclearError
    return (sides,)


def _last(tokens: Tokens, among: Collection[str]) -> int | None:
    """Return where the last one of some keywords or operators stands, within no bracket."""
    found = (
        i
        for i in range(len(tokens) - 1, -1, -1)
        if tokens[i].depth == tokens[0].depth and (tokens[i].word or tokens[i].text) in among
    )
    return next(found, None)


def _without_brackets(tokens: Tokens) -> Tokens:
    """Return what stands within brackets around all of it."""
    while tokens and tokens[0].text == "(":
        depth = tokens[0].depth
        closing = next(i for i, t in enumerate(tokens) if t.kind == "close" and t.depth == depth)
        if closing != len(tokens) - 1:
            break
        tokens = tokens[1:-1]
    if not tokens:
        raise UnclearError
    return tokens


def _operand(tokens: Tokens) -> Tokens:
    """Return the right operand without the matching (`on (a) group_left (b)`) before it."""
    while tokens and tokens[0].word in _MATCHING:
        tokens = tokens[1:]
        if tokens and tokens[0].text == "(":
            depth = tokens[0].depth
            ends = (i for i, t in enumerate(tokens) if t.kind == "close" and t.depth == depth)
            tokens = tokens[next(ends) + 1 :]
    if not tokens or tokens[0].word == "bool":
        raise UnclearError  # with `bool` it is never empty: it filters nothing
    return tokens


def _sides(tokens: Tokens, source: str) -> Comparison:
    """Return one side as text; nothing for a constant."""
    if not tokens or any(t.word in _OF_NOTHING for t in tokens):
        raise UnclearError
    constant = all(t.kind != "word" or t.word in _NUMBERS for t in tokens)
    if constant and all(t.kind != "text" and t.text != "{" for t in tokens):
        return ()
    return (source[tokens[0].begin : tokens[-1].end],)
