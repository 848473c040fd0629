"""The sinks of the configuration: which there are, what each says, how fast, how each is."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from receiver import messages
from receiver.clock import Clock
from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard, Receipt
from receiver.messages import RESOLVING, Story
from receiver.notify import answers
from receiver.notify.pace import Pace
from receiver.notify.sink import Kind, Sink
from receiver.notify.transport import Transport

# Burst, and seconds for each further message. Slack: about one a second and channel, short bursts
# tolerated (https://docs.slack.dev/apis/web-api/rate-limits). PagerDuty: about 120 events a minute
# and routing key, of which we take 100.
PACES: Mapping[Kind, tuple[int, float]] = MappingProxyType(
    {Kind.SLACK: (5, 1.0), Kind.PAGERDUTY: (20, 0.6)}
)
# A 429 that does not say how long.
PAUSE = 15.0
# Subjects remembered whose trigger may have reached the pager.
DOUBTS = 1000

_TOO_EARLY = frozenset({"settling", "applying"})
# Under way, not an outcome: said twice, it would only be noise. An outcome is owed again when
# something about it is new, its reason for example, and is told.
_UNDER_WAY = frozenset({"following", "verifying", "firing"})


class Sinks:
    """Implements `receiver.controller.ports.Outbox`.

    `routes` are names of sinks by severity, and `default`. `observe` hears of every message that
    was sent: the sink, and what came of it; `observe_seconds` also how long that took.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        routes: Mapping[str, tuple[str, ...]],
        clock: Clock,
        observe: Callable[[str, Delivery], None] | None = None,
        *,
        observe_seconds: Callable[[str, Delivery, float], None] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._sinks = dict(sinks)
        self._routes = dict(routes)
        self._clock = clock
        self._observe = observe
        self._observe_seconds = observe_seconds
        self._transport = transport or Transport(clock)
        self._paces = {name: Pace(*PACES[sink.kind]) for name, sink in self._sinks.items()}
        self._queues = {name: asyncio.Lock() for name in self._sinks}
        self._last: dict[str, Delivery] = {}
        self._doubts: OrderedDict[tuple[str, str], None] = OrderedDict()

    def routes(self, severity: str) -> tuple[str, ...]:
        """Return the names of the sinks that a severity goes to, `default` for unknown ones."""
        return self._routes.get(severity, self._routes.get("default", ()))

    def speaks_of(self, sink: str, story: Story, heard: Heard) -> bool:
        """Return whether a sink has anything to say about a story, after what it has heard."""
        known = self._sinks.get(sink)
        if known is None or story.state in _TOO_EARLY:
            return False
        if story.state == heard.state and heard.state in _UNDER_WAY:
            return False
        if known.kind is Kind.SLACK:
            return True
        if story.state in RESOLVING:
            # A trigger of unknown fate may have opened an alert, which nobody else would close.
            opened = bool(heard.state) and heard.state not in RESOLVING
            return opened or heard.doubt is not None or (sink, story.subject) in self._doubts
        return messages.pagerduty(story) is not None

    async def turn(self, sink: str) -> bool:
        """Wait for the pace of a sink and for the pause of a 429; return whether it took a wait."""
        pace = self._paces.get(sink)
        if pace is None:
            return False
        began = self._clock.monotonic()
        # The lock is a queue: who waits for a token does not race for it with all the others.
        async with self._queues[sink]:
            while (wait := pace.take(self._clock.monotonic())) > 0:
                await self._clock.sleep(wait)
        return self._clock.monotonic() > began

    async def deliver(self, sink: str, story: Story, heard: Heard = NOTHING_HEARD) -> Receipt:
        """Send a story once; whoever calls has had its `turn`."""
        del heard
        known = self._sinks.get(sink)
        if known is None:
            return Receipt(delivery=Delivery.REJECTED, detail="there is no such sink")
        began = self._clock.monotonic()
        receipt = await self._send(known, story)
        ended = self._clock.monotonic()
        if receipt.delivery is Delivery.RATE_LIMITED:
            seconds = PAUSE if receipt.retry_after is None else receipt.retry_after
            self._paces[sink].pause(ended + seconds)
            receipt = Receipt(delivery=receipt.delivery, detail=receipt.detail, retry_after=seconds)
        self._last[sink] = receipt.delivery
        self._note(known, story, receipt.delivery)
        if self._observe is not None:
            self._observe(sink, receipt.delivery)
        if self._observe_seconds is not None:
            self._observe_seconds(sink, receipt.delivery, ended - began)
        return receipt

    async def _send(self, sink: Sink, story: Story) -> Receipt:
        """Send the whole message; what is refused for what it says, once more as a plain one."""
        secret = sink.secret.read()
        if not secret:
            return Receipt(delivery=Delivery.UNAUTHORIZED, detail="the secret is missing or empty")
        receipt = await self._post(sink, secret, story, plain=False)
        if receipt.delivery is Delivery.REJECTED:
            return await self._post(sink, secret, story, plain=True)
        return receipt

    async def _post(self, sink: Sink, secret: str, story: Story, *, plain: bool) -> Receipt:
        if sink.kind is Kind.SLACK:
            message = messages.slack_plain(story) if plain else messages.slack(story)
            return await self._transport.post(secret, message, answers.slack)
        event = messages.pagerduty_plain(story) if plain else messages.pagerduty(story)
        if event is None:
            return Receipt(delivery=Delivery.REJECTED, detail="nothing to page anybody for")
        url = sink.endpoint.rstrip("/") + "/v2/enqueue"
        return await self._transport.post(url, {"routing_key": secret} | event, answers.pagerduty)

    def _note(self, sink: Sink, story: Story, delivery: Delivery) -> None:
        """Remember whether an alert may be open at a pager that never said so."""
        if sink.kind is not Kind.PAGERDUTY:
            return
        key = (sink.name, story.subject)
        if delivery is Delivery.AMBIGUOUS and story.state not in RESOLVING:
            self._doubts[key] = None
            self._doubts.move_to_end(key)
            if len(self._doubts) > DOUBTS:
                self._doubts.popitem(last=False)
        elif delivery is Delivery.DELIVERED:
            self._doubts.pop(key, None)

    def status(self, sink: str) -> str:
        """Return `ok`, `unauthorized`, `unreachable`, or `unknown`: how the last delivery ended."""
        last = self._last.get(sink)
        return "unknown" if last is None else _STATUS[last]

    def health(self) -> dict[str, str]:
        """Return one word for `slack` and one for `pagerduty`: that of the worst of their sinks.

        A sink that has sent nothing yet is `available` when its secret can be read.
        """
        words = {"slack": "not_configured", "pagerduty": "not_configured"}
        for name, sink in self._sinks.items():
            kind = "slack" if sink.kind is Kind.SLACK else "pagerduty"
            word = self.status(name)
            if word == "unknown":
                word = "ok" if sink.secret.read() else "unauthorized"
            word = "available" if word == "ok" else word
            words[kind] = max(words[kind], word, key=_WORSE.index)
        return words

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()


# A refused message and a full one are answers of a sink that is well.
_STATUS: Mapping[Delivery, str] = MappingProxyType(
    {
        Delivery.DELIVERED: "ok",
        Delivery.RATE_LIMITED: "ok",
        Delivery.REJECTED: "ok",
        Delivery.NOT_SENT: "unreachable",
        Delivery.AMBIGUOUS: "unreachable",
        Delivery.UNAUTHORIZED: "unauthorized",
        Delivery.GONE: "unauthorized",
    }
)
_WORSE = ("not_configured", "available", "unreachable", "unauthorized")
