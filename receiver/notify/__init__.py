"""Out to people: Slack and PagerDuty over one transport of our own, which sends once."""

from receiver.notify.secret import Secret
from receiver.notify.sink import PAGERDUTY, Kind, Sink
from receiver.notify.sinks import Sinks

__all__ = ["PAGERDUTY", "Kind", "Secret", "Sink", "Sinks"]
