"""Out to people: Slack and PagerDuty over one transport of our own, which sends once."""

from receiver.notify.secret import Secret
from receiver.notify.settings import PAGERDUTY, Kind, SinkSettings
from receiver.notify.sinks import Observe, Sinks

__all__ = ["PAGERDUTY", "Kind", "Observe", "Secret", "SinkSettings", "Sinks"]
