"""Everything else, by way of Apprise (https://github.com/caronc/apprise): the extra `apprise`.

It blocks, says no more than yes or no, and may have sent what it says it has not. So it runs in a
thread with a deadline, is asked again at most once, and carries nothing critical.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from receiver import messages
from receiver.controller.ports import Delivery, Failure, Heard, Receipt
from receiver.messages import RESOLVING, Story
from receiver.notify.secret import Secret
from receiver.notify.sink import NO_SECRET, Capabilities, Pacing
from receiver.reasons import Severity

# What reaches people, over TLS only. Not those that reach files, programs or other machines of
# ours (`json`, `xml`, `form`, `syslog`, `dbus`, ...), nor those that have a kind of their own here.
_SCHEMAS = (
    "betterstack dingtalk discord feishu gchat goalerts gotifys guilded ilert incidentio lark line "
    "matrixs mmosts ntfys pagertree pover prowl rockets signals signl4 spike squadcast tgram "
    "threema twilio victorops webex wecombot workflow workflows wxteams zulip"
)
SCHEMAS = frozenset(_SCHEMAS.split())
# What a URL may not say: that certificates do not matter, or that it is sent again and again.
_PARAMETERS = frozenset({"verify", "retry", "wait"})
# Seconds. Its own deadline for each request is shorter.
DEADLINE = 20.0

_TYPES = MappingProxyType(
    {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}
)


def usable(url: str, schemas: frozenset[str] = SCHEMAS) -> bool:
    """Return whether a URL of Apprise is one that we send to."""
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        return False
    return parts.scheme.lower() in schemas and not _PARAMETERS & {key.lower() for key in asked}


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTail:
    """One service of Apprise, by its URL, which is a secret."""

    url: Secret
    schemas: frozenset[str] = SCHEMAS
    deadline: float = DEADLINE
    _busy: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    family: ClassVar[str] = "apprise"
    capabilities: ClassVar[Capabilities] = Capabilities()
    pacing: ClassVar[Pacing] = Pacing(burst=3, seconds=2.0)

    def speaks_of(self, story: Story) -> bool:
        """Return whether it says anything of a story."""
        del story
        return True

    def ready(self) -> bool:
        """Return whether its URL can be read, and is one that we send to."""
        return usable(self.url.read(), self.schemas)

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Send it once. What fails a second time is given up."""
        url = self.url.read()
        if not usable(url, self.schemas):
            return NO_SECRET
        if not self._busy.acquire(blocking=False):
            # It has not come back from the last one. Another thread would not either.
            return _failed(Delivery.NOT_SENT, "still busy with another message", Failure.TIMEOUT)
        said = messages.short(story)
        kind = "success" if story.state in RESOLVING else _TYPES[story.severity]
        try:
            async with asyncio.timeout(self.deadline):
                taken = await self._in_a_thread(
                    lambda: _notify(url, title=said.title, body=said.body, kind=kind)
                )
        except TimeoutError:
            return _given_up(heard, "no answer in time", Failure.TIMEOUT)
        if taken:
            return Receipt(delivery=Delivery.DELIVERED, detail="apprise says yes")
        return _given_up(heard, "apprise says no", Failure.REFUSED)

    async def _in_a_thread(self, work: Callable[[], bool]) -> bool:
        """Return what `work` returns. The thread does not keep the process from ending."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def tell(taken: bool) -> None:  # noqa: FBT001 - it is all that there is to tell
            if not answer.done():
                answer.set_result(taken)

        def run() -> None:
            try:
                taken = work()
            except Exception:  # noqa: BLE001 - whatever it is, its text may hold the URL
                taken = False
            self._busy.release()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell, taken)

        threading.Thread(target=run, name="apprise", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Leave a thread that is still busy to itself: nothing can stop it."""


def _notify(url: str, *, title: str, body: str, kind: str) -> bool:
    import apprise  # noqa: PLC0415 - an extra: only who uses it has it

    # Both would log what is secret: the URL, and the paths made of it.
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise()
    return bool(
        service.add(url)
        and service.notify(body=body, title=title, notify_type=kind, body_format="text")
    )


def _given_up(heard: Heard, detail: str, failure: Failure) -> Receipt:
    again = heard.doubt is None
    return _failed(Delivery.AMBIGUOUS if again else Delivery.REJECTED, detail, failure)


def _failed(delivery: Delivery, detail: str, failure: Failure) -> Receipt:
    return Receipt(delivery=delivery, detail=detail, failure=failure)
