"""An SMTP server on loopback, the real protocol, which refuses what it is told to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.notify.sites import HOST

HERE = Path(__file__).parent
USER, PASSWORD = "receiver", "pw-T0CANARYB0SECRETX"


@dataclass(slots=True)
class PostOffice:
    """What was taken. `says` is the answer at a step instead of the usual one: MAIL, RCPT, DATA.

    `hangs` is a step at which nothing more is said, `ends` one at which the connection is closed.
    """

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    private: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    says: dict[str, str] = field(default_factory=dict)
    hangs: str = ""
    ends: str = ""
    refused: set[str] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serve(
        self, *, starttls: bool = True, implicit: bool = False, login: bool = True
    ) -> AsyncIterator["PostOffice"]:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(HERE / "trusted.pem")
        open_ones: list[SMTP] = []

        def make() -> SMTP:
            office = SMTP(
                self,
                hostname="smtp.example.com",
                loop=loop,
                tls_context=context if starttls and not implicit else None,
                authenticator=self._authenticate if login else None,
                auth_require_tls=not implicit and starttls,
            )
            open_ones.append(office)
            return office

        server = await loop.create_server(make, HOST, 0, ssl=context if implicit else None)
        try:
            self.port = server.sockets[0].getsockname()[1]
            yield self
        finally:
            server.close()
            for office in open_ones:
                if office.transport is not None:
                    office.transport.close()
            await asyncio.sleep(0.1)

    # What aiosmtpd calls, by its names.

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1] == (USER, PASSWORD), handled=False)

    async def _step(self, server: SMTP, step: str) -> str | None:
        if self.hangs == step:
            await asyncio.sleep(3600)
        if self.ends == step:
            assert server.transport is not None
            server.transport.close()
        return self.says.get(step)

    async def handle_MAIL(  # noqa: N802 - so aiosmtpd calls it
        self,
        server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        envelope.mail_from = address
        return await self._step(server, "MAIL") or "250 OK"

    async def handle_RCPT(  # noqa: N802 - so aiosmtpd calls it
        self,
        server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        said = await self._step(server, "RCPT")
        if said or address in self.refused:
            return said or "550 5.1.1 there is nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - so aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        said = await self._step(server, "DATA")
        if said:
            return said
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.taken.append(message)
        self.recipients.append(list(envelope.rcpt_tos))
        self.private.append(session.ssl is not None)
        return "250 OK"
