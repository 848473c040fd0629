"""The sinks of the configuration: which there are, what each says, how fast."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from receiver import messages
from receiver.clock import Clock
from receiver.controller.ports import Delivery, Receipt
from receiver.messages import GOOD, Story
from receiver.notify import transport
from receiver.notify.secret import Secret
from receiver.notify.transport import Transport
from receiver.reasons import Severity

PAGERDUTY = "https://events.pagerduty.com"


class Kind(StrEnum):
    """What kinds of sinks there are."""

    SLACK = "slack-webhook"
    PAGERDUTY = "pagerduty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """One sink. `secret` is the URL of a Slack webhook, or the routing key of PagerDuty."""

    name: str
    kind: Kind
    secret: Secret
    endpoint: str = PAGERDUTY


@dataclass(slots=True)
class _Pace:
    """A token bucket: `burst` at once, then one every `seconds`. It also holds a 429's pause."""

    burst: float
    seconds: float
    tokens: float = field(init=False)
    at: float = 0.0
    paused_until: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def wait(self, now: float) -> float:
        """Take a token and return 0, or return in how many seconds there is one."""
        if now < self.paused_until:
            return self.paused_until - now
        self.tokens = min(self.burst, self.tokens + (now - self.at) / self.seconds)
        self.at = now
        if self.tokens < 1:
            return (1 - self.tokens) * self.seconds
        self.tokens -= 1
        return 0.0


# Slack: about one message a second and channel. PagerDuty: 120 events a minute and key.
_PACES = {Kind.SLACK: (5.0, 1.0), Kind.PAGERDUTY: (20.0, 0.6)}
_TOO_EARLY = frozenset({"settling", "applying"})


class Sinks:
    """Implements `receiver.controller.ports.Outbox`."""

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        routes: Mapping[str, tuple[str, ...]],
        clock: Clock,
        observe: Callable[[str, Delivery], None],
    ) -> None:
        self._sinks = sinks
        self._routes = routes
        self._clock = clock
        self._observe = observe
        self._transport = Transport(clock)
        self._paces = {name: _Pace(*_PACES[sink.kind]) for name, sink in sinks.items()}
        self._last: dict[str, Delivery] = {}

    def routes(self, severity: str) -> tuple[str, ...]:
        """Return the sinks of a severity."""
        return self._routes.get(severity, self._routes.get("default", ()))

    def speaks_of(self, sink: str, story: Story, told: str | None) -> bool:
        """Return whether a sink has anything to say about a story."""
        known = self._sinks.get(sink)
        if known is None or story.state in _TOO_EARLY or story.state == told:
            return False
        if known.kind is Kind.SLACK:
            return True
        if story.state in GOOD:
            return told is not None and told not in GOOD
        return story.severity is not Severity.INFO

    async def deliver(self, sink: str, story: Story) -> Receipt:
        """Send a story once, unless the pace or a 429 of before says to wait."""
        known = self._sinks.get(sink)
        if known is None:
            return Receipt(delivery=Delivery.GONE, detail="there is no such sink any more")
        wait = self._paces[sink].wait(self._clock.monotonic())
        if wait > 0:
            return Receipt(delivery=Delivery.RATE_LIMITED, detail="paced", retry_after=wait)
        receipt = await self._send(known, story)
        if receipt.delivery is Delivery.RATE_LIMITED and receipt.retry_after is not None:
            until = self._clock.monotonic() + receipt.retry_after
            self._paces[sink].paused_until = until
        self._last[sink] = receipt.delivery
        self._observe(sink, receipt.delivery)
        return receipt

    async def _send(self, sink: Sink, story: Story) -> Receipt:
        secret = sink.secret.read()
        if not secret:
            return Receipt(delivery=Delivery.UNAUTHORIZED, detail="the secret is empty")
        if sink.kind is Kind.PAGERDUTY:
            url = sink.endpoint.rstrip("/") + "/v2/enqueue"
            event = messages.pagerduty(story) | {"routing_key": secret}
            return await self._transport.post(url, event, transport.pagerduty)
        receipt = await self._transport.post(secret, messages.slack(story), transport.slack)
        if receipt.delivery is Delivery.REJECTED:
            # Better a plain line than nothing: what is refused now is refused for ever.
            return await self._transport.post(secret, messages.plain(story), transport.slack)
        return receipt

    def health(self) -> dict[str, str]:
        """Return one word for each kind of sink, the worst of its sinks."""
        words: dict[str, str] = {}
        for name, sink in self._sinks.items():
            word = _WORDS[self._last[name]] if name in self._last else _unused(sink)
            kind = "slack" if sink.kind is Kind.SLACK else "pagerduty"
            if _RANK.index(word) > _RANK.index(words.get(kind, _RANK[0])):
                words[kind] = word
            words.setdefault(kind, word)
        return {kind: words.get(kind, "not_configured") for kind in ("slack", "pagerduty")}

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()


_RANK = ("available", "rate_limited", "rejecting", "unreachable", "unauthorized")
_WORDS = {
    Delivery.DELIVERED: "available",
    Delivery.RATE_LIMITED: "rate_limited",
    Delivery.REJECTED: "rejecting",
    Delivery.NOT_SENT: "unreachable",
    Delivery.AMBIGUOUS: "unreachable",
    Delivery.UNAUTHORIZED: "unauthorized",
    Delivery.GONE: "unauthorized",
}


def _unused(sink: Sink) -> str:
    return "available" if sink.secret.read() else "unauthorized"
