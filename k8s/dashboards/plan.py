"""The five dashboards that the rollout plan asks people to watch."""

from collections.abc import Callable, Sequence

from k8s.dashboards import api, backends, frame
from k8s.dashboards import application as app
from k8s.dashboards.frame import Rows
from k8s.dashboards.panels import Panel, lines


def _revisions() -> list[Panel]:
    """Return what is the last row of each: which revision runs."""
    return [
        lines(
            "Ready pods, by revision",
            "A release moves them from one ReplicaSet to another, a rollback moves them back.",
            [
                (
                    f"{frame.by_revision('kube_replicaset_status_ready_replicas')} > 0",
                    "{{deployment}} {{replicaset}}",
                )
            ],
            unit="short",
            stacked=True,
        ),
        lines(
            "Requests a second, by revision",
            "Rollback conditions hold back where there is hardly any traffic.",
            [(app.rate(app.REQUESTS, by=app.WHO), app.WHO_IS)],
            unit="reqps",
        ),
    ]


_FIVE: Sequence[tuple[str, str, str, Callable[[], Rows]]] = (
    (
        "rollout-api-latency",
        "API latency",
        "How long the API takes: p50, p95 and p99.",
        api.latency,
    ),
    ("rollout-error-rate", "Error rate", "What the API answers 5xx, by endpoint.", api.errors),
    (
        "rollout-workflow-success",
        "Workflow success rate",
        "Which workflows succeed, and whether WhatsApp messages arrive.",
        backends.workflows,
    ),
    (
        "rollout-database",
        "Database",
        "Connection pool, query time, and the cache before it.",
        backends.database,
    ),
    (
        "rollout-ai-tokens",
        "AI token usage",
        "What AI services cost, and whether they answer.",
        backends.tokens,
    ),
)


def dashboards() -> dict[str, str]:
    """Return the dashboards as JSON text, by their uid."""
    made = {}
    for uid, title, says, rows in _FIVE:
        text = f"{says} Of the rollout plan; yellow fails a health check, red rolls back."
        every = {**rows(), "Releases": _revisions()}
        made[uid] = frame.document(uid, title, text, every, baseline=rows is backends.tokens)
    return made
