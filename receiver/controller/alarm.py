"""When nothing can be written down: the pager is called from memory, and told when it is over.

All else is told from the journals. What cannot get into one, for the API is away or refuses us,
would be told nobody.

Nor can it be written down who was called. To a pager it is one alert of the whole installation,
so any replica can close it: one that starts does, as soon as it knows that all is well and no
other replica calls just now. Of one that lives and does not reach the API server nobody knows
that it calls: its alert may be closed, and its next call opens it again.
"""

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime

from receiver.alerts import text
from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard
from receiver.controller.setup import Setup
from receiver.journal import subject_of
from receiver.messages import FAILING, RESOLVING, WORKS_AGAIN, Story
from receiver.reasons import Reason, Severity

# Seconds without a durable decision until people are called; between two calls; and after which
# what nobody asks for any more is forgotten (Alertmanager comes again within `group_interval`).
CALLED_AFTER, CALLED_EVERY, FORGOTTEN_AFTER = 60.0, 300.0, 1800.0
MOST = 1000
# Seconds that the API server may be away as long as no alert waits for it: it may be renewed.
AWAY_AFTER = 300.0
# What has to have been well once before a process may say that all is.
PROVEN_BY = frozenset({"beat", "ledger", "rights"})
# Seconds that a sink has for one call, its turn included.
ANSWERED_WITHIN = 30.0
_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stuck:
    """Something undecided: since when (both clocks), last asked for when, and what it is.

    People are called `after` so many seconds.
    """

    since: float
    after: float
    began: datetime
    asked_at: float
    what: str
    why: str


class Alarm:
    """Knows what is stuck, and calls."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._stuck: OrderedDict[str, _Stuck] = OrderedDict()
        self._called_at: float | None = None
        self._over_at = 0.0
        self._calling: asyncio.Task[None] | None = None
        # What each sink has heard of what is not over.
        self._heard: dict[str, Heard] = {}
        self._unproven = set(PROVEN_BY)
        self._well_since: float | None = None

    @property
    def calls(self) -> bool:
        """Return whether people were called for something that is stuck here still."""
        return self._called_at is not None and bool(self._stuck)

    @property
    def left_open(self) -> bool:
        """Return whether a pager may show as open what nobody has told it the end of."""
        pages = self._setup.outbox.pages
        return self._called_at is not None or any(pages(sink) for sink in self._heard)

    def inherit(self) -> None:
        """Take note that another process may have called, and ended before that was over.

        Pagers alone are told of the end: whatever the others show calls nobody any more.
        """
        outbox, clock = self._setup.outbox, self._setup.clock
        # What was stuck there may come to us, and stick again: Alertmanager has time to send it.
        self._over_at = clock.monotonic()
        for sink in filter(outbox.pages, outbox.names()):
            self._heard.setdefault(sink, Heard(doubt=clock.now()))

    def stuck(self, key: str, what: str, why: str, *, after: float = CALLED_AFTER) -> None:
        """Take note that something cannot be decided, or written down, right now."""
        now = self._setup.clock.monotonic()
        known = self._stuck.get(key)
        self._stuck[key] = _Stuck(
            since=known.since if known else now,
            began=known.began if known else self._setup.clock.now(),
            after=after,
            asked_at=now,
            what=what,
            why=why,
        )
        while len(self._stuck) > MOST:
            self._stuck.popitem()  # the newest: the oldest is what is called about

    def settled(self, key: str) -> None:
        """Take note that it is written down after all."""
        self._stuck.pop(key, None)
        self._unproven.discard(key)

    async def check(self, *, elsewhere: bool) -> None:
        """Call when it is time, or say that it is over. Never waits for a sink.

        `elsewhere`: another replica calls just now. As long as it does, it is not over.
        """
        now = self._setup.clock.monotonic()
        for key, item in list(self._stuck.items()):
            if now - item.asked_at > FORGOTTEN_AFTER:
                del self._stuck[key]
        if self._calling is not None and not self._calling.done():
            return
        late = [item for item in self._stuck.values() if now - item.since >= item.after]
        due = self._called_at is None or now - self._called_at >= CALLED_EVERY
        well = self._well(now, elsewhere=elsewhere)
        if late and due:
            self._called_at = now
            self._calling = asyncio.create_task(self._call(self._failing(late)), name="alarm")
        elif well and self._called_at is not None:
            self._called_at, self._over_at = None, now
            self._calling = asyncio.create_task(self._call(self._over()), name="alarm")
        elif well and self._heard and now - self._over_at >= CALLED_EVERY:
            # Nobody else would close what they have open.
            self._over_at = now
            self._calling = asyncio.create_task(self._say_over(tuple(self._heard)), name="alarm")

    def _well(self, now: float, *, elsewhere: bool) -> bool:
        """Return whether all is well, and was for so long that who is not has said so."""
        if self._stuck or self._unproven or elsewhere:
            self._well_since = None
            return False
        if self._well_since is None:
            self._well_since = now
        return now - self._well_since >= 2 * self._setup.timing.beat

    async def close(self) -> None:
        """Stop calling."""
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.gather(self._calling, return_exceptions=True)

    async def _call(self, story: Story) -> None:
        """Tell everybody, and the fallback sinks as soon as a pager has not taken it."""
        outbox = self._setup.outbox
        routed = outbox.routes(Severity.CRITICAL)
        over = story.state in RESOLVING
        # What another process may have opened is no reason to open anything there.
        known = (sink for sink, heard in self._heard.items() if over or heard.state)
        sinks = tuple(dict.fromkeys((*routed, *known)))
        taken = await asyncio.gather(*(self._tell(sink, story) for sink in sinks))
        missed = tuple(
            sink
            for sink, took in zip(sinks, taken, strict=True)
            if not took and sink in routed and outbox.pages(sink)
        )
        if missed and not over:
            instead = replace(story, instead_of=missed)
            others = [sink for sink in outbox.fallbacks() if sink not in missed]
            await asyncio.gather(*(self._tell(sink, instead) for sink in others))

    async def _say_over(self, sinks: tuple[str, ...]) -> None:
        """Tell those that it is over who heard that it was not, and have not taken its end."""
        await asyncio.gather(*(self._tell(sink, self._over()) for sink in sinks))

    async def _tell(self, sink: str, story: Story) -> bool:
        """Tell one sink; return whether it took it. Each call is news, but its end is of the last.

        Nothing is tried again here: the next call is, and the end until it is taken.
        """
        setup = self._setup
        over = story.state in RESOLVING
        heard = self._heard.get(sink, NOTHING_HEARD) if over else NOTHING_HEARD
        at, receipt = setup.clock.now(), None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWERED_WITHIN):
                await setup.outbox.turn(sink)
                receipt = await setup.outbox.deliver(sink, story, heard)
        delivery = Delivery.AMBIGUOUS if receipt is None else receipt.delivery
        log = setup.log.bind(sink=sink, state=story.state, delivery=delivery.value)
        if receipt is None or delivery is not Delivery.DELIVERED:
            log.error("alarm_not_delivered", detail="" if receipt is None else receipt.detail)
            if delivery is Delivery.AMBIGUOUS and not over:
                known = self._heard.get(sink, NOTHING_HEARD)
                self._heard[sink] = replace(known, doubt=known.doubt or at)
            if delivery in (Delivery.REJECTED, Delivery.GONE) and over:
                self._heard.pop(sink, None)
            return False
        log.info("alarm_delivered")
        self._heard.pop(sink, None)
        if not over:
            self._heard[sink] = Heard(state=story.state, mark=receipt.mark)
        return True

    def _failing(self, late: list[_Stuck]) -> Story:
        names = ", ".join(dict.fromkeys(item.what for item in late[:_NAMED]))
        more = f" and {len(late) - _NAMED} more" if len(late) > _NAMED else ""
        detail = f"{names}{more}: {late[-1].why}"
        return self._story(FAILING, began=min(i.began for i in late), detail=text(detail, 1000))

    def _over(self) -> Story:
        return self._story(WORKS_AGAIN, began=self._setup.clock.now(), detail="")

    def _story(self, state: str, *, began: datetime, detail: str) -> Story:
        setup = self._setup
        # The same for every replica: to a pager it is one alert, whoever calls.
        return Story(
            subject=subject_of("dir", setup.installation),
            state=state,
            reason=Reason.STATE_UNREADABLE,
            severity=Severity.CRITICAL,
            cluster=setup.cluster_name,
            site=setup.site,
            namespace="",
            deployment="",
            at=setup.clock.now(),
            started_at=began,
            detail=detail,
        )
