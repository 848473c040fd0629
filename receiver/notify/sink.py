"""What a sink is: one end of ours, at which people or programs hear of something."""

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Protocol

from receiver.controller.ports import Delivery, Failure, Heard, Receipt
from receiver.messages import PATIENT, Story
from receiver.notify.transport import Reply

NO_SECRET = Receipt(
    delivery=Delivery.UNAUTHORIZED,
    detail="the secret is missing, empty or not usable",
    failure=Failure.SECRET,
)
NOTHING_TO_SAY = Receipt(
    delivery=Delivery.REJECTED, detail="it has nothing to say of this", failure=Failure.OWN
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a kind of sink can do. Whoever wants to know asks for this, and never for the kind.

    `updates`: what it said before it can change, so that one message stands for one subject.
    `threads`: what it says later is shown below what it said first. `resolves`: it keeps something
    open until it is told that all is well, and there is nothing to close where nothing was opened.
    `pages`: it wakes people.
    """

    updates: bool = False
    threads: bool = False
    resolves: bool = False
    pages: bool = False

    @property
    def remembers(self) -> bool:
        """Return whether a message depends on where the one before it is."""
        return self.updates or self.threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How fast it may be spoken to: `burst` at once, then one every `seconds`."""

    burst: int
    seconds: float


class Sink(Protocol):
    """One sink of the configuration.

    `family` is the word that `/health` has for its kind.
    """

    family: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    pacing: ClassVar[Pacing]

    def speaks_of(self, story: Story) -> bool:
        """Return whether it says anything of a story, whatever it has heard before."""
        ...

    def ready(self) -> bool:
        """Return whether its secrets can be read."""
        ...

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Say it once. Raises nothing for what the other side does."""
        ...

    async def close(self) -> None:
        """Stop what still goes on."""
        ...


class Say(Protocol):
    """Sends a message, the whole or a plain one, and returns what came of it."""

    def __call__(self, *, plain: bool) -> Awaitable[Reply]: ...


async def whole_or_plain(say: Say) -> Reply:
    """Send the whole message; what is refused for what it says, once more as a plain one."""
    reply = await say(plain=False)
    return await say(plain=True) if reply.receipt.delivery is Delivery.REJECTED else reply


def is_word(secret: str) -> bool:
    """Return whether a secret can stand in a header: printable ASCII without a blank."""
    return re.fullmatch(r"[!-~]+", secret) is not None


def digest(*parts: str) -> str:
    """Return 32 hex digits that stand for these parts and for no others."""
    line = "\n".join(f"{len(part)}:{part}" for part in ("v1", *parts))
    return sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def of_subject(story: Story) -> str:
    """Return an id of what a story is about: the same for all that is told until it is over.

    An alert that fires again has the subject of the last time and another beginning.
    """
    return digest(story.subject, story.started_at.isoformat())


def of_news(story: Story) -> str:
    """Return an id of what a story says: the same when it is told twice, another when it is new."""
    # A release may come into such a state once more, for the same reason: that is new.
    when = (story.at.isoformat(),) if story.state in PATIENT else ()
    return digest(of_subject(story), story.state, story.reason.value, *when, *story.instead_of)
