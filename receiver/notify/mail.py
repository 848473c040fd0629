"""E-mail over SMTP: the way that needs neither Slack nor PagerDuty.

One connection for each message, with a deadline for the whole of it. The password goes over TLS
only. What an answer means: RFC 5321, 4.2.1 (4yz: not now, 5yz: never) and RFC 3463; until the
server has the whole of the message it has none of it.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from typing import ClassVar

import aiosmtplib

from receiver import messages
from receiver.clock import Clock
from receiver.controller.ports import Delivery, Failure, Heard, Receipt
from receiver.messages import Story
from receiver.notify.secret import Secret
from receiver.notify.sink import NO_SECRET, Capabilities, Pacing, of_news
from receiver.notify.transport import Network

# Seconds: for each answer, and for the whole of it. Relays take their time with strangers.
ANSWER, TOTAL = 10.0, 30.0

# What every server takes: lines as they go over the wire, and nothing but ASCII in them.
_POLICY = policy.SMTP.clone(cte_type="7bit")
# 530 authentication required, 534 too weak, 535 wrong, 538 not without TLS (RFC 4954).
_UNAUTHORIZED = frozenset({530, 534, 535, 538})


class Tls(StrEnum):
    """How the connection is kept private: an upgrade of it, TLS from the start, or not at all."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class _Step(StrEnum):
    """How far a delivery has come: what has failed there is told by it."""

    CONNECT = "connect"
    TLS = "TLS"
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENTS = "recipients"
    DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """A mailbox or several, by way of one server. Without `username` there is no login."""

    host: str
    port: int
    tls: Tls
    sender: str
    to: tuple[str, ...]
    clock: Clock
    network: Network
    username: str = ""
    password: Secret | None = field(default=None)
    local_name: str = "localhost"

    family: ClassVar[str] = "email"
    capabilities: ClassVar[Capabilities] = Capabilities(threads=True)
    pacing: ClassVar[Pacing] = Pacing(burst=5, seconds=2.0)

    def speaks_of(self, story: Story) -> bool:
        """Return whether it says anything of a story."""
        del story
        return True

    def ready(self) -> bool:
        """Return whether its password can be read, if there is one."""
        return self.password is None or bool(self.password.read())

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Send it once. The mark is the `Message-ID` of the first one about a subject."""
        password = self.password.read() if self.password is not None else ""
        if self.password is not None and not password:
            return NO_SECRET
        message = self._message(story, heard)
        first = heard.mark or str(message["Message-ID"])
        return await _Delivery(email=self, password=password, message=message, mark=first).run()

    def _message(self, story: Story, heard: Heard) -> EmailMessage:
        said = messages.email(story)
        domain = self.sender.rpartition("@")[2]
        message = EmailMessage(policy=_POLICY)
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Subject"] = " ".join(_text(said.subject).split())
        message["Date"] = format_datetime(self.clock.now())
        # The same when it is sent twice: mail programs and servers show it once.
        message["Message-ID"] = f"<{of_news(story)}@{domain}>"
        if heard.mark:
            message["In-Reply-To"] = message["References"] = heard.mark
        # RFC 3834: no out-of-office notes, please.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(_text(said.text))
        return message

    async def close(self) -> None:
        """There is nothing that goes on."""


def _text(said: str) -> str:
    """Return text without lone surrogates, which have no encoding."""
    return said.encode("utf-8", "replace").decode()


class _Delivery:
    """One message on its way to the server."""

    def __init__(self, *, email: Email, password: str, message: EmailMessage, mark: str) -> None:
        self._email = email
        self._password = password
        self._message = message
        self._mark = mark
        self._step = _Step.CONNECT

    async def run(self) -> Receipt:
        """Return what came of it."""
        client: aiosmtplib.SMTP | None = None
        try:
            client = self._client()
            async with asyncio.timeout(TOTAL):
                refused = await self._exchange(client)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold what is secret
            return self._failed(error)
        finally:
            if client is not None:
                await _leave(client)
        some = f", {refused} of {len(self._email.to)} recipients refused" if refused else ""
        return Receipt(
            delivery=Delivery.DELIVERED,
            detail=f"250 from {self._email.host}{some}",
            mark=self._mark,
        )

    def _client(self) -> aiosmtplib.SMTP:
        email = self._email
        self._step = _Step.TLS
        context = None if email.tls is Tls.NONE else email.network.tls()
        self._step = _Step.CONNECT
        return aiosmtplib.SMTP(
            hostname=email.host,
            port=email.port,
            local_hostname=email.local_name,
            timeout=ANSWER,
            use_tls=email.tls is Tls.TLS,
            start_tls=False,
            tls_context=context,
        )

    async def _exchange(self, client: aiosmtplib.SMTP) -> int:
        """Hand the message over; return how many of the recipients were refused."""
        email = self._email
        await client.connect()
        if email.tls is Tls.STARTTLS:
            self._step = _Step.TLS
            await client.starttls()
        if email.username:
            self._step = _Step.LOGIN
            await client.login(email.username, self._password)
        self._step = _Step.SENDER
        await client.mail(email.sender)
        self._step = _Step.RECIPIENTS
        refused = await _name(client, email.to)
        self._step = _Step.DATA
        await client.data(self._message.as_bytes())
        return refused

    def _failed(self, error: Exception) -> Receipt:
        delivery, said, failure = _meaning(self._step, error)
        return Receipt(
            delivery=delivery,
            detail=f"{said} at {self._step} of {self._email.host}",
            failure=failure,
        )


async def _name(client: aiosmtplib.SMTP, recipients: Iterable[str]) -> int:
    """Name the recipients; raise the first refusal when all are refused, else count them."""
    refusals: list[aiosmtplib.SMTPRecipientRefused] = []
    accepted = 0
    for recipient in recipients:
        try:
            await client.rcpt(recipient)
            accepted += 1
        except aiosmtplib.SMTPRecipientRefused as refusal:
            refusals.append(refusal)
    if refusals and not accepted:
        # One that may be taken later keeps the message for all.
        raise min(refusals, key=lambda refusal: refusal.code)
    return len(refusals)


async def _leave(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1):
            if client.is_connected:
                await client.quit()
    client.close()


def _meaning(step: _Step, error: Exception) -> tuple[Delivery, str, Failure]:
    """Return what an error at a step means: whether the server can have the message."""
    name = type(error).__name__
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _of_code(step, error.code)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Delivery.NOT_SENT, name, Failure.TLS
    if step is _Step.DATA:
        slow = isinstance(error, TimeoutError)
        return Delivery.AMBIGUOUS, name, Failure.TIMEOUT if slow else Failure.BROKEN
    if isinstance(error, TimeoutError):
        return Delivery.NOT_SENT, name, Failure.TIMEOUT
    if isinstance(error, OSError):
        broken = isinstance(error, aiosmtplib.SMTPServerDisconnected)
        return Delivery.NOT_SENT, name, Failure.BROKEN if broken else Failure.CONNECT
    if step in (_Step.TLS, _Step.LOGIN):
        # Not offered: neither the password nor the message goes any further.
        failure = Failure.TLS if step is _Step.TLS else Failure.REFUSED
        return Delivery.UNAUTHORIZED, "not offered", failure
    return Delivery.NOT_SENT, name, Failure.ODD


def _of_code(step: _Step, code: int) -> tuple[Delivery, str, Failure]:
    """Return what a refusal means. It is one of this message only when the message was shown."""
    if 400 <= code < 500:  # noqa: PLR2004 - not now
        return Delivery.NOT_SENT, str(code), Failure.SERVER
    if not 500 <= code < 600:  # noqa: PLR2004 - never; the rest is no refusal at all
        odd = Delivery.AMBIGUOUS if step is _Step.DATA else Delivery.NOT_SENT
        return odd, "an odd answer", Failure.ODD
    refusals = {_Step.RECIPIENTS: Delivery.GONE, _Step.DATA: Delivery.REJECTED}
    if code in _UNAUTHORIZED:
        return Delivery.UNAUTHORIZED, str(code), Failure.REFUSED
    return refusals.get(step, Delivery.UNAUTHORIZED), str(code), Failure.REFUSED
