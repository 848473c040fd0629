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
    troubles,
    vector,
    whole,
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


LONG = "registry-mirror-of-the-payments-and-invoicing-frontend"  # 54 characters
LONGER = f"{LONG}-of-shop"


@pytest.mark.parametrize(
    ("deployment", "pod", "ours"),
    [
        ("checkout", "checkout-5d8cbf6d7-x2x4z", True),
        # What is longer than 58 is cut, and five characters follow at once.
        (LONG, f"{LONG}-5d8x2x4z", True),
        (LONG, f"{LONG[:-1]}x-5d8x2x4z", False),
        (LONG, f"{LONG}-5a8x2x4z", False),
        (LONG, f"{LONG}-5d8x2x4", False),
        (LONGER, f"{LONGER[:58]}x2x4z", True),
        (LONGER, f"{LONGER[:57]}xx2x4z", False),
        ("x" * 47, f"{'x' * 47}-5d8cbf6d7-x2x4z", True),
        ("x" * 47, f"{'x' * 47}-5d8cbf6d75x2x4z", True),
    ],
)
def test_a_pod_is_known_by_its_deployment_however_long_its_name(
    deployment: str, pod: str, ours: bool
) -> None:
    subject = Subject(namespace="shop", deployment=deployment)
    assert concerns(subject, {"pod": pod}, Naming()) is ours


# --- critical alerts

BOTH = (
    Subject(namespace="shop", deployment="checkout", track="stable"),
    Subject(namespace="shop", deployment="checkout-canary", track="canary"),
)


@pytest.mark.parametrize(
    ("labels", "trouble"),
    [
        ({}, False),
        ({"deployment": "checkout"}, False),
        ({"namespace": ""}, False),
        ({"namespace": "shop"}, True),
        ({"namespace": "shop", "node": "n1", "service": "redis"}, True),
        ({"namespace": "shop", "deployment": "checkout"}, True),
        ({"namespace": "shop", "deployment": "checkout-canary", "track": "canary"}, True),
        ({"namespace": "shop", "deployment": "cart"}, False),
        ({"namespace": "shop", "deployment": "checkout-api"}, False),
        ({"namespace": "other", "deployment": "checkout"}, False),
        ({"namespace": "monitoring", "exported_namespace": "shop"}, True),
        ({"namespace": "shop", "exported_namespace": "other"}, False),
        ({"namespace": "shop", "replicaset": "checkout-canary-5d8cbf6d7"}, True),
        ({"namespace": "shop", "replicaset": "cart-5d8cbf6d7"}, False),
        ({"namespace": "shop", "pod": "checkout-5d8cbf6d7-x2x4z"}, True),
        ({"namespace": "shop", "pod": "checkout-canary-5d8cbf6d7-x2x4z"}, True),
        ({"namespace": "shop", "pod": "redis-0"}, False),
        # Which track it is excuses nothing.
        ({"namespace": "shop", "deployment": "checkout", "track": "canary"}, True),
        ({"namespace": "shop", "track": "baseline"}, True),
        ({"namespace": "shop", "cluster": "eu"}, True),
        ({"namespace": "shop", "cluster": "us"}, False),
    ],
)
def test_an_alert_is_trouble_that_names_the_namespace_and_nobody_else(
    labels: dict[str, str], trouble: bool
) -> None:
    assert troubles(BOTH, labels, Naming(labels=TargetLabels(), cluster="eu")) is trouble


def test_nothing_is_trouble_for_nobody() -> None:
    assert not troubles((), {"namespace": "shop"}, Naming())


def test_an_answer_with_a_warning_is_not_the_whole_of_it() -> None:
    assert whole(recorded("vector"))
    assert whole(b'{"data":{},"warnings":[]}')
    assert whole(b'{"data":{},"infos":["a hint"]}')
    assert not whole(b'{"data":{},"warnings":["store 10.0.0.7: no such host"]}')
    with pytest.raises(ValueError, match="shape"):
        whole(b'{"warnings":"many"}')
