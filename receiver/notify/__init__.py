"""Out to people and programs: each sink says a story in its way, over one transport of our own.

`sink` is what they have in common and what each declares that it can do; `sinks` keeps them all,
their pace and how they are; `answers` says what an answer means.
"""

from receiver.notify.longtail import LongTail
from receiver.notify.mail import Email, Tls
from receiver.notify.pagerduty import PAGERDUTY, PagerDuty
from receiver.notify.secret import Secret
from receiver.notify.sink import Capabilities, Sink
from receiver.notify.sinks import Sinks
from receiver.notify.slack import SLACK, SlackBot, SlackWebhook
from receiver.notify.transport import Network, Transport
from receiver.notify.webhook import Webhook

__all__ = [
    "PAGERDUTY",
    "SLACK",
    "Capabilities",
    "Email",
    "LongTail",
    "Network",
    "PagerDuty",
    "Secret",
    "Sink",
    "Sinks",
    "SlackBot",
    "SlackWebhook",
    "Tls",
    "Transport",
    "Webhook",
]
