"""The metrics of the application, by the names of `alert_rules/`, and PromQL over them.

Limits are the rollout plan's: yellow is a health check that fails, red a condition that rolls back.
"""

from k8s.dashboards.frame import HERE, of_target, of_target_ever
from k8s.dashboards.panels import RED, YELLOW

# Counters of the application, and the label that says what came of it.
REQUESTS, SECONDS = "http_requests_total", "http_request_duration_seconds"
FAILED_REQUESTS = 'code=~"5.."'
RUNS, RUN_SECONDS, FAILED_RUNS = (
    "workflow_runs_total",
    "workflow_duration_seconds",
    'status="failed"',
)
MESSAGES, FAILED_MESSAGES = "whatsapp_messages_total", 'status="failed"'
POOL_USED, POOL_SIZE = "db_pool_connections_in_use", "db_pool_connections_max"
QUERY_SECONDS, SLOW_QUERIES = "db_query_duration_seconds", "db_slow_queries_total"
HITS, MISSES = "redis_keyspace_hits_total", "redis_keyspace_misses_total"
CALLS, FAILED_CALLS = "ai_requests_total", 'status="error"'
TOKENS, SPEND = "ai_tokens_total", "ai_spend_usd_total"

# The new revision beside the old, the canary beside the stable.
WHO, WHO_IS = "namespace, deployment, replicaset, track", "{{track}} {{replicaset}}"
BESIDE = "What all revisions suffer from is not the release."
P95 = [(2.0, YELLOW), (3.0, RED)]
ERRORS = [(0.05, YELLOW), (0.1, RED)]
MESSAGES_LOST = [(0.02, YELLOW), (0.05, RED)]
CALLS_LOST = [(0.02, YELLOW)]
POOL = [(0.8, YELLOW)]
HIT_RATE = 0.9
MORE_SPENT = [(0.2, YELLOW)]
QUANTILES = (0.5, 0.95, 0.99)


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Return PromQL: a counter of the target's pods, by second."""
    here = ", ".join((HERE, *matchers))
    by_pod = f"({of_target(f'rate({metric}{{{here}}}[$__rate_interval])')})"
    return f"sum by ({by}) {by_pod}" if by else f"sum{by_pod}"


def count(metric: str, *matchers: str, by: str = "") -> str:
    """Return PromQL: how often something was counted in what the dashboard shows."""
    here = ", ".join((HERE, *matchers))
    by_pod = f"({of_target_ever(f'increase({metric}{{{here}}}[$__range])')})"
    return f"sum by ({by}) {by_pod}" if by else f"sum{by_pod}"


def share(metric: str, which: str, by: str = "") -> str:
    """Return PromQL: the share of what is counted for which `which` holds.

    0 where there is none, and nothing where nothing is counted at all.
    """
    everything = rate(metric, by=by)
    return f"({rate(metric, which, by=by)} or 0 * {everything}) / ({everything} > 0)"


def quantile(part: float, metric: str, by: str = "") -> str:
    """Return PromQL: what that part of the observations of a histogram does not exceed."""
    buckets = rate(f"{metric}_bucket", by=", ".join(filter(None, (by, "le"))))
    return f"histogram_quantile({part}, {buckets})"
