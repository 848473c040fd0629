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

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Comparison: TypeAlias = tuple[str, ...]

# Characters, comparisons that are of use, operators of them and brackets within brackets.
LONGEST, MOST, OPERATORS, DEEPEST = 20_000, 8, 32, 50
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    |(?P<number>(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[0-9A-Za-z]*)
    |(?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])
    |(?P<operator>==|!=|<=|>=|=~|!~|[<>](?!/)|[=+\-*/%^@,])""",
    re.VERBOSE | re.ASCII,
)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
_SPLITTING = _COMPARISONS | {"and", "or", "unless"}
_MATCHING = frozenset({"on", "ignoring", "group_left", "group_right"})
_NUMBERS = frozenset({"inf", "nan"})
# They answer with an element where there is no data, or only there.
_OF_NOTHING = frozenset({"vector", "absent", "absent_over_time"})


@dataclass(frozen=True, slots=True)
class _Token:
    """One piece. `depth`: how many brackets are open around it; a bracket counts as outside."""

    kind: str
    text: str
    begin: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        """Return the keyword it may be: PromQL does not care about their case."""
        return self.text.lower() if self.kind == "word" else ""


_Tokens: TypeAlias = Sequence[_Token]


class _UnclearError(Exception):
    """It cannot be taken apart safely."""


def comparisons(expression: str) -> tuple[Comparison, ...] | None:
    """Return the comparisons of an expression, each as its sides without constants.

    The right of an `unless` is left out: there, nothing is the usual. None: it cannot be taken
    apart, and so nobody can tell false from no data.
    """
    try:
        found = _split(_tokens(expression), expression)
    except _UnclearError:
        return None
    return found if len(found) <= MOST else None


def _tokens(expression: str) -> _Tokens:
    if len(expression) > LONGEST:
        raise _UnclearError
    tokens: list[_Token] = []
    opened: list[str] = []
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise _UnclearError
        kind, text = match.lastgroup or "", match.group()
        if kind == "close" and (not opened or opened.pop() != _PAIRS[text]):
            raise _UnclearError
        if kind != "blank":
            tokens.append(_Token(kind, text, at, match.end(), len(opened)))
        if kind == "open":
            opened.append(text)
            if len(opened) > DEEPEST:
                raise _UnclearError
        at = match.end()
    if opened or sum((t.word or t.text) in _SPLITTING for t in tokens) > OPERATORS:
        raise _UnclearError
    return tokens


def _split(tokens: _Tokens, source: str) -> tuple[Comparison, ...]:
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
    at = _last(tokens, _COMPARISONS)
    if at is None:
        raise _UnclearError
    left, right = tokens[:at], _sides(_operand(tokens[at + 1 :]), source)
    if left and _last(left, _COMPARISONS) is not None:
        # `0.05 < x < 0.5`: what is left of the last one is a comparison itself.
        *before, last = _split(left, source)
        return (*before, last + right)
    sides = _sides(left, source) + right
    if not sides:
        raise _UnclearError
    return (sides,)


def _last(tokens: _Tokens, among: Collection[str]) -> int | None:
    """Return where the last one of some keywords or operators stands, within no bracket."""
    found = (
        i
        for i in range(len(tokens) - 1, -1, -1)
        if tokens[i].depth == tokens[0].depth and (tokens[i].word or tokens[i].text) in among
    )
    return next(found, None)


def _without_brackets(tokens: _Tokens) -> _Tokens:
    """Return what stands within brackets around all of it."""
    while tokens and tokens[0].text == "(":
        depth = tokens[0].depth
        closing = next(i for i, t in enumerate(tokens) if t.kind == "close" and t.depth == depth)
        if closing != len(tokens) - 1:
            break
        tokens = tokens[1:-1]
    if not tokens:
        raise _UnclearError
    return tokens


def _operand(tokens: _Tokens) -> _Tokens:
    """Return the right operand without the matching (`on (a) group_left (b)`) before it."""
    while tokens and tokens[0].word in _MATCHING:
        tokens = tokens[1:]
        if tokens and tokens[0].text == "(":
            depth = tokens[0].depth
            ends = (i for i, t in enumerate(tokens) if t.kind == "close" and t.depth == depth)
            tokens = tokens[next(ends) + 1 :]
    if not tokens or tokens[0].word == "bool":
        raise _UnclearError  # with `bool` it is never empty: it filters nothing
    return tokens


def _sides(tokens: _Tokens, source: str) -> Comparison:
    """Return one side as text; nothing for a constant."""
    if not tokens or any(t.word in _OF_NOTHING for t in tokens):
        raise _UnclearError
    constant = all(t.kind != "word" or t.word in _NUMBERS for t in tokens)
    if constant and all(t.kind != "text" and t.text != "{" for t in tokens):
        return ()
    return (source[tokens[0].begin : tokens[-1].end],)
