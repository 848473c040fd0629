"""What the API works with: workflows and their messages, the database and its cache, AI."""

from k8s.dashboards import application as app
from k8s.dashboards.frame import HERE, Rows, of_target
from k8s.dashboards.panels import GREEN, HIGH, RED, YELLOW, bars, lines, number


def workflows() -> Rows:
    """Return the rows of workflows and of WhatsApp messages."""
    succeeded = f"1 - {app.share(app.RUNS, app.FAILED_RUNS)}"
    failed = app.count(app.RUNS, app.FAILED_RUNS, by="workflow")
    return {
        "Workflows": [
            number(
                "Success rate",
                "Share of the runs that ended and did not fail.",
                succeeded,
                unit="percentunit",
                limits=[(0.95, GREEN)],
                base=RED,
                none="no runs",
                width=4,
                height=HIGH,
            ),
            lines(
                "Success rate, by workflow",
                "Share of the runs of each type that did not fail.",
                [(f"1 - {app.share(app.RUNS, app.FAILED_RUNS, 'workflow')}", "{{workflow}}")],
                unit="percentunit",
                most=1,
                none="no runs",
                width=10,
            ),
            lines(
                "Runs, by workflow and status",
                "How often a minute each type ended, and how.",
                [(f"60 * {app.rate(app.RUNS, by='workflow, status')}", "{{workflow}} {{status}}")],
                unit="cpm",
                stacked=True,
                none="no runs",
                width=10,
            ),
            lines(
                "p95 of a run, by workflow",
                "A workflow that takes longer may be about to fail.",
                [(app.quantile(0.95, app.RUN_SECONDS, "workflow"), "{{workflow}}")],
                unit="s",
                none="no runs",
            ),
            bars(
                "Failed runs in this range",
                "Counted by workflow.",
                [(f"sort_desc({failed})", "{{workflow}}")],
                unit="short",
                decimals=0,
                limits=[(1, RED)],
                none="none failed",
            ),
        ],
        "WhatsApp": [
            number(
                "Failure rate",
                "Share of the messages that were not delivered. Must stay below 2 %; above 5 % "
                "for 10 minutes rolls back.",
                app.share(app.MESSAGES, app.FAILED_MESSAGES),
                unit="percentunit",
                limits=app.MESSAGES_LOST,
                none="no messages",
                runbook="WhatsappFailures",
                width=4,
                height=HIGH,
            ),
            lines(
                "Failure rate, by revision",
                app.BESIDE,
                [(app.share(app.MESSAGES, app.FAILED_MESSAGES, app.WHO), app.WHO_IS)],
                unit="percentunit",
                limits=app.MESSAGES_LOST,
                none="no messages",
                runbook="WhatsappFailures",
                width=10,
            ),
            lines(
                "Messages, by status",
                "How many a minute were delivered, and how many were not.",
                [(f"60 * {app.rate(app.MESSAGES, by='status')}", "{{status}}")],
                unit="cpm",
                stacked=True,
                none="no messages",
                width=10,
            ),
        ],
    }


def database() -> Rows:
    """Return the rows of the connection pool, of queries and of Redis."""
    pools = f"{app.POOL_USED}{{{HERE}}} / ({app.POOL_SIZE}{{{HERE}}} > 0)"
    used = of_target(f"({pools})")
    in_use, most = (of_target(f"{pool}{{{HERE}}}") for pool in (app.POOL_USED, app.POOL_SIZE))
    # Redis is nobody's Deployment: its exporter can name a namespace only.
    hit, missed = (
        f"sum by (namespace) (rate({found}{{{HERE}}}[$__rate_interval]))"
        for found in (app.HITS, app.MISSES)
    )
    hits = f"{hit} / ({hit} + {missed} > 0)"
    return {
        "Connection pool": [
            number(
                "Pool in use",
                "Share of the connections of the fullest pool. Must stay below 80 %: beyond, "
                "requests begin to wait for one.",
                f"max({used})",
                unit="percentunit",
                limits=app.POOL,
                runbook="DbPoolNearlyFull",
                width=4,
                height=HIGH,
            ),
            lines(
                "Pool in use, by revision",
                "The fullest pool of each. A release that leaks connections climbs and does not "
                "come back.",
                [(f"max by ({app.WHO}) ({used})", app.WHO_IS)],
                unit="percentunit",
                limits=app.POOL,
                runbook="DbPoolNearlyFull",
                most=1,
                width=10,
            ),
            lines(
                "Connections",
                "In use, and how many there may be.",
                [(f"sum({in_use})", "in use"), (f"sum({most})", "most")],
                unit="short",
                width=10,
            ),
        ],
        "Queries": [
            lines(
                "Query time",
                "p50, p95 and p99 of all queries.",
                [
                    (app.quantile(share, app.QUERY_SECONDS), f"p{share * 100:.0f}")
                    for share in app.QUANTILES
                ],
                unit="s",
                none="no queries",
                width=8,
            ),
            lines(
                "p95 of a query, by operation",
                "A missing index shows in one operation first.",
                [(app.quantile(0.95, app.QUERY_SECONDS, "operation"), "{{operation}}")],
                unit="s",
                none="no queries",
                width=8,
            ),
            lines(
                "Slow queries",
                "How many a minute went to the slow query log.",
                [(f"60 * {app.rate(app.SLOW_QUERIES, by=app.WHO)}", app.WHO_IS)],
                unit="cpm",
                runbook="SlowQueries",
                width=8,
            ),
        ],
        "Redis": [
            number(
                "Hit rate",
                "Share of look-ups that found something. Should be above 90 %: below, the database "
                "does the work. Of the namespace, for Redis belongs to no Deployment.",
                f"min({hits})",
                unit="percentunit",
                limits=[(app.HIT_RATE, GREEN)],
                base=YELLOW,
                none="no look-ups",
                runbook="RedisHitRateLow",
                width=4,
                height=HIGH,
            ),
            lines(
                "Hit rate, by namespace",
                "A release that changes its keys begins with an empty cache.",
                [(hits, "{{namespace}}")],
                unit="percentunit",
                most=1,
                none="no look-ups",
                runbook="RedisHitRateLow",
                width=20,
            ),
        ],
    }


def tokens() -> Rows:
    """Return the rows of what AI costs, and how it answers."""
    # Pods that are gone have spent, too: it is counted by namespace, as the alert does.
    spent = f"increase({app.SPEND}{{{HERE}}}[1h]"
    more = f"sum({spent})) / (sum({spent} offset $baseline)) > 0) - 1"
    return {
        "Spend": [
            number(
                "Spent in this range",
                "By the pods of what is selected, those that are gone included.",
                app.count(app.SPEND),
                unit="currencyUSD",
                width=6,
            ),
            number(
                "Spend against baseline",
                "How much more the namespace spent in the last hour than in that $baseline before. "
                "Should not grow by more than 20 %.",
                more,
                unit="percentunit",
                limits=app.MORE_SPENT,
                none="no baseline yet",
                runbook="AiSpendAboveBaseline",
                width=6,
            ),
            number(
                "AI error rate",
                "Share of the calls of AI services that failed. Must stay below 2 %.",
                app.share(app.CALLS, app.FAILED_CALLS),
                unit="percentunit",
                limits=app.CALLS_LOST,
                none="no calls",
                runbook="AiErrorRateAboveTarget",
                width=6,
            ),
            number(
                "Tokens for each call",
                "A prompt that grew with a release shows here before it shows on the bill.",
                f"{app.rate(app.TOKENS)} / ({app.rate(app.CALLS)} > 0)",
                unit="short",
                none="no calls",
                width=6,
            ),
            lines(
                "Spend rate, by model",
                "US dollars an hour.",
                [(f"3600 * {app.rate(app.SPEND, by='model')}", "{{model}}")],
                unit="currencyUSD",
                stacked=True,
                none="nothing spent",
            ),
            lines(
                "Spent in an hour, and before",
                "US dollars in the hour before, now and as long ago as the baseline is.",
                [(f"sum({spent}))", "now"), (f"sum({spent} offset $baseline))", "$baseline ago")],
                unit="currencyUSD",
                none="nothing spent",
            ),
        ],
        "Tokens": [
            lines(
                "Tokens, by model and direction",
                "Tokens a second, sent (`input`) and received (`output`).",
                [(app.rate(app.TOKENS, by="model, direction"), "{{model}} {{direction}}")],
                unit="short",
                stacked=True,
                none="no tokens",
                width=8,
            ),
            lines(
                "Tokens, by revision",
                f"Tokens a second. {app.BESIDE}",
                [(app.rate(app.TOKENS, by=app.WHO), app.WHO_IS)],
                unit="short",
                none="no tokens",
                width=8,
            ),
            lines(
                "AI error rate, by model",
                "Share of the calls that failed.",
                [(app.share(app.CALLS, app.FAILED_CALLS, "model"), "{{model}}")],
                unit="percentunit",
                limits=app.CALLS_LOST,
                none="no calls",
                runbook="AiErrorRateAboveTarget",
                width=8,
            ),
        ],
    }
