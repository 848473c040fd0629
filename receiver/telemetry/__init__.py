"""What the service tells machines of itself: metrics for Prometheus, lines for a log."""

from receiver.telemetry.logs import (
    LONGEST,
    LONGEST_LINE,
    REDACTED,
    Format,
    Level,
    LibraryLog,
    Redaction,
    configure_logs,
)
from receiver.telemetry.metrics import METRICS, PREFIX, Metrics

__all__ = [
    "LONGEST",
    "LONGEST_LINE",
    "METRICS",
    "PREFIX",
    "REDACTED",
    "Format",
    "Level",
    "LibraryLog",
    "Metrics",
    "Redaction",
    "configure_logs",
]
