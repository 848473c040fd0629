"""The sinks of the configuration: which there are, what each says, how fast, how each is."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from receiver.clock import Clock
from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Heard, Receipt
from receiver.messages import RESOLVING, Story
from receiver.notify.pace import Pace
from receiver.notify.sink import Sink
from receiver.notify.transport import Transport

# A 429 that does not say how long.
PAUSE = 15.0

_TOO_EARLY = frozenset({"settling", "applying"})
# Under way, not an outcome: said twice, it would only be noise. An outcome is owed again when
# something about it is new, its reason for example, and is told.
_UNDER_WAY = frozenset({"following", "verifying", "firing"})


class Sinks:
    """Implements `receiver.controller.ports.Outbox`.

    `routes` are names of sinks by severity, and `default`. `observe` hears of every delivery: the
    sink, what came of it, and how many seconds it took.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        routes: Mapping[str, tuple[str, ...]],
        clock: Clock,
        *,
        transport: Transport,
        fallbacks: tuple[str, ...] = (),
        observe: Callable[[str, Receipt, float], None] | None = None,
    ) -> None:
        self._sinks = dict(sinks)
        self._routes = dict(routes)
        self._fallbacks = fallbacks
        self._clock = clock
        self._observe = observe
        self._transport = transport
        self._paces = {
            name: Pace(sink.pacing.burst, sink.pacing.seconds) for name, sink in sinks.items()
        }
        self._queues = {name: asyncio.Lock() for name in self._sinks}
        self._last: dict[str, Delivery] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all sinks, in the order of the configuration."""
        return tuple(self._sinks)

    def routes(self, severity: str) -> tuple[str, ...]:
        """Return the names of the sinks that a severity goes to, `default` for unknown ones."""
        return self._routes.get(severity, self._routes.get("default", ()))

    def pages(self, sink: str) -> bool:
        """Return whether this sink wakes people."""
        known = self._sinks.get(sink)
        return known is not None and known.capabilities.pages

    def fallbacks(self) -> tuple[str, ...]:
        """Return the sinks of a critical notice that no sink which pages has taken in time."""
        return self._fallbacks

    def speaks_of(self, sink: str, story: Story, heard: Heard) -> bool:
        """Return whether a sink has anything to say about a story, after what it has heard.

        One that the configuration no longer has would: what it is owed is given up, not forgotten.
        """
        known = self._sinks.get(sink)
        if story.state in _TOO_EARLY:
            return False
        if story.state == heard.state and heard.state in _UNDER_WAY and not story.instead_of:
            return False
        if known is None:
            return True
        if known.capabilities.resolves and story.state in RESOLVING:
            # A trigger of unknown fate may have opened an alert, which nobody else would close.
            opened = bool(heard.state) and heard.state not in RESOLVING
            return opened or heard.doubt is not None
        return known.speaks_of(story)

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
        known = self._sinks.get(sink)
        if known is None:
            return Receipt(
                delivery=Delivery.REJECTED, detail="there is no such sink", failure=Failure.OWN
            )
        if heard.state in RESOLVING and story.state not in RESOLVING:
            # What was over begins anew: with a message of its own, for nobody looks at the old one.
            heard = replace(heard, mark="")
        began = self._clock.monotonic()
        receipt = await known.send(story, heard)
        ended = self._clock.monotonic()
        if receipt.delivery is Delivery.RATE_LIMITED:
            seconds = PAUSE if receipt.retry_after is None else receipt.retry_after
            self._paces[sink].pause(ended + seconds)
            receipt = replace(receipt, retry_after=seconds)
        self._last[sink] = receipt.delivery
        if self._observe is not None:
            self._observe(sink, receipt, ended - began)
        return receipt

    def status(self, sink: str) -> str:
        """Return `ok`, `unauthorized`, `unreachable`, or `unknown`: how the last delivery ended."""
        last = self._last.get(sink)
        return "unknown" if last is None else _STATUS[last]

    def each(self) -> dict[str, str]:
        """Return one word for each sink: `available`, `unreachable` or `unauthorized`.

        A sink that has sent nothing yet is `available` when its secrets can be read.
        """
        words = {}
        for name, sink in self._sinks.items():
            word = self.status(name)
            if word == "unknown":
                word = "ok" if sink.ready() else "unauthorized"
            words[name] = "available" if word == "ok" else word
        return words

    def health(self) -> dict[str, str]:
        """Return one word for `slack`, `pagerduty` and each other family: that of its worst sink.

        What is not there is not shown, except for these two: they are `not_configured`.
        """
        words = {"slack": "not_configured", "pagerduty": "not_configured"}
        for name, word in self.each().items():
            family = self._sinks[name].family
            words[family] = max(words.get(family, "not_configured"), word, key=_WORSE.index)
        return words

    async def close(self) -> None:
        """Close the connections."""
        for sink in self._sinks.values():
            await sink.close()
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
