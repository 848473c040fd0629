"""Reviews that answer from tables, and note what they are asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from receiver.controller.ports import Act, Identity

AUDIENCE = "rollback-receiver"
ALICE = Identity(username="system:serviceaccount:shop:alice", groups=("system:serviceaccounts",))


@dataclass(slots=True)
class FakeReviews:
    """Implements `Reviews`. While `gate` is there and not set, nothing is answered."""

    tokens: dict[str, Identity] = field(default_factory=lambda: {"a.l.ice": ALICE})
    may: Callable[[Identity, Act], bool] = lambda _, __: True
    error: Exception | None = None
    gate: asyncio.Event | None = None
    asked: list[str | Act] = field(default_factory=list)

    async def identify(self, token: str, audience: str) -> Identity | None:
        await self._answer(token)
        return self.tokens.get(token) if audience == AUDIENCE else None

    async def permits(self, identity: Identity, act: Act) -> bool:
        await self._answer(act)
        return self.may(identity, act)

    async def _answer(self, question: str | Act) -> None:
        self.asked.append(question)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
