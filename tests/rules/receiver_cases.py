"""What must be so of `alert_rules/receiver.yaml`: two replicas of the receiver, well and not.

Each alert is brought about ten minutes after the start, and ends ten minutes or more later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tests.rules.promtool import At, Case, Fires, Labels, counter, gauge

Series: TypeAlias = dict[str, str]
Parts: TypeAlias = tuple[tuple[float | None, float], ...]

PREFIX = "rollback_receiver_"


def series(metric: str, values: str, replica: str = "a", **labels: str) -> Series:
    """Return a series of one replica."""
    more = "".join(f', {name}="{value}"' for name, value in labels.items())
    return {f'{PREFIX}{metric}{{instance="{replica}"{more}}}': values}


@dataclass(frozen=True, slots=True)
class Moment:
    """What an alert says at a moment: its value, None where it does not fire."""

    when: str
    value: str | None = None


def cases() -> Iterator[Case]:
    """Return all cases."""
    yield from _replicas()
    yield from _watchdog()
    yield from _webhooks()
    yield from _refusals()
    yield from _counted()
    yield from _gauges()
    yield from _kubernetes()


def _case(
    alert: str,
    title: str,
    given: Series,
    *moments: Moment,
    labels: Labels | None = None,
    step: int = 30,
) -> Case:
    return Case(
        name=f"{alert}: {title}",
        series=given,
        expects=tuple(
            At(
                when=moment.when,
                alert=alert,
                fires=(Fires(labels=labels or {}, value=moment.value),)
                if moment.value is not None
                else (),
            )
            for moment in moments
        ),
        step=step,
    )


def _replicas() -> Iterator[Case]:
    up: Parts = ((1, 50),)

    def both(a: Parts, b: Parts) -> Series:
        return series("build_info", gauge(*a)) | series("build_info", gauge(*b), "b")

    # A series is looked for in the last five minutes, unless it is said to have ended: 'stale'.
    gone = gauge((1, 10)) + " stale " + gauge((None, 15)) + " " + gauge((1, 20))
    yield _case(
        "ReceiverAbsent",
        "both replicas go and come back",
        dict.fromkeys(both(up, up), gone),
        Moment("14m30s"),
        Moment("15m", "1"),
        Moment("25m", "1"),
        Moment("30m", "1"),
        Moment("30m30s"),
    )
    yield _case(
        "ReceiverAbsent",
        "one is there",
        series("build_info", gauge(*up)),
        Moment("20m"),
    )
    yield _case(
        "ReceiverNotRedundant",
        "one goes and comes back",
        series("build_info", gauge(*up)) | {next(iter(series("build_info", "", "b"))): gone},
        Moment("24m30s"),
        Moment("25m", "1"),
        Moment("30m", "1"),
        Moment("30m30s"),
    )
    yield _case("ReceiverNotRedundant", "both are there", both(up, up), Moment("30m"))


def _watchdog() -> Iterator[Case]:
    def heard(*parts: tuple[float | None, float], replica: str = "a", step: int = 30) -> Series:
        return series("watchdog_timestamp_seconds", gauge(*parts, step=step), replica)

    yield _case(
        "WatchdogSilent",
        "it falls silent, and comes back",
        # Replica b never heard it: Alertmanager posts to one of them.
        heard((0.5, 20), (1200, 20)) | heard((0, 40), replica="b"),
        Moment("7m"),
        Moment("7m30s", "7m 29s"),
        Moment("24m30s", "19m 29s"),
        Moment("25m"),
    )
    for seconds, fires in ((315, True), (285, False)):
        # The heartbeat comes so late that the silence never ends nor grows.
        yield _case(
            "WatchdogSilent",
            f"{seconds} seconds ago, all the time",
            {
                f'{PREFIX}watchdog_timestamp_seconds{{instance="a"}}': f"{-seconds}+30x80",
            },
            Moment("30m", "5m 15s" if fires else None),
        )
    yield _case(
        "WatchdogSilent",
        "nobody ever heard it",
        heard((0, 60)) | heard((0, 60), replica="b"),
        Moment("30m"),
    )
    yield _case(
        "WatchdogSilent",
        "the replicas that heard it were replaced within a day",
        heard((1800, 60), (0, 40 * 60), step=1800),
        Moment("13h", "12h 30m 0s"),
        Moment("24h", "23h 30m 0s"),
        Moment("26h"),
        step=1800,
    )


def _webhooks() -> Iterator[Case]:
    def answered(failed: Parts, well: Parts, **other: str) -> Series:
        route = {"route": "/api/v1/alerts"} | other
        return series("http_requests_total", counter(*failed), code="503", **route) | series(
            "http_requests_total", counter(*well), code="200", **route
        )

    # Five minutes: a tenth of it more in each step.
    yield _case(
        "WebhooksFailing",
        "a sixth of them fails for a while",
        answered(((0, 10), (0.16, 20), (0, 30)), ((1, 10), (0.84, 20), (1, 30))),
        Moment("23m"),
        Moment("23m30s", "16.0"),
        Moment("36m30s", "11.2"),
        Moment("37m"),
    )
    for share, value in ((0.106, "10.6"), (0.094, None)):
        yield _case(
            "WebhooksFailing",
            f"{share:.1%} of them fail",
            answered(((share, 30),), ((1 - share, 30),))
            | series(
                "http_requests_total",
                counter((5, 30)),
                route="/api/v1/stop",
                code="503" if value is None else "200",
            ),
            Moment("20m", value),
        )
    # Of two requests an hour nothing is left in five minutes: nobody asked, nothing failed.
    yield _case("WebhooksFailing", "none come", answered(((0, 30),), ((0, 30),)), Moment("20m"))
    yield _case(
        "WebhooksFailing",
        "so few that they are less than one a second",
        answered(((0.01, 30),), ((0.01, 30),)),
        Moment("20m", "50.0"),
    )


def _refusals() -> Iterator[Case]:
    def refused(realm: str, *parts: tuple[float | None, float]) -> Series:
        return series("auth_failures_total", counter(*parts), realm=realm)

    yield _case(
        "WebhooksRefused",
        "a wrong token for a minute",
        refused("webhook", (0, 10), (0.1, 1), (0, 40)),
        Moment("15m"),
        # Six in a minute: what of them is within ten minutes.
        Moment("15m30s", "6"),
        Moment("25m", "3"),
        Moment("25m30s", "3"),
        Moment("26m"),
    )
    yield _case(
        "WebhooksRefused",
        "people mistype theirs",
        refused("people", (0, 10), (0.1, 40)) | refused("webhook", (0, 50)),
        Moment("30m"),
    )
    # Who knocks once is no Alertmanager. From rates that no counter has: it begins at two.
    for word, rate, value in (("hardly twice", 0.0031, None), ("twice", 0.00345, "2.07")):
        yield _case(
            "WebhooksRefused",
            word,
            refused("webhook", (0, 10), (rate, 40)),
            Moment("30m", value) if value else Moment("30m"),
        )


def _counted() -> Iterator[Case]:
    """Return those that fire for a quarter of an hour after it happened."""
    for alert, metric, bad, other in (
        ("AlertsTruncated", "truncated_alerts_total", {}, None),
        (
            "RollbackDidNotHelp",
            "rollbacks_total",
            {"outcome": "did_not_help"},
            {"outcome": "recovered"},
        ),
        (
            "RollbackDidNotHelp",
            "rollbacks_total",
            {"outcome": "rollout_failed"},
            {"outcome": "refused"},
        ),
        *(
            (
                "RollbackCannotBeDone",
                "decisions_total",
                {"reason": reason},
                {"reason": "already_handled"},
            )
            for reason in ("fate_unknown", "forbidden", "rejected", "state_unreadable")
        ),
    ):
        happened: Parts = ((0, 20), (1 / 30, 0.5), (0, 30))
        given = series(metric, counter(*happened), **bad)
        if other is not None:
            given |= series(metric, counter((0, 10), (1 / 30, 40)), **other)
        word = next(iter(bad.values()), "it happens")
        yield _case(
            alert,
            f"{word}, once",
            given,
            Moment("20m"),
            Moment("20m30s", "1"),
            Moment("35m", "1"),
            Moment("35m30s"),
            labels=bad,
        )
        yield _case(
            alert,
            f"{word}, as little as can be",
            series(metric, counter((0, 10), (0.0002, 40)), **bad),
            Moment("40m", "0.18"),
            labels=bad,
        )


def _gauges() -> Iterator[Case]:
    one: Parts = ((0, 10), (1, 20), (0, 40))
    for alert, metric, fires, not_yet in (
        ("BreakerOpen", "breaker_open", "11m", "10m30s"),
        ("AutomationStopped", "stopped", "25m", "24m30s"),
    ):
        yield _case(
            alert,
            "on one of two replicas, for a while",
            series(metric, gauge((0, 70))) | series(metric, gauge(*one), "b"),
            Moment(not_yet),
            Moment(fires, "1"),
            Moment("34m30s", "1"),
            Moment("35m"),
        )
        yield _case(
            alert,
            "half of one is something",
            series(metric, gauge((0.5, 40))),
            Moment("30m", "0.5"),
        )
    open_: Parts = ((float("nan"), 10), (3, 70), (0, 40))
    yield _case(
        "IncidentOpenTooLong",
        "three are open for longer than an hour",
        series("incidents_open", gauge(*open_)),
        Moment("69m30s"),
        Moment("70m", "3"),
        Moment("84m30s", "3"),
        Moment("85m"),
    )
    yield _case(
        "IncidentOpenTooLong",
        "one of them at least",
        series("incidents_open", gauge((0.5, 70))),
        Moment("65m", "0.5"),
    )

    held: Parts = ((float("nan"), 10), (2, 260), (0, 40))
    yield _case(
        "ReleaseHeld",
        "two are held for longer than four hours",
        series("releases_held", gauge(*held)) | series("releases_held", gauge((0, 310)), "b"),
        Moment("249m30s"),
        Moment("250m", "2"),
        Moment("274m30s", "2"),
        Moment("275m"),
    )
    yield _case(
        "ReleaseHeld",
        "one of them at least",
        series("releases_held", gauge((0.5, 260))),
        Moment("250m", "0.5"),
    )

    def owed(*parts: tuple[float | None, float], sink: str = "pagerduty") -> Series:
        return series("oldest_notice_seconds", gauge(*parts), sink=sink)

    slack = {"sink": "slack"}
    yield _case(
        "NoticesOwedTooLong",
        "one sink is down",
        owed((0, 10), (600, 10), (0, 20), sink="slack") | owed((0, 40)),
        Moment("11m30s"),
        Moment("12m", "10m 0s"),
        Moment("24m30s", "10m 0s"),
        Moment("25m"),
        labels=slack,
    )
    for seconds, value in ((318.0, "5m 18s"), (282.0, None)):
        yield _case(
            "NoticesOwedTooLong",
            f"{seconds:.0f} seconds, by the replica that says most",
            owed((seconds, 20), sink="slack")
            | series("oldest_notice_seconds", gauge((0, 20)), "b", **slack),
            Moment("15m", value),
            labels=slack,
        )


def _kubernetes() -> Iterator[Case]:
    def asked(bad: Parts, good: Parts, code_class: str = "5xx") -> Series:
        what = {"verb": "get", "resource": "deployments"}
        name = "kubernetes_requests_total"
        return series(name, counter(*bad), code_class=code_class, **what) | series(
            name, counter(*good), code_class="2xx", **what
        )

    yield _case(
        "KubernetesApiFailing",
        "a sixth of the requests for a while",
        asked(((0, 10), (0.16, 20), (0, 30)), ((1, 10), (0.84, 20), (1, 30))),
        Moment("23m"),
        Moment("23m30s", "16.0"),
        Moment("36m30s", "11.2"),
        Moment("37m"),
    )
    for share, code_class, value in (
        (0.106, "none", "10.6"),
        (0.106, "5xx", "10.6"),
        (0.094, "none", None),
        (0.5, "4xx", None),
    ):
        yield _case(
            "KubernetesApiFailing",
            f"{share:.1%} of them: {code_class}",
            asked(((share, 30),), ((1 - share, 30),), code_class),
            Moment("20m", value),
        )
    yield _case("KubernetesApiFailing", "none", asked(((0, 30),), ((0, 30),)), Moment("20m"))
    yield _case(
        "KubernetesApiFailing",
        "so few that they are less than one a second",
        asked(((0.01, 30),), ((0.01, 30),)),
        Moment("20m", "50.0"),
    )
