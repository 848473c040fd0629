"""A signed webhook: the story as JSON for other programs.

Who receives it checks the signature over the raw body with the secret both know, refuses old
timestamps, and takes the same `Idempotency-Key` only once:

    X-Rollback-Receiver-Timestamp: 1790000000
    X-Rollback-Receiver-Signature: v1=<hex>[,v1=<hex>]   one for each secret, while they rotate
    Idempotency-Key: <id>

where hex = HMAC-SHA256(secret, "<id>.<timestamp>.<body>").
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import ClassVar

from receiver import messages
from receiver.clock import Clock
from receiver.controller.ports import Heard, Receipt
from receiver.messages import Story
from receiver.notify import answers
from receiver.notify.secret import Secret
from receiver.notify.sink import NO_SECRET, Capabilities, Pacing, of_news
from receiver.notify.transport import Transport, in_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Somebody's own endpoint. `secret` may hold several lines: each signs."""

    url: Secret
    secret: Secret
    transport: Transport
    clock: Clock

    family: ClassVar[str] = "webhook"
    capabilities: ClassVar[Capabilities] = Capabilities()
    pacing: ClassVar[Pacing] = Pacing(burst=10, seconds=0.2)

    def speaks_of(self, story: Story) -> bool:
        """Return whether it says anything of a story."""
        del story
        return True

    def ready(self) -> bool:
        """Return whether its URL and its secret can be read."""
        return bool(self.url.read() and self.secret.lines())

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Post it once. What was posted before and may have been taken has the same key."""
        del heard
        url, secrets = self.url.read(), self.secret.lines()
        if not url or not secrets:
            return NO_SECRET
        key, timestamp = of_news(story), str(int(self.clock.now().timestamp()))
        request = in_json(url, messages.webhook(story))
        signed = {
            "Idempotency-Key": key,
            "X-Rollback-Receiver-Timestamp": timestamp,
            "X-Rollback-Receiver-Signature": signature(secrets, key, timestamp, request.body),
        }
        request = replace(request, headers=dict(request.headers) | signed)
        return (await self.transport.send(request, answers.webhook)).receipt

    async def close(self) -> None:
        """There is nothing that goes on."""


def signature(secrets: Iterable[str], key: str, timestamp: str, body: bytes) -> str:
    """Return the value of the header: one signature for each secret."""
    said = f"{key}.{timestamp}.".encode() + body
    return ",".join(f"v1={hmac.new(s.encode(), said, sha256).hexdigest()}" for s in secrets)
