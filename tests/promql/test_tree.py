"""An expression as a tree: as Prometheus reads it, with the labels that Prometheus would give."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver import promql as pq
from receiver.promql import Node, conjuncts, is_scalar, labels_of, names, tree, walk, whole

RULES = Path(__file__).parents[2] / "alert_rules"


def shape(node: Node) -> str:
    """Write a tree with a bracket around everything that binds."""
    if isinstance(node, pq.Binary):
        return f"({shape(node.left)} {node.operator} {shape(node.right)})"
    if isinstance(node, pq.Call):
        return f"{node.name}({', '.join(map(shape, node.arguments))})"
    if isinstance(node, pq.Window):
        return f"{shape(node.of)}[{node.span}]"
    if isinstance(node, pq.Signed):
        return f"-{shape(node.of)}"
    if isinstance(node, pq.Selector):
        return node.name or "{}"
    assert isinstance(node, pq.Number | pq.Text)
    return node.text


@pytest.mark.parametrize(
    ("expression", "as_read"),
    [
        ("a", "a"),
        ("a + b * c", "(a + (b * c))"),
        ("a * b + c", "((a * b) + c)"),
        ("a / b / c", "((a / b) / c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a * b)"),
        ("a % b atan2 c", "((a % b) atan2 c)"),
        ("a > 1 and b < 2 or c", "(((a > 1) and (b < 2)) or c)"),
        ("a or b unless c and d", "(a or ((b unless c) and d))"),
        ("a > bool 1", "(a > 1)"),
        ("(a or b) / c", "((a or b) / c)"),
        ("100 * (a or 0 * b) / (b > 0)", "((100 * (a or (0 * b))) / (b > 0))"),
        ("a < on (x) group_left () 2 * max by (x) (b)", "(a < (2 * max(b)))"),
        ("a * on (x) group_left (y, z) b", "(a * b)"),
        ("a * on (x) group_right b", "(a * b)"),
        ("a * ignoring (x) group_left (b) * c", "((a * b) * c)"),
        ("sum by (x) (rate(a[5m]))", "sum(rate(a[5m]))"),
        ("sum(rate(a[5m])) by (x)", "sum(rate(a[5m]))"),
        ("quantile without (x) (0.9, a)", "quantile(0.9, a)"),
        ("max_over_time(a[1h:5m] offset 1d)", "max_over_time(a[1h:5m])"),
        ("a offset -5m > a @ end()", "(a > a)"),
        ("a @ 1234 / 2", "(a / 2)"),
        ('label_replace(a, "x", "$1", "y", "(.+)")', 'label_replace(a, "x", "$1", "y", "(.+)")'),
        ('{"a.b", c=~"d|e"} != Inf', "(a.b != Inf)"),
        ("sum", "sum"),
        ("sum > 1", "(sum > 1)"),
        ("time() - a > 60 # a comment", "((time() - a) > 60)"),
        ("SUM BY (x) (a) AND b", "(sum(a) and b)"),
    ],
)
def test_it_is_read_as_prometheus_reads_it(expression: str, as_read: str) -> None:
    assert shape(tree(expression)) == as_read


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "a +",
        "a b",
        "(a",
        "a)",
        "a{",
        "a{b}",
        "a{b=c}",
        "sum by x (a)",
        "a[5m",
        "* a",
        "a > > b",
    ],
)
def test_what_is_no_promql_is_told(expression: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        tree(expression)


@given(text=st.text() | st.text(alphabet="ab(){}[],=~!<>+-*/ 5m\"'"))
def test_nothing_at_all_breaks_it_otherwise(text: str) -> None:
    try:
        found = tree(text)
    except ValueError:
        return
    for node in walk(found):
        assert 0 <= node.begin <= node.end <= len(text)


def test_it_says_where_each_part_stands() -> None:
    text = "sum by (x) (rate(a[5m]))  >  10 and b{c='d'} > 1"
    parts = {text[node.begin : node.end] for node in walk(tree(text))}
    assert parts >= {"sum by (x) (rate(a[5m]))", "rate(a[5m])", "a", "10", "b{c='d'}"}


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("a", None),
        ("rate(a[5m])", None),
        ("sum by (x, y) (a) > 1", "x y"),
        ("sum(a)", ""),
        ("sum without (x) (a)", None),
        ("sum without (x) (r)", "y"),
        ("topk(5, r)", "x y"),
        ("r", "x y"),
        ("s", "x y"),
        ("looped", None),
        ("r / r", "x y"),
        ("r / on (x) r", "x"),
        ("r / ignoring (x) r", "y"),
        ("a / on (x) group_left (y) r", None),
        ("r * on (x) group_right (z) sum by (x, w) (a)", "x w z"),
        ("r and a", "x y"),
        ("r unless a", "x y"),
        ("r or sum by (y) (a)", "y"),
        ("r or a", None),
        ("2 * r", "x y"),
        ("r > 2", "x y"),
        ("time() - max(a)", ""),
        ("histogram_quantile(0.9, sum by (x, le) (a))", "x"),
        ('label_replace(r, "z", "$1", "x", "(.+)")', "x y z"),
        ("absent(a{x='1', y=~'2'})", "x"),
        ("vector(1)", ""),
        ("max_over_time(r[1h:5m])", "x y"),
        ("-r", "x y"),
    ],
)
def test_the_labels_are_those_that_prometheus_gives(expression: str, labels: str | None) -> None:
    records = {
        "r": tree("sum by (x, y) (a)"),
        "s": tree("r > 5"),
        "looped": tree("looped + 1"),
    }
    wanted = None if labels is None else frozenset(labels.split())
    assert labels_of(tree(expression), records) == wanted


def test_what_it_reads_is_known_also_below_its_records() -> None:
    records = {"r": tree("rate(a[5m])"), "s": tree("r / r")}
    assert names(tree("s > b")) == {"s", "b"}
    below = whole(tree("s > b"), records)
    assert {n.name for n in below if isinstance(n, pq.Selector)} == {"s", "b", "r", "a"}


def test_what_has_to_hold_at_once() -> None:
    found = conjuncts(tree("a > 1 and b > 2 unless (c > 3)"))
    assert [shape(each) for each in found] == ["(a > 1)", "(b > 2)"]
    assert len(conjuncts(tree("a > 1 or b > 2"))) == 1


@pytest.mark.parametrize(
    ("written", "value"),
    [("10", 10), ("1e3", 1000), (".5", 0.5), ("0x1F", 31), ("1_000", 1000), ("Inf", float("inf"))],
)
def test_a_number_has_its_value(written: str, value: float) -> None:
    found = tree(written)
    assert isinstance(found, pq.Number)
    assert found.value == value


def test_a_span_is_a_number_without_a_value() -> None:
    found = tree("5m")
    assert isinstance(found, pq.Number)
    assert found.value != found.value


def test_a_number_is_a_scalar_and_a_vector_is_not() -> None:
    assert is_scalar(tree("-2 * time()"))
    assert not is_scalar(tree("vector(1)"))
    assert not is_scalar(tree("2 * a"))


@pytest.mark.parametrize("name", ["release", "receiver"])
def test_every_shipped_expression_can_be_read(name: str) -> None:
    manifest = yaml.safe_load((RULES / f"{name}.yaml").read_text())
    for rule in manifest["spec"]["groups"][0]["rules"]:
        assert names(tree(rule["expr"]))
