"""From the text of an expression to its tree. Pure.

Precedence and aggregations are those of prometheus promql/parser
(https://prometheus.io/docs/prometheus/latest/querying/operators). It is more lenient than promtool,
which judges types and the names of functions: this looks, it does not judge.
"""

from dataclasses import dataclass, field

from receiver.promql.nodes import (
    AGGREGATIONS,
    COMPARES,
    Binary,
    Call,
    Matching,
    Node,
    Number,
    Selector,
    Signed,
    Text,
    Window,
)
from receiver.promql.tokens import Token, Tokens, UnclearError, tokens

# How tightly a binary operator binds, and what may follow one.
_BINDS = {"or": 1, "and": 2, "unless": 2} | dict.fromkeys(COMPARES, 3)
_BINDS |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6}
_SIGN = 5  # -a ^ b is -(a ^ b), -a * b is (-a) * b
_NUMBERS = frozenset({"inf", "nan"})


def tree(expression: str) -> Node:
    """Return the tree; brackets leave no trace but their place. Raises `ValueError`."""
    try:
        reading = _Reading(tokens(expression))
        found = reading.binary(0)
        reading.finish()
    except (UnclearError, IndexError, RecursionError):
        raise ValueError("the expression cannot be read") from None
    return found


@dataclass(slots=True)
class _Reading:
    _tokens: Tokens
    _at: int = field(default=0)

    def _peek(self) -> str:
        if self._at == len(self._tokens):
            return ""
        token = self._tokens[self._at]
        return token.word or token.text

    def _take(self, *wanted: str) -> Token:
        token = self._tokens[self._at]
        if wanted and (token.word or token.text) not in wanted:
            raise UnclearError
        self._at += 1
        return token

    def _took(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._at += 1
        return True

    def finish(self) -> None:
        if self._at != len(self._tokens):
            raise UnclearError

    def binary(self, least: int) -> Node:
        """Read operands and operators that bind at least so tightly."""
        left = self._signed()
        while (binds := _BINDS.get(self._peek(), -1)) >= max(least, 1):
            operator = self._take()
            boolean = self._took("bool")
            on: frozenset[str] | None = None
            ignoring: frozenset[str] = frozenset()
            many, included = "", frozenset[str]()
            if self._took("on"):
                on = self._labels()
            elif self._took("ignoring"):
                ignoring = self._labels()
            if self._peek() in ("group_left", "group_right"):
                many = self._take().word.removeprefix("group_")
                # `group_left (a + b) * c`: only a list of words is the list of labels.
                included = self._labels() if self._is_list() else frozenset()
            # All but ^ lean to the left.
            right = self.binary(binds if operator.text == "^" else binds + 1)
            left = Binary(
                begin=left.begin,
                end=right.end,
                operator=operator.word or operator.text,
                left=left,
                right=right,
                boolean=boolean,
                on=on,
                ignoring=ignoring,
                many=many,
                included=included,
            )
        return left

    def _is_list(self) -> bool:
        """Return whether a list of labels follows, and an operand after it."""
        if self._peek() != "(":
            return False
        closing = self._at
        while self._tokens[closing].text != ")":
            closing += 1
        inner = self._tokens[self._at + 1 : closing]
        listed = all(t.kind in ("word", "text") or t.text == "," for t in inner)
        rest = self._tokens[closing + 1] if closing + 1 < len(self._tokens) else None
        follows = rest is not None and (rest.word or rest.text) not in _BINDS | {")": 0, ",": 0}
        return listed and follows

    def _labels(self) -> frozenset[str]:
        self._take("(")
        found = set()
        while not self._took(")"):
            token = self._take()
            if token.kind not in ("word", "text"):
                raise UnclearError
            found.add(token.text.strip("\"'`"))
            if self._peek() != ")":
                self._take(",")
        return frozenset(found)

    def _signed(self) -> Node:
        if self._peek() in ("-", "+"):
            sign = self._take()
            of = self.binary(_SIGN + 1)
            return Signed(begin=sign.begin, end=of.end, of=of)
        return self._modified(self._operand())

    def _modified(self, node: Node) -> Node:
        """Read what may follow an operand: a window, an offset, a moment."""
        while True:
            if self._took("["):
                span = ""
                while not (closed := self._peek() == "]"):
                    span += self._take().text
                end = self._take().end if closed else node.end
                node = Window(begin=node.begin, end=end, of=node, span=span)
            elif self._took("offset"):
                self._took("-")
                self._take()
            elif self._took("@"):
                self._took("-")
                if self._take().word in ("start", "end"):
                    self._take("(")
                    self._take(")")
            else:
                return node

    def _operand(self) -> Node:
        token = self._take()
        if token.text == "(":
            found = self.binary(0)
            self._take(")")
            return found
        if token.text == "{":
            matchers, end, name = self._matchers()
            return Selector(begin=token.begin, end=end, name=name, matchers=matchers)
        if token.kind == "number" or token.word in _NUMBERS:
            return Number(begin=token.begin, end=token.end, text=token.text)
        if token.kind == "text":
            return Text(begin=token.begin, end=token.end, text=token.text)
        if token.kind != "word":
            raise UnclearError
        return self._named(token)

    def _named(self, name: Token) -> Node:
        """Read a call, an aggregation or a selector."""
        if name.word in AGGREGATIONS and self._peek() in ("by", "without", "("):
            return self._aggregation(name)
        if self._took("("):
            arguments, end = self._arguments()
            return Call(begin=name.begin, end=end, name=name.word, arguments=arguments)
        if self._took("{"):
            matchers, end, _ = self._matchers()
            return Selector(begin=name.begin, end=end, name=name.text, matchers=matchers)
        return Selector(begin=name.begin, end=name.end, name=name.text)

    def _aggregation(self, name: Token) -> Node:
        grouping = self._grouping()
        self._take("(")
        arguments, end = self._arguments()
        if not grouping and (grouping := self._grouping()):
            end = self._tokens[self._at - 1].end
        return Call(
            begin=name.begin,
            end=end,
            name=name.word,
            arguments=arguments,
            by=grouping.get("by"),
            without=grouping.get("without"),
        )

    def _grouping(self) -> dict[str, frozenset[str]]:
        if self._peek() not in ("by", "without"):
            return {}
        word = self._take().word
        return {word: self._labels()}

    def _arguments(self) -> tuple[tuple[Node, ...], int]:
        found: list[Node] = []
        while self._peek() != ")":
            found.append(self.binary(0))
            if self._peek() != ")":
                self._take(",")
        return tuple(found), self._take(")").end

    def _matchers(self) -> tuple[tuple[Matching, ...], int, str]:
        found: list[Matching] = []
        name = ""
        while self._peek() != "}":
            label = self._take()
            if label.kind not in ("word", "text"):
                raise UnclearError
            if label.kind == "text" and self._peek() in (",", "}"):
                name = label.text[1:-1]  # {"a.b"}: a name that is quoted
            else:
                operator = self._take("=", "!=", "=~", "!~").text
                value = self._take()
                if value.kind != "text":
                    raise UnclearError
                plain = label.text.strip("\"'`")
                found.append(Matching(label=plain, operator=operator, value=value.text[1:-1]))
            if self._peek() != "}":
                self._take(",")
        return tuple(found), self._take("}").end, name
