"""What `/metrics` shows from the start, and what it can never grow to."""

import ast
import math
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from receiver import telemetry
from receiver.journal import OPEN, UNDER_WAY, Phase
from receiver.reasons import Reason
from receiver.telemetry import METRICS, PREFIX, Metrics

FINAL = tuple(sorted(set(Phase) - OPEN))
CALLS = (("get", "deployments.apps"), ("patch", "deployments.apps"))
MOST_SERIES = 600


def fresh(registry: CollectorRegistry | None = None) -> Metrics:
    metrics = Metrics(
        registry if registry is not None else CollectorRegistry(),
        version="1.2.3",
        reasons=Reason,
        phases=FINAL,
        steps=UNDER_WAY,
        sinks=("prod-alerts", "pagerduty"),
        deliveries=("delivered", "not_sent"),
        calls=CALLS,
    )
    metrics.foresee(
        [("/health", "200"), ("/api/v1/alerts", "200"), ("/api/v1/alerts", "401")],
        ["too_large", "unauthorized"],
    )
    return metrics


def samples(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def values(registry: CollectorRegistry, name: str, label: str) -> set[str]:
    found = samples(registry)
    return {dict(labels)[label] for sample, labels in found if sample == PREFIX + name}


PRE_CREATED = [
    ("decisions_total", "reason", {each.value for each in Reason}),
    ("rollbacks_total", "outcome", {each.value for each in FINAL}),
    ("releases_open", "step", {each.value for each in UNDER_WAY}),
    ("oldest_release_step_seconds", "step", {each.value for each in UNDER_WAY}),
    ("deliveries_total", "sink", {"prod-alerts", "pagerduty"}),
    ("deliveries_total", "delivery", {"delivered", "not_sent"}),
    ("http_requests_total", "route", {"/health", "/api/v1/alerts"}),
    ("http_requests_total", "code", {"200", "401"}),
    ("http_rejections_total", "reason", {"too_large", "unauthorized", "other"}),
    ("alerts_received_total", "status", {"firing", "resolved"}),
    ("auth_failures_total", "realm", {"webhook", "people"}),
    ("rollback_duration_seconds_count", "step", {"decide", "patch", "rollout", "verify"}),
    ("kubernetes_requests_total", "verb", {"get", "patch"}),
    ("kubernetes_requests_total", "resource", {"deployments.apps"}),
    ("kubernetes_requests_total", "code_class", {"2xx", "3xx", "4xx", "5xx", "none"}),
    ("kubernetes_request_seconds_count", "verb", {"get", "patch"}),
    ("build_info", "version", {"1.2.3"}),
]


@pytest.mark.parametrize(("name", "label", "expected"), PRE_CREATED)
def test_every_label_set_is_there_before_anything_has_happened(
    name: str, label: str, expected: set[str]
) -> None:
    registry = CollectorRegistry()
    fresh(registry)
    assert values(registry, name, label) == expected


def test_each_metric_of_the_table_is_exported_and_none_beside_it() -> None:
    registry = CollectorRegistry()
    fresh(registry)
    exported = {
        family.name for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert exported == {PREFIX + name.removesuffix("_total") for name, *_ in METRICS}


def test_the_annotations_of_the_class_are_the_table() -> None:
    attributes = {name: kind.__name__.lower() for name, kind in Metrics.__annotations__.items()}
    assert attributes == {name: kind for name, kind, *_ in METRICS}


def test_counters_end_in_total_and_units_are_base_units() -> None:
    for name, kind, *_ in METRICS:
        assert name.endswith("_total") == (kind == "counter")
        assert not name.endswith(("_ms", "_milliseconds", "_minutes", "_kb"))


def test_nothing_is_registered_globally() -> None:
    from prometheus_client import REGISTRY  # noqa: PLC0415 - the one place that may look at it

    fresh()
    assert PREFIX not in generate_latest(REGISTRY).decode()


def test_two_replicas_in_one_process_count_apart() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    fresh(one).template_writes_total.inc()
    fresh(other)
    key = (PREFIX + "template_writes_total", frozenset[tuple[str, str]]())
    assert (samples(one)[key], samples(other)[key]) == (1, 0)


def test_an_unforeseen_reason_of_a_rejection_makes_no_series_of_its_own() -> None:
    registry = CollectorRegistry()
    metrics = fresh(registry)
    for index in range(1000):
        metrics.rejected(f"reason-{index}")
    metrics.rejected("too_large")
    name = PREFIX + "http_rejections_total"
    found = {labels: value for (n, labels), value in samples(registry).items() if n == name}
    assert found == {
        frozenset({("reason", "other")}): 1000,
        frozenset({("reason", "too_large")}): 1,
        frozenset({("reason", "unauthorized")}): 0,
    }


@pytest.mark.parametrize(
    ("status", "expected"), [(200, "2xx"), (409, "4xx"), (503, "5xx"), (None, "none")]
)
def test_a_call_of_the_kubernetes_api_is_counted_by_class(
    status: int | None, expected: str
) -> None:
    registry = CollectorRegistry()
    fresh(registry).kubernetes_call("get", "deployments.apps", status, 0.2)
    labels = {"verb": "get", "resource": "deployments.apps", "code_class": expected}
    assert samples(registry)[PREFIX + "kubernetes_requests_total", frozenset(labels.items())] == 1
    seconds = PREFIX + "kubernetes_request_seconds_sum", frozenset({("verb", "get")})
    assert samples(registry)[seconds] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "name",
    [
        "incidents_open",
        "releases_open",
        "releases_held",
        "oldest_release_step_seconds",
        "notices_owed",
        "oldest_notice_seconds",
    ],
)
def test_a_gauge_that_nobody_has_set_yet_does_not_say_zero(name: str) -> None:
    registry = CollectorRegistry()
    fresh(registry)
    found = [value for (known, _), value in samples(registry).items() if known == PREFIX + name]
    assert found
    assert all(math.isnan(value) for value in found)


def test_the_series_of_a_process_stay_few() -> None:
    registry = CollectorRegistry()
    fresh(registry)
    assert len(samples(registry)) < MOST_SERIES
    assert not [name for name, _ in samples(registry) if name.endswith("_created")]


def test_telemetry_knows_nobody_of_this_package() -> None:
    folder = Path(telemetry.__file__).parent
    imported = {
        node.module or ""
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert imported
    strangers = {name for name in imported if name.startswith("receiver")}
    assert strangers == {"receiver.telemetry.logs", "receiver.telemetry.metrics"}
