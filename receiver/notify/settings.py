"""What a sink is told about itself."""

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
class SinkSettings:
    """One sink. `url` is the webhook of a Slack sink, `routing_key` that of a PagerDuty service.

    `endpoint` is where PagerDuty's Events API is: the EU has another one. Raises `ValueError` for
    a sink without its secret, and for an endpoint that is neither https nor on loopback.
    """

    name: str
    kind: Kind
    url: Secret | None = None
    routing_key: Secret | None = None
    endpoint: str = PAGERDUTY

    def __post_init__(self) -> None:
        """Check what can be checked without reading a secret."""
        object.__setattr__(self, "kind", Kind(self.kind))
        if self.kind is Kind.SLACK and self.url is None:
            raise ValueError(f"sink {self.name!r}: a Slack webhook needs its URL")
        if self.kind is Kind.PAGERDUTY and self.routing_key is None:
            raise ValueError(f"sink {self.name!r}: PagerDuty needs a routing key")
        if self.kind is Kind.PAGERDUTY and not acceptable(self.endpoint):
            raise ValueError(f"sink {self.name!r}: the endpoint must be https, or on loopback")

    def secret(self) -> str:
        """Return the one secret of this kind as it is now, "" when it is not there."""
        place = self.url if self.kind is Kind.SLACK else self.routing_key
        return "" if place is None else place.read()
