"""The edge to Prometheus: what the expression of an alert says right now, asked over its HTTP API.

`answers` reads what the API said, `api` asks; `receiver.promql` takes the expression apart.
"""

from receiver.prometheus.answers import Naming
from receiver.prometheus.api import PrometheusApi

__all__ = ["Naming", "PrometheusApi"]
