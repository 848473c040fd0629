"""What to say to whom: stories told as Slack and PagerDuty requests. Values in, values out.

Order of a message: what happened, is it well now, what to do; then where, what, why, how to look.
Everything that came from an alert, an object or a person is untrusted: see `text`.
The same story always makes the same bytes.
"""

from receiver.messages.blocks import slack, slack_plain, slack_reply
from receiver.messages.events import change_event, pagerduty, pagerduty_plain
from receiver.messages.headlines import (
    FAILING,
    HEADLINES,
    HEARD_AGAIN,
    MASS_ALERT,
    MASS_ALERT_OVER,
    NOT_EXPECTED,
    PATIENT,
    RESOLVING,
    SILENT,
    TEST,
    WORKS_AGAIN,
    Headline,
    headline,
)
from receiver.messages.plain import Email, Short, email, short
from receiver.messages.story import AlertLine, Contact, RevisionLine, Site, Story
from receiver.messages.webhook import webhook

__all__ = [
    "FAILING",
    "HEADLINES",
    "HEARD_AGAIN",
    "MASS_ALERT",
    "MASS_ALERT_OVER",
    "NOT_EXPECTED",
    "PATIENT",
    "RESOLVING",
    "SILENT",
    "TEST",
    "WORKS_AGAIN",
    "AlertLine",
    "Contact",
    "Email",
    "Headline",
    "RevisionLine",
    "Short",
    "Site",
    "Story",
    "change_event",
    "email",
    "headline",
    "pagerduty",
    "pagerduty_plain",
    "short",
    "slack",
    "slack_plain",
    "slack_reply",
    "webhook",
]
