"""PromQL over the metrics of the receiver (`receiver.telemetry`)."""

from k8s.dashboards.frame import OURS

PREFIX = "rollback_receiver_"
QUANTILES = (0.5, 0.95, 0.99)


def one(metric: str, *matchers: str) -> str:
    """Return PromQL: a metric of the receiver."""
    return f"{PREFIX}{metric}{{{', '.join((OURS, *matchers))}}}"


def a_minute(metric: str, *matchers: str, by: str) -> str:
    """Return PromQL: how often a minute something was counted, without what was not."""
    rate = f"rate({one(metric, *matchers)}[$__rate_interval])"
    return f"60 * sum by ({by}) ({rate}) > 0"


def in_range(metric: str, *matchers: str, by: str) -> str:
    """Return PromQL: how often something was counted in what the dashboard shows."""
    return f"sum by ({by}) (increase({one(metric, *matchers)}[$__range])) > 0"


def quantile(share: float, metric: str, *matchers: str, by: str = "", window: str) -> str:
    """Return PromQL: what that share of the observations of a histogram does not exceed."""
    rate = f"rate({one(f'{metric}_bucket', *matchers)}[{window}])"
    return f"histogram_quantile({share}, sum by ({', '.join(filter(None, (by, 'le')))}) ({rate}))"
