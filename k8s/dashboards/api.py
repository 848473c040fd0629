"""What the API answers, and how fast."""

from k8s.dashboards import application as app
from k8s.dashboards.frame import Rows
from k8s.dashboards.panels import columns, heat, lines, number


def latency() -> Rows:
    """Return the rows of p50, p95 and p99."""
    return {
        "Now": [
            number(
                f"p{share * 100:.0f}",
                f"{share:.0%} of the requests are answered within this time.",
                app.quantile(share, app.SECONDS),
                unit="s",
                limits=limits,
                none="no traffic",
                width=8,
            )
            for share, limits in zip(app.QUANTILES, ((), app.P95, ()), strict=True)
        ],
        "Trends": [
            lines(
                "p50, p95 and p99",
                "Over everything selected. The p95 must stay below 2 s; above 3 s for 10 minutes "
                "rolls back.",
                [
                    (app.quantile(share, app.SECONDS), f"p{share * 100:.0f}")
                    for share in app.QUANTILES
                ],
                unit="s",
                limits=app.P95,
                none="no traffic",
                runbook="HighLatency",
            ),
            lines(
                "p95, by revision",
                app.BESIDE,
                [(app.quantile(0.95, app.SECONDS, app.WHO), app.WHO_IS)],
                unit="s",
                limits=app.P95,
                none="no traffic",
                runbook="HighLatency",
            ),
            lines(
                "p95, the ten slowest endpoints",
                "A release often slows one endpoint down, which the sum hides.",
                [(f"topk(10, {app.quantile(0.95, app.SECONDS, 'route')})", "{{route}}")],
                unit="s",
                limits=app.P95,
                none="no traffic",
                runbook="HighLatency",
            ),
            heat(
                "How the answers are spread",
                "Requests by how long they took: a second band is a second kind of request.",
                app.rate(f"{app.SECONDS}_bucket", by="le"),
                unit="s",
            ),
        ],
    }


def errors() -> Rows:
    """Return the rows of what is answered 5xx."""
    requests = app.rate(app.REQUESTS, by="route")
    failed = app.rate(app.REQUESTS, app.FAILED_REQUESTS, by="route")
    worst = f"topk(10, {app.share(app.REQUESTS, app.FAILED_REQUESTS, 'route')})"
    return {
        "Now": [
            number(
                "Error rate",
                "Share of requests answered 5xx. Must stay below 5 %; above 10 % for 5 minutes "
                "rolls back.",
                app.share(app.REQUESTS, app.FAILED_REQUESTS),
                unit="percentunit",
                limits=app.ERRORS,
                none="no traffic",
                runbook="HighErrorRate",
                width=8,
            ),
            number(
                "Errors a second",
                "Requests answered 5xx.",
                f"{app.rate(app.REQUESTS, app.FAILED_REQUESTS)} or 0 * {app.rate(app.REQUESTS)}",
                unit="reqps",
                none="no traffic",
                width=8,
            ),
            number(
                "Requests a second",
                "Everything that was answered.",
                app.rate(app.REQUESTS),
                unit="reqps",
                none="no traffic",
                width=8,
            ),
        ],
        "By revision": [
            lines(
                "Error rate, by revision",
                app.BESIDE,
                [(app.share(app.REQUESTS, app.FAILED_REQUESTS, app.WHO), app.WHO_IS)],
                unit="percentunit",
                limits=app.ERRORS,
                none="no traffic",
                runbook="HighErrorRate",
            ),
            lines(
                "Answers, by status",
                "Many 4xx after a release may mean that clients and API no longer agree.",
                [(app.rate(app.REQUESTS, by="code"), "{{code}}")],
                unit="reqps",
                stacked=True,
                none="no traffic",
            ),
        ],
        "By endpoint": [
            lines(
                "Error rate, the ten worst endpoints",
                "Share of the requests of each endpoint that were answered 5xx.",
                [(worst, "{{route}}")],
                unit="percentunit",
                limits=app.ERRORS,
                none="no traffic",
                runbook="HighErrorRate",
            ),
            columns(
                "Endpoints",
                "Errors, share of errors, requests and p95 of each endpoint, worst first.",
                [
                    (f"{failed} or 0 * {requests}", "errors"),
                    (app.share(app.REQUESTS, app.FAILED_REQUESTS, "route"), "error rate"),
                    (requests, "requests"),
                    (app.quantile(0.95, app.SECONDS, "route"), "p95"),
                ],
                units=["reqps", "percentunit", "reqps", "s"],
                keys={"route": "endpoint"},
                none="no traffic",
            ),
        ],
    }
