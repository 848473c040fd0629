import pytest

from receiver.promql import LONGEST, comparisons
from tests.prometheus.double import EXPRESSION, SIDE


@pytest.mark.parametrize(
    ("expression", "sides"),
    [
        (EXPRESSION, [[SIDE]]),
        ("a > 1", [["a"]]),
        ("a / b > 0.05", [["a / b"]]),
        ("(a > 1)", [["a"]]),
        ("((a) > (1))", [["(a)"]]),
        ("up == 0", [["up"]]),
        ("a > 14.4 * 0.001", [["a"]]),
        ("a > -Inf", [["a"]]),
        ("1e-3 < a", [["a"]]),
        ("0.05 < a < 0.5", [["a"]]),
        ("a > b", [["a", "b"]]),
        ("a > b > c", [["a", "b", "c"]]),
        ("canary > ignoring (track) 2 * stable", [["canary", "2 * stable"]]),
        ("a >= on(x) group_left (y) b", [["a", "b"]]),
        ("a > ON(x) GROUP_RIGHT b", [["a", "b"]]),
        ("a > 1 and on (job) b > 10", [["a"], ["b"]]),
        ("a > 1 AND b < 2 OR c != 3", [["a"], ["b"], ["c"]]),
        ("(a > 1 or b > 2) and c > 3", [["a"], ["b"], ["c"]]),
        ("a > 1 unless on () maintenance", [["a"]]),
        ("a > 1 unless b > 2 or c > 3", [["a"], ["c"]]),
        ("(a > bool 1) == 1", [["(a > bool 1)"]]),
        ('a{x="b > c and d"} > 1', [['a{x="b > c and d"}']]),
        ("a{x='\"', y=~`>`} > 1", [["a{x='\"', y=~`>`}"]]),
        ('{"a.b", c="d"} != 0', [['{"a.b", c="d"}']]),
        ("sum(a) by (and, or) > 1", [["sum(a) by (and, or)"]]),
        ("max_over_time(a[1h:1m] offset 5m) > 1", [["max_over_time(a[1h:1m] offset 5m)"]]),
        ("rate(a[5m] @ end()) > 1 # b > 2", [["rate(a[5m] @ end())"]]),
        ("time() - a > 60", [["time() - a"]]),
        ("a:b:c > 1", [["a:b:c"]]),
    ],
)
def test_an_expression_is_taken_apart_where_promql_compares(
    expression: str, sides: list[list[str]]
) -> None:
    assert comparisons(expression) == tuple(map(tuple, sides))


@pytest.mark.parametrize(
    "expression",
    [
        "up",
        "absent(up)",
        "absent(up) == 1",
        "(sum(a) or vector(0)) > 5",
        "sum(a) or vector(0) > 5",
        "a > 1 and b",
        "a > 1 or b",
        "b unless a > 1",
        "a > bool 1",
        "(a > 1) * 2",
        "-(a > 1)",
        "sum(a > 1)",
        "1 > 0",
        "a </ 1",
        "a >/ 1",
        "a ~ 1",
        'a{b="c} > 1',
        "(a > 1",
        "a > 1)",
        "a{(} > 1",
        "a >",
        "> 1",
        "a > on()",
        "a > on",
        "()",
        "",
        "a > 1 and",
        " and ".join(["a > 1"] * 9),
        "a > " * 100 + "1",
        "(" * 500 + "a > 1" + ")" * 499,
        "a" * LONGEST + " > 1",
    ],
)
def test_what_cannot_be_taken_apart_safely_is_not(expression: str) -> None:
    assert comparisons(expression) is None


def test_brackets_and_chains_are_followed_only_so_far() -> None:
    assert comparisons("(" * 50 + "a > 1" + ")" * 50) == (("a",),)
    assert comparisons("(" * 51 + "a > 1" + ")" * 51) is None
    assert comparisons(" or ".join(["a"] * 4000)) is None
