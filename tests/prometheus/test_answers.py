import math

import pytest

from receiver.alerts import TargetLabels
from receiver.controller.ports import Subject
from receiver.prometheus.answers import (
    Naming,
    Rule,
    alert_labels,
    concerns,
    error_type,
    rules_named,
    vector,
)
from tests.prometheus.double import EXPRESSION, recorded


def test_the_rules_of_a_name_are_found_among_all() -> None:
    found = rules_named(recorded("rules"), "ErrorRatioHigh")
    assert [rule.query for rule in found] == [
        EXPRESSION,
        'http_up{namespace="x",path=~"a>b"} == 0 and on (namespace) vector(1) > bool 0',
    ]
    assert found[0].labels["team"] == "{{ $labels.deployment }}"
    assert rules_named(recorded("rules"), "a:b") == ()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("vector", [1 / 3, 0.0]),
        ("true", [1 / 3]),
        ("empty", []),
        ("scalar", None),
        ("string", None),
        ("inf", [math.inf]),
    ],
)
def test_a_vector_is_read_as_it_was_sent(name: str, values: list[float] | None) -> None:
    found = vector(recorded(name))
    assert (found if found is None else [each.value for each in found]) == values


def test_not_a_number_stays_one() -> None:
    found = vector(recorded("nan"))
    assert found is not None
    assert math.isnan(found[0].value)


def test_a_histogram_has_no_value() -> None:
    body = b'{"data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}'
    found = vector(body)
    assert found is not None
    assert math.isnan(found[0].value)


@pytest.mark.parametrize(
    "body",
    [
        recorded("matrix"),
        recorded("bad"),
        b"",
        b"null",
        b"<html>",
        b'{"data":{"resultType":"vector","result":{}}}',
        b'{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}',
        b'{"data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"1"]}]}}',
    ],
)
def test_what_is_no_vector_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"result|convert"):
        vector(body)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":{}}', b'{"data":{"groups":[{"rules":1}]}}'])
def test_what_is_no_list_of_rules_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="rules"):
        rules_named(body, "X")


def test_the_word_of_an_error_is_kept_and_its_sentence_is_not() -> None:
    assert error_type(recorded("bad")) == "bad_data"
    assert error_type(recorded("bad_execution")) == "execution"
    assert error_type(b"<html>") == ""
    assert error_type(b'{"errorType":"<!channel> look"}') == ""


def test_labels_of_the_rule_win_and_copies_are_followed() -> None:
    labels = {"deployment": "$a", "team": "{{ $labels.app }}", "x": "{{ printf }}", "app": "b"}
    found = alert_labels(Rule(query="", labels=labels), {"app": "shop", "x": "1", "y": "2"})
    assert found == {"deployment": "$a", "team": "shop", "app": "b", "y": "2"}


US = Subject(namespace="shop", deployment="checkout", track="stable")


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({}, True),
        ({"job": "x"}, True),
        ({"namespace": "shop"}, True),
        ({"namespace": "shop", "deployment": "checkout"}, True),
        ({"namespace": "shop", "deployment": "cart"}, False),
        ({"namespace": "other", "deployment": "checkout"}, False),
        ({"namespace": "monitoring", "exported_namespace": "shop"}, True),
        ({"namespace": "shop", "exported_namespace": "other"}, False),
        ({"deployment": "checkout", "track": "canary"}, False),
        ({"deployment": "checkout", "track": "stable"}, True),
        ({"cluster": "eu"}, True),
        ({"cluster": "us"}, False),
        ({"replicaset": "checkout-5d8cbf6d7"}, True),
        ({"replicaset": "checkout-api-5d8cbf6d7"}, False),
        ({"replicaset": "cart-5d8cbf6d7"}, False),
        ({"pod": "checkout-5d8cbf6d7-x2x4z"}, True),
        ({"pod": "checkout-api-5d8cbf6d7-x2x4z"}, False),
        ({"pod": "checkout-0"}, False),
        ({"pod": "checkout"}, False),
        # The Deployment's own name counts before that of a pod.
        ({"deployment": "checkout", "pod": "exporter-0"}, True),
    ],
)
def test_an_element_is_ours_unless_a_label_says_otherwise(
    labels: dict[str, str], ours: bool
) -> None:
    assert concerns(US, labels, Naming(labels=TargetLabels(), cluster="eu")) is ours


def test_without_a_name_of_our_own_any_cluster_may_be_ours() -> None:
    assert concerns(US, {"cluster": "us"}, Naming())
