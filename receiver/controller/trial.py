"""A test message through the real sinks, and what each of them answers."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from receiver.clock import Clock
from receiver.controller.ports import Delivery, Heard, Outbox, Receipt
from receiver.journal import subject_of
from receiver.messages import TEST, Story
from receiver.reasons import Reason, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one sink answered, and how many seconds that took.

    `closed`: a pager also took the end of what the test opened there; None: there is none.
    """

    sink: str
    receipt: Receipt
    seconds: float
    closed: bool | None = None

    @property
    def well(self) -> bool:
        """Return whether a message would get through, and nothing of the test is left open."""
        return self.receipt.delivery is Delivery.DELIVERED and self.closed is not False


async def try_sinks(
    outbox: Outbox, clock: Clock, sinks: Iterable[str], *, cluster: str, id_: str
) -> tuple[Tried, ...]:
    """Send each of these sinks a message that says it is a test; all side by side, none again."""
    now = clock.now()
    story = Story(
        subject=subject_of("test", id_),
        state=TEST,
        reason=Reason.NOTIFY_ONLY,
        severity=Severity.INFO,
        cluster=cluster,
        namespace="",
        deployment="",
        at=now,
        started_at=now,
    )

    async def one(sink: str) -> Tried:
        await outbox.turn(sink)
        began = clock.monotonic()
        receipt = await outbox.deliver(sink, story)
        seconds = clock.monotonic() - began
        closed = None
        if outbox.pages(sink) and receipt.delivery in (Delivery.DELIVERED, Delivery.AMBIGUOUS):
            await outbox.turn(sink)
            over = replace(story, state="resolved", reason=Reason.RESOLVED)
            heard = Heard(state=TEST, mark=receipt.mark, doubt=now)
            closed = (await outbox.deliver(sink, over, heard)).delivery is Delivery.DELIVERED
        return Tried(sink=sink, receipt=receipt, seconds=seconds, closed=closed)

    return tuple(await asyncio.gather(*map(one, sinks)))
