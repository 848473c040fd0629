"""The edge to Prometheus: what the expression of an alert says right now, asked over its HTTP API.

`expression` takes a PromQL comparison apart, `answers` reads what the API said, `api` asks.
"""

from receiver.prometheus.answers import Naming
from receiver.prometheus.api import PrometheusApi

__all__ = ["Naming", "PrometheusApi"]
