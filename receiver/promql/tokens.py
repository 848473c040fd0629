"""PromQL in pieces: what it is made of, within bounds. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

# Characters, comparisons and set operators, and brackets within brackets.
LONGEST, OPERATORS, DEEPEST = 20_000, 32, 50
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
COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
SPLITTING = COMPARISONS | {"and", "or", "unless"}


@dataclass(frozen=True, slots=True)
class Token:
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


Tokens: TypeAlias = Sequence[Token]


class UnclearError(Exception):
    """It cannot be taken apart safely."""


def tokens(expression: str) -> Tokens:
    """Return the pieces; raises `UnclearError` for what is none, too long or too deep."""
    if len(expression) > LONGEST:
        raise UnclearError
    found: list[Token] = []
    opened: list[str] = []
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise UnclearError
        kind, text = match.lastgroup or "", match.group()
        if kind == "close" and (not opened or opened.pop() != _PAIRS[text]):
            raise UnclearError
        if kind != "blank":
            found.append(Token(kind, text, at, match.end(), len(opened)))
        if kind == "open":
            opened.append(text)
            if len(opened) > DEEPEST:
                raise UnclearError
        at = match.end()
    if opened or sum((t.word or t.text) in SPLITTING for t in found) > OPERATORS:
        raise UnclearError
    return found
