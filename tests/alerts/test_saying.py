"""What an alert says: durations, when the trouble began, names, and text."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.alerts import (
    Alert,
    Named,
    TargetLabels,
    duration,
    is_name,
    is_namespace,
    named,
    text,
    trouble_at,
)

START = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
ASSUMED = timedelta(seconds=30)


def alert(**labels: str) -> Alert:
    return Alert(
        status="firing",
        fingerprint="0" * 16,
        labels=labels,
        annotations={},
        starts_at=START,
    )


def annotated(annotations: dict[str, str]) -> Alert:
    return replace(alert(), annotations=annotations)


# --- durations


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0", timedelta(0)),
        ("0s", timedelta(0)),
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1d", timedelta(days=1)),
        ("2w", timedelta(days=14)),
        ("1y", timedelta(days=365)),
        (
            "1y2w3d4h5m6s7ms",
            timedelta(days=365 + 17, hours=4, minutes=5, seconds=6, milliseconds=7),
        ),
        ("0090s", timedelta(seconds=90)),
        ("292y", timedelta(days=292 * 365)),
    ],
)
def test_a_duration_is_read_as_prometheus_reads_it(written: str, read: timedelta) -> None:
    assert duration(written) == read


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "1", "00", "s", "1.5h", "-1h", "+1h", "1 h", " 1h", "1h ", "1h\n", "1H", "1min"),
        *("1m1h", "1h1h", "1s1m", "1us", "1ns", "1h30", "PT1H", "٣s", "1e3s", "0x1s", "inf"),
        *("293y", "9" * 20 + "ms", "9" * 500 + "s", "9" * 5_000 + "y"),
    ],
    ids=lambda written: repr(written[:20] + f"({len(written)})"),
)
def test_what_is_no_duration_or_too_long_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="duration") as caught:
        duration(written)
    assert len(str(caught.value)) < 120


@given(st.integers(0, 292 * 365 * 86_400_000))
def test_any_span_is_read_back_from_its_parts(milliseconds: int) -> None:
    seconds, rest = divmod(milliseconds, 1000)
    hours, seconds = divmod(seconds, 3600)
    assert duration(f"{hours}h{seconds}s{rest}ms") == timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("annotations", "before"),
    [
        ({"for": "5m"}, timedelta(minutes=5)),
        ({"for": " 5m "}, timedelta(minutes=5)),
        ({"for": "0"}, timedelta(0)),
        ({"for": "7d"}, timedelta(days=7)),
        ({"for": "8d"}, timedelta(days=7)),
        ({"for": "200y"}, timedelta(days=7)),
        ({}, ASSUMED),
        ({"for": ""}, ASSUMED),
        ({"for": "five minutes"}, ASSUMED),
        ({"for": "-5m"}, ASSUMED),
        ({"for": "<error expanding template>"}, ASSUMED),
        ({"For": "5m"}, ASSUMED),
    ],
)
def test_trouble_began_as_long_before_as_the_rule_waits(
    annotations: dict[str, str], before: timedelta
) -> None:
    assert trouble_at(annotated(annotations), ASSUMED) == START - before


def test_the_label_for_is_not_the_annotation() -> None:
    assert trouble_at(alert(**{"for": "5m"}), ASSUMED) == START - ASSUMED


# --- names


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, Named()),
        (
            {
                "namespace": "shop",
                "deployment": "checkout",
                "track": "canary",
                "cluster": "prod-eu1",
            },
            Named(namespace="shop", deployment="checkout", track="canary", cluster="prod-eu1"),
        ),
        (
            {"exported_namespace": "shop", "namespace": "monitoring", "pod": "checkout-5d9-x"},
            Named(namespace="shop", pod="checkout-5d9-x"),
        ),
        ({"exported_namespace": "", "namespace": "shop"}, Named(namespace="shop")),
        ({"exported_pod": "a", "pod": "b"}, Named(pod="a")),
        ({"replicaset": "checkout-5d9"}, Named(replicaset="checkout-5d9")),
        ({"statefulset": "db"}, Named(kind="StatefulSet")),
        ({"daemonset": "agent"}, Named(kind="DaemonSet")),
        ({"statefulset": "db", "daemonset": "agent"}, Named(kind="StatefulSet")),
        ({"statefulset": ""}, Named()),
        ({"statefulset": "db", "deployment": "checkout"}, Named(deployment="checkout")),
        ({"statefulset": "db", "deployment": ""}, Named(kind="StatefulSet")),
        ({"statefulset": "db", "deployment": "No!"}, Named(invalid=("deployment",))),
        ({"exported_namespace": "No", "namespace": "shop"}, Named(invalid=("exported_namespace",))),
        (
            {"namespace": "a.b", "deployment": "a.b", "replicaset": "_", "pod": "../x"},
            Named(deployment="a.b", invalid=("namespace", "replicaset", "pod")),
        ),
        ({"Namespace": "shop", "DEPLOYMENT": "checkout"}, Named()),
    ],
)
def test_the_first_label_that_says_something_names_the_target(
    labels: dict[str, str], expected: Named
) -> None:
    assert named(alert(**labels), TargetLabels()) == expected


def test_the_labels_that_name_are_those_of_the_configuration() -> None:
    labels = TargetLabels(namespace=("ns",), deployment=("app", "deployment"), cluster=("region",))
    one = alert(ns="shop", namespace="x", deployment="checkout", region="eu", cluster="y")
    expected = Named(namespace="shop", deployment="checkout", cluster="eu")
    assert named(one, labels) == expected


def test_no_label_at_all_may_be_configured_to_name_something() -> None:
    assert named(alert(pod="a"), TargetLabels(pod=())) == Named()


def test_track_and_cluster_may_be_any_text_but_no_book() -> None:
    found = named(alert(track="Größe 1/2", cluster="x" * 1_000), TargetLabels())
    assert (found.track, found.cluster, found.invalid) == ("Größe 1/2", "x" * 253, ())


NAMES = {
    "a": (True, True),
    "0": (True, True),
    "checkout-v2": (True, True),
    "a" * 63: (True, True),
    "a" * 64: (False, True),
    "a" * 253: (False, True),
    "a" * 254: (False, False),
    "a.b": (False, True),
    "a-b.c-d.0": (False, True),
    ".".join(["ab"] * 84) + ".": (False, False),
    "a..b": (False, False),
    ".a": (False, False),
    "a.": (False, False),
    "a.-b": (False, False),
    "-a": (False, False),
    "a-": (False, False),
    "": (False, False),
    "A": (False, False),
    "a_b": (False, False),
    "a/b": (False, False),
    "../a": (False, False),
    "a b": (False, False),
    "a\n": (False, False),
    "\na": (False, False),
    "a\x00": (False, False),
    "ä": (False, False),
    "٣": (False, False),
    "a%2fb": (False, False),
    "<error expanding template: x>": (False, False),
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:20] + f"({len(name)})"))
def test_names_are_those_that_kubernetes_accepts(name: str) -> None:
    assert (is_namespace(name), is_name(name)) == NAMES[name]
    found = named(alert(namespace=name, deployment=name), TargetLabels())
    assert found.namespace == (name if NAMES[name][0] else "")
    assert found.deployment == (name if NAMES[name][1] else "")


@given(st.dictionaries(st.sampled_from(["namespace", "deployment", "pod"]), st.text(max_size=300)))
def test_a_label_is_used_or_reported_or_empty(labels: dict[str, str]) -> None:
    found = named(alert(**labels), TargetLabels())
    for label, value in labels.items():
        used = getattr(found, label)
        assert used in ("", value)
        assert (label in found.invalid) is (bool(value) and not used)


# --- text


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        ("plain", 20, "plain"),
        ("größe→✓ 🚀", 20, "größe→✓ 🚀"),
        ("", 20, ""),
        ("one\ntwo\r\nthree\tfour", 40, "one two three four"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf\u00a0g\u3000h", 40, "a b c d e f g h"),
        ("  a   b  ", 20, "a b"),
        ("a\x00b\x07c\x7fd", 20, "abcd"),
        ("\x1b[31mred\x1b[0m", 20, "[31mred[0m"),
        ("user\u202etxt.exe\u2066", 20, "usertxt.exe"),
        ("zero\u200bwidth\ufeff", 20, "zerowidth"),
        ("half\ud800pair", 20, "halfpair"),
        ("\x00 a", 20, "a"),
        ("12345", 5, "12345"),
        ("123456", 5, "1234…"),
        ("123456", 1, "…"),
        ("123456", 0, ""),
        ("1", 1, "1"),
        ("a" + " " * 100 + "b", 10, "a…"),
        (" " * 100 + "b", 10, "…"),
    ],
)
def test_text_is_one_bounded_line_without_what_cannot_be_seen(
    value: str, limit: int, expected: str
) -> None:
    assert text(value, limit) == expected


@given(st.text(alphabet=st.characters(), max_size=200), st.integers(0, 60))
def test_any_text_fits_on_a_line_of_the_limit_and_stays_as_it_is(value: str, limit: int) -> None:
    line = text(value, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert line.encode().decode() == line
    assert text(line, limit) == line


def test_a_very_long_text_costs_no_more_than_its_beginning() -> None:
    class Counted(str):
        __slots__ = ()

        def __getitem__(self, key: object) -> str:
            assert isinstance(key, slice)
            assert key.stop == 40
            return str(self)[key]

        def __iter__(self) -> None:  # type: ignore[override] # never to be used
            raise AssertionError

    assert text(Counted("x" * 10_000_000), 10) == "x" * 9 + "…"
