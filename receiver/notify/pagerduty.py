"""PagerDuty, the Events API v2 (https://developer.pagerduty.com/docs/events-api-v2-overview)."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import ClassVar

from receiver import messages
from receiver.controller.ports import Delivery, Heard, Receipt
from receiver.messages import Story
from receiver.notify import answers
from receiver.notify.secret import Secret
from receiver.notify.sink import (
    NO_SECRET,
    NOTHING_TO_SAY,
    Capabilities,
    Pacing,
    whole_or_plain,
)
from receiver.notify.transport import Reply, Transport, in_json

# That of the EU: https://events.eu.pagerduty.com
PAGERDUTY = "https://events.pagerduty.com"
# The mark of a subject whose change was told.
CHANGE_TOLD = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty:
    """One service, by its routing key: what is wrong opens an alert, what ends well resolves it.

    A rollback is also told as a change event, which pages nobody and stands on the timeline of the
    service: once for each subject, after the page, in the background; nothing waits for it.

    Nothing is ever acknowledged. That stops the escalation, and only somebody who is awake and has
    seen it may do so: we could die right after it, and with us the only one who knew.
    """

    routing_key: Secret
    transport: Transport
    endpoint: str = PAGERDUTY
    _changes: set[asyncio.Task[Reply]] = field(default_factory=set, init=False, repr=False)

    family: ClassVar[str] = "pagerduty"
    capabilities: ClassVar[Capabilities] = Capabilities(resolves=True, pages=True)
    # About 120 events a minute and routing key, of which we take 100.
    pacing: ClassVar[Pacing] = Pacing(burst=20, seconds=0.6)

    def speaks_of(self, story: Story) -> bool:
        """Return whether there is anything to page for, or to resolve."""
        return messages.pagerduty_plain(story) is not None

    def ready(self) -> bool:
        """Return whether its key can be read."""
        return bool(self.routing_key.read())

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Send the event once."""
        key = self.routing_key.read()
        if not key:
            return NO_SECRET

        async def enqueue(*, plain: bool) -> Reply:
            event = messages.pagerduty_plain(story) if plain else messages.pagerduty(story)
            if event is None:
                return Reply(receipt=NOTHING_TO_SAY)
            body = {"routing_key": key} | event
            return await self.transport.send(in_json(self._url("enqueue"), body), answers.pagerduty)

        receipt = (await whole_or_plain(enqueue)).receipt
        if receipt.delivery is Delivery.DELIVERED and heard.mark != CHANGE_TOLD:
            return replace(receipt, mark=self._tell_change(key, story))
        return receipt

    def _tell_change(self, key: str, story: Story) -> str:
        """Begin to tell what was changed; return the mark that says so, "" for nothing to tell."""
        event = messages.change_event(story)
        # The key of an event orchestration takes no changes.
        if event is None or key.startswith("R"):
            return ""
        request = in_json(self._url("change/enqueue"), {"routing_key": key} | event)
        task = asyncio.create_task(self.transport.send(request, answers.pagerduty), name="change")
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return CHANGE_TOLD

    def _url(self, path: str) -> str:
        return f"{self.endpoint.rstrip('/')}/v2/{path}"

    async def close(self) -> None:
        """Give up the changes that are on their way."""
        for task in self._changes:
            task.cancel()
        await asyncio.gather(*self._changes, return_exceptions=True)
