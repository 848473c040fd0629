"""Who shows a token of Kubernetes, and what the API server lets him do: asked, and kept a moment.

A token is kept as its digest alone. What cannot be asked lets nobody in: 503, for a 401 or 403
would say that the answer is known.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from receiver.clock import Clock
from receiver.controller.ports import Act, Identity, Reviews
from receiver.errors import Broken, Rejected, TryAgain, Unavailable
from receiver.web.tokens import Digests, Token, bearer, digest, holder

# Seconds that an answer is good for, counted from the question: a right that is taken away, or
# given, is noticed within it.
KEPT = 10.0
# Of each kind of question: answers kept, and questions under way. Whoever sends nonsense costs us a
# question for each, and must neither fill our memory nor bury the API server.
MOST, AT_ONCE = 1000, 64
LONGEST_TOKEN, LONGEST_NAME = 16 * 1024, 200
UNAVAILABLE = "auth_unavailable"

# A token that is made for an audience is a JWT. Any other stays with us, such as one of ours that
# was rotated away and is still shown somewhere.
_JWT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Somebody whose token was reviewed. `digest` is that of the token."""

    identity: Identity
    digest: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Return the username for people and for the record: one line, bounded."""
        plain = "".join(char for char in self.identity.username if char.isprintable())
        return plain[:LONGEST_NAME].strip() or "(no readable name)"


class Kept(Generic[T]):
    """Answers to questions, for `KEPT` seconds. The same question is not asked twice at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer that is kept, else ask. A failure is raised, and not kept."""
        found = self._answers.get(key)
        if found is not None and self._clock.monotonic() - found[0] < KEPT:
            self._answers.move_to_end(key)
            return found[1]
        asking = self._asking.get(key)
        if asking is None:
            if len(self._asking) >= AT_ONCE:
                raise Unavailable("too many questions at a time")
            asking = asyncio.create_task(self._ask(key, ask))
            self._asking[key] = asking
        # One who leaves does not take the answer away from the others.
        return await asyncio.shield(asking)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        asked_at = self._clock.monotonic()
        try:
            answer = await ask()
        finally:
            del self._asking[key]
        self._answers[key] = (asked_at, answer)
        self._answers.move_to_end(key)
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)
        return answer

    def __len__(self) -> int:
        return len(self._answers)


class Identities:
    """Asks `Reviews`. Raises `Rejected` (503, `auth_unavailable`) for what cannot be asked."""

    def __init__(self, reviews: Reviews, clock: Clock, *, ours: Iterable[str] = ()) -> None:
        """`ours`: the files of our own secrets, which are never shown to the API server."""
        self._reviews = reviews
        self._ours = tuple(Token(name=file, file=file) for file in ours)
        self._digests = Digests()
        self._identities: Kept[Identity | None] = Kept(clock)
        self._permits: Kept[bool] = Kept(clock)

    async def known(self, header: str, audience: str) -> Known | None:
        """Return who shows this `Authorization` header; None: nobody, or not for this audience."""
        token = bearer(header)
        if token is None or len(token) > LONGEST_TOKEN or not _JWT.fullmatch(token):
            return None
        given = digest(token)
        if holder(given, self._ours, self._digests) is not None:
            return None
        try:
            identity = await self._identities.get(
                (given, audience), lambda: self._reviews.identify(token.decode(), audience)
            )
        except (TryAgain, Broken) as error:
            raise _unavailable("who you are", error) from error
        return None if identity is None else Known(identity=identity, digest=given)

    async def permits(self, known: Known, act: Act) -> bool:
        """Return whether somebody may do this."""
        try:
            return await self._permits.get(
                (known.digest, act), lambda: self._reviews.permits(known.identity, act)
            )
        except (TryAgain, Broken) as error:
            raise _unavailable("what you may do", error) from error


def _unavailable(what: str, error: Exception) -> Rejected:
    text = f"{what} cannot be asked right now: {str(error)[:200]}"
    return Rejected(text, status=503, reason=UNAVAILABLE)
