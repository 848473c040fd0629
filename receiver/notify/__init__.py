"""Out to people: Slack and PagerDuty over one transport of our own, which sends once."""

from receiver.notify.secret import Secret
from receiver.notify.sinks import Kind, Sink, Sinks

__all__ = ["Kind", "Secret", "Sink", "Sinks"]
