"""What to say to whom: stories told as Slack and PagerDuty requests. Values in, values out.

Order of a message: what happened, is it well now, what to do; then where, what, why, how to look.
Everything that came from an alert, an object or a person is untrusted: see `text`.
The same story always makes the same bytes.
"""

from receiver.messages.blocks import slack, slack_plain
from receiver.messages.events import pagerduty, pagerduty_plain
from receiver.messages.headlines import (
    FAILING,
    HEADLINES,
    HEARD_AGAIN,
    MASS_ALERT,
    MASS_ALERT_OVER,
    RESOLVING,
    SILENT,
    WORKS_AGAIN,
    Headline,
    headline,
)
from receiver.messages.story import AlertLine, RevisionLine, Story

__all__ = [
    "FAILING",
    "HEADLINES",
    "HEARD_AGAIN",
    "MASS_ALERT",
    "MASS_ALERT_OVER",
    "RESOLVING",
    "SILENT",
    "WORKS_AGAIN",
    "AlertLine",
    "Headline",
    "RevisionLine",
    "Story",
    "headline",
    "pagerduty",
    "pagerduty_plain",
    "slack",
    "slack_plain",
]
