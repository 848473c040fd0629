"""One sink of the configuration."""

from dataclasses import dataclass
from enum import StrEnum

from receiver.notify.secret import Secret
from receiver.notify.transport import acceptable

PAGERDUTY = "https://events.pagerduty.com"


class Kind(StrEnum):
    """What kinds of sinks there are."""

    SLACK = "slack-webhook"
    PAGERDUTY = "pagerduty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """One sink. `secret` is the URL of a Slack webhook, or the routing key of a PagerDuty service.

    `endpoint` is where PagerDuty's Events API is: the EU has another one. Raises `ValueError` for
    one that is neither https nor on loopback: the routing key would be sent there in clear.
    """

    name: str
    kind: Kind
    secret: Secret
    endpoint: str = PAGERDUTY

    def __post_init__(self) -> None:
        """Check what can be checked without reading the secret."""
        if not acceptable(self.endpoint):
            raise ValueError(f"sink {self.name!r}: the endpoint must be https, or on loopback")
