"""How the receiver is itself: whom it tells, how Kubernetes answers it, and its replicas."""

from k8s.dashboards import own
from k8s.dashboards.panels import RED, YELLOW, Panel, bars, columns, lines

_NO_ANSWER = 'code_class=~"5xx|none"'


def told() -> list[Panel]:
    """Return what sinks were told, and what they are owed."""
    failures = own.a_minute("delivery_failures_total", by="sink, reason")
    given_up, instead = (
        f"sum by (sink) (increase({own.one(metric)}[$__range]))"
        for metric in ("dead_letters_total", "fallbacks_total")
    )
    return [
        lines(
            "Deliveries",
            "Messages sent to each sink, by what came of it.",
            [(own.a_minute("deliveries_total", by="sink, delivery"), "{{sink}} {{delivery}}")],
            unit="cpm",
            stacked=True,
            none="nothing was told",
            width=8,
        ),
        lines(
            "Deliveries that failed, and why",
            "What was in the way. Most are sent again; a secret that is refused, or an address "
            "that is gone, needs a person.",
            [(failures, "{{sink}} {{reason}}")],
            unit="cpm",
            stacked=True,
            none="none failed",
            width=8,
        ),
        lines(
            "How long a delivery took, p95",
            "A sink that is slow delays no other, and no rollback.",
            [
                (
                    own.quantile(0.95, "delivery_seconds", by="sink", window="$__rate_interval"),
                    "{{sink}}",
                )
            ],
            unit="s",
            none="nothing was told",
            width=8,
        ),
        lines(
            "Notices owed, by sink",
            "Messages that each sink has not taken yet.",
            [(f"max by (sink) ({own.one('notices_owed')})", "{{sink}}")],
            unit="short",
            none="nobody has counted",
            width=8,
        ),
        lines(
            "Age of the oldest notice owed, by sink",
            "A line that climbs is a sink that is down.",
            [(f"max by (sink) ({own.one('oldest_notice_seconds')})", "{{sink}}")],
            unit="s",
            limits=[(300, RED)],
            none="nobody has counted",
            width=8,
        ),
        bars(
            "Given up, and told elsewhere, in this range",
            "Notices that a sink never took (the journal keeps the newest), and pages that a "
            "fallback told in its place.",
            [(given_up, "{{sink}}: given up"), (instead, "{{sink}}: told elsewhere")],
            unit="short",
            decimals=0,
            limits=[(1, RED)],
            width=8,
        ),
    ]


def kubernetes() -> list[Panel]:
    """Return how the Kubernetes API answers."""
    calls, seconds = "kubernetes_requests_total", "kubernetes_request_seconds"
    every = f"sum(rate({own.one(calls)}[$__rate_interval]))"
    failed = f"sum(rate({own.one(calls, _NO_ANSWER)}[$__rate_interval]))"
    return [
        lines(
            "Kubernetes API: how long it took",
            "Over all calls. A rollback takes some 30 of them.",
            [
                (own.quantile(share, seconds, window="$__rate_interval"), f"p{share * 100:.0f}")
                for share in own.QUANTILES
            ],
            unit="s",
            limits=[(1, YELLOW)],
            width=8,
        ),
        lines(
            "Kubernetes API: p95 by verb",
            "A watch is measured until its answer begins. All should stay below a second.",
            [(own.quantile(0.95, seconds, by="verb", window="$__rate_interval"), "{{verb}}")],
            unit="s",
            width=8,
        ),
        lines(
            "Kubernetes API: calls",
            "By verb and resource.",
            [(own.a_minute(calls, by="verb, resource"), "{{verb}} {{resource}}")],
            unit="cpm",
            stacked=True,
            width=8,
        ),
        lines(
            "Kubernetes API: errors",
            "`4xx` may be a lost race (409, 422) or a missing right (403); `none`: no answer.",
            [
                (
                    own.a_minute(calls, 'code_class!~"2xx|3xx"', by="verb, resource, code_class"),
                    "{{verb}} {{resource}} {{code_class}}",
                )
            ],
            unit="cpm",
            stacked=True,
            none="none failed",
            width=8,
        ),
        lines(
            "Kubernetes API: share of errors",
            "Calls answered 5xx, or not at all, among all calls.",
            [(f"({failed} or 0 * {every}) / ({every} > 0)", "failed")],
            unit="percentunit",
            limits=[(0.05, RED)],
            width=8,
        ),
        lines(
            "Conflicts",
            "Journal writes lost to another replica or person, and tried again.",
            [(f"60 * sum(rate({own.one('conflicts_total')}[$__rate_interval]))", "conflicts")],
            unit="cpm",
            width=8,
        ),
    ]


def replicas() -> list[Panel]:
    """Return what is asked of the replicas, and what each does."""
    return [
        lines(
            "HTTP: requests",
            "Answered, by route and status. Alertmanager repeats what was answered 5xx.",
            [(own.a_minute("http_requests_total", by="route, code"), "{{route}} {{code}}")],
            unit="cpm",
            stacked=True,
            width=8,
        ),
        lines(
            "HTTP: refused requests",
            "By reason, and requests without a valid credential, by whom they meant to be.",
            [
                (own.a_minute("http_rejections_total", by="reason"), "{{reason}}"),
                (own.a_minute("auth_failures_total", by="realm"), "no credential of {{realm}}"),
            ],
            unit="cpm",
            stacked=True,
            none="none refused",
            width=8,
        ),
        columns(
            "Replicas",
            "Version of each, targets it works on, and how long ago it last accepted a webhook.",
            [
                (f"max by (instance, version) ({own.one('build_info')})", "up"),
                (f"max by (instance) ({own.one('targets_in_work')})", "targets"),
                (
                    f"time() - max by (instance) ({own.one('last_webhook_timestamp_seconds')} > 0)",
                    "last webhook",
                ),
            ],
            units=["short", "short", "s"],
            keys={"instance": "replica", "version": "version"},
            width=8,
        ),
    ]
