"""E-mail over a real SMTP server on loopback."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import messages
from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Heard, Receipt
from receiver.notify import Email, Network, Sink, Tls, Transport
from tests.messages.stories import story
from tests.notify.post_office import PASSWORD, USER, PostOffice
from tests.notify.sites import CANARY, HOST, alone, listening, secret
from tests.virtual import LoopClock, virtual

CA = str(Path(__file__).with_name("ca.pem"))
TO = ("on-call@example.com", "lead@example.com")
D, F = Delivery, Failure


def email(folder: Path, port: int, **more: Any) -> Callable[[Transport], Sink]:
    fields: dict[str, Any] = {
        "host": HOST,
        "port": port,
        "tls": Tls.STARTTLS,
        "sender": "rollback-receiver@example.com",
        "to": TO,
        "clock": LoopClock(),
        "network": Network(ca_file=CA),
        "username": USER,
        "password": secret(folder, f"{PASSWORD}\n", "password"),
    } | more
    return lambda _: Email(**fields)


async def send(folder: Path, port: int, **more: Any) -> tuple[Receipt, float]:
    clock = LoopClock()
    async with alone(email(folder, port, **more)) as it:
        began = clock.monotonic()
        receipt = await it.deliver("it", story())
    return receipt, clock.monotonic() - began


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
@virtual
async def test_a_story_is_mailed_over_tls_to_everybody(tls: Tls, tmp_path: Path) -> None:
    async with PostOffice().serve(implicit=tls is Tls.TLS) as office:
        receipt, _ = await send(tmp_path, office.port, tls=tls)
    [message] = office.taken
    assert receipt == Receipt(
        delivery=D.DELIVERED, detail=f"250 from {HOST}", mark=message["Message-ID"]
    )
    said = messages.email(story())
    assert message["Subject"] == said.subject
    assert message.get_content().split() == said.text.split()
    assert (message["From"], message["To"]) == (
        "rollback-receiver@example.com",
        "on-call@example.com, lead@example.com",
    )
    assert message["Date"] == "Mon, 23 Nov 2026 01:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert office.recipients == [list(TO)]
    assert office.logins == [(USER, PASSWORD)]
    assert PASSWORD not in message.as_string()


@virtual
async def test_what_is_sent_twice_is_one_mail_and_later_ones_hang_below_the_first(
    tmp_path: Path,
) -> None:
    async with PostOffice().serve() as office, alone(email(tmp_path, office.port)) as it:
        first = await it.deliver("it", story(state="following"))
        await it.deliver("it", story(state="following"))
        known = Heard(state="following", mark=first.mark)
        second = await it.deliver("it", story(), known)
        again = replace(story(state="firing"), subject="alert-1")
        await it.deliver("it", again, Heard(state="resolved", mark=first.mark))
    one, twice, below, anew = office.taken
    assert one["Message-ID"] == twice["Message-ID"] == first.mark == second.mark
    assert one["References"] is None
    assert below["Message-ID"] not in (None, one["Message-ID"])
    assert (below["In-Reply-To"], below["References"]) == (first.mark, first.mark)
    assert anew["References"] is None


@virtual
async def test_odd_text_becomes_an_ordinary_mail(tmp_path: Path) -> None:
    odd = replace(story(), namespace="shop\ud800\r\nBcc: evil@example.com", detail=".\r\n.\r\nQUIT")
    async with PostOffice().serve() as office, alone(email(tmp_path, office.port)) as it:
        receipt = await it.deliver("it", odd)
    assert receipt.delivery is D.DELIVERED
    [message] = office.taken
    assert message["Bcc"] is None
    assert office.recipients == [list(TO)]


# At which step what is said -> what it means.
ANSWERS = [
    ("MAIL", "421 4.3.2 going down", D.NOT_SENT, F.SERVER),
    ("MAIL", "451 4.3.0 later", D.NOT_SENT, F.SERVER),
    ("MAIL", "530 5.7.0 who are you", D.UNAUTHORIZED, F.REFUSED),
    ("MAIL", "550 5.7.1 not from there", D.UNAUTHORIZED, F.REFUSED),
    ("MAIL", "553 5.1.8 not from there", D.UNAUTHORIZED, F.REFUSED),
    ("RCPT", "450 4.2.0 greylisted", D.NOT_SENT, F.SERVER),
    ("RCPT", "452 4.5.3 full", D.NOT_SENT, F.SERVER),
    ("RCPT", "550 5.1.1 nobody", D.GONE, F.REFUSED),
    ("RCPT", "553 5.1.3 nobody", D.GONE, F.REFUSED),
    ("RCPT", "530 5.7.0 who are you", D.UNAUTHORIZED, F.REFUSED),
    ("DATA", "421 4.3.2 going down", D.NOT_SENT, F.SERVER),
    ("DATA", "451 4.3.0 later", D.NOT_SENT, F.SERVER),
    ("DATA", "452 4.3.1 full", D.NOT_SENT, F.SERVER),
    ("DATA", "552 5.3.4 too large", D.REJECTED, F.REFUSED),
    ("DATA", "554 5.7.1 this is spam", D.REJECTED, F.REFUSED),
    ("DATA", "251 moved", D.AMBIGUOUS, F.ODD),
]


@pytest.mark.parametrize(("step", "said", "delivery", "failure"), ANSWERS)
@virtual
async def test_each_answer_has_its_meaning(
    step: str, said: str, delivery: Delivery, failure: Failure, tmp_path: Path
) -> None:
    async with PostOffice(says={step: said}).serve() as office:
        receipt, _ = await send(tmp_path, office.port)
    assert (receipt.delivery, receipt.failure) == (delivery, failure), receipt
    assert office.taken == []
    # What the server says is not passed on: only its code.
    assert said[4:] not in receipt.detail


@virtual
async def test_one_recipient_is_enough(tmp_path: Path) -> None:
    async with PostOffice(refused={TO[0]}).serve() as office:
        receipt, _ = await send(tmp_path, office.port)
    assert receipt.delivery is D.DELIVERED
    assert receipt.detail == f"250 from {HOST}, 1 of 2 recipients refused"
    assert office.recipients == [[TO[1]]]


@virtual
async def test_a_wrong_password_is_for_a_person_to_mend(tmp_path: Path) -> None:
    wrong = secret(tmp_path, f"{CANARY}-wrong", "wrong")
    async with PostOffice().serve() as office:
        receipt, _ = await send(tmp_path, office.port, password=wrong)
    assert receipt == Receipt(
        delivery=D.UNAUTHORIZED, detail=f"535 at login of {HOST}", failure=F.REFUSED
    )
    assert office.taken == []


@virtual
async def test_a_rotated_password_is_used_for_the_next_mail(tmp_path: Path) -> None:
    password = secret(tmp_path, "old", "password")
    async with (
        PostOffice().serve() as office,
        alone(email(tmp_path, office.port, password=password)) as it,
    ):
        secret(tmp_path, "", "password")
        assert (await it.deliver("it", story())).failure is F.SECRET
        secret(tmp_path, "old", "password")
        assert (await it.deliver("it", story())).delivery is D.UNAUTHORIZED
        secret(tmp_path, PASSWORD, "password")
        assert (await it.deliver("it", story())).delivery is D.DELIVERED


@virtual
async def test_without_starttls_neither_password_nor_story_is_sent(tmp_path: Path) -> None:
    async with PostOffice().serve(starttls=False) as office:
        receipt, _ = await send(tmp_path, office.port)
    assert receipt == Receipt(
        delivery=D.UNAUTHORIZED, detail=f"not offered at TLS of {HOST}", failure=F.TLS
    )
    assert (office.logins, office.taken) == ([], [])


@virtual
async def test_without_login_offered_the_story_is_not_sent(tmp_path: Path) -> None:
    async with PostOffice().serve(login=False) as office:
        receipt, _ = await send(tmp_path, office.port)
    assert (receipt.delivery, receipt.failure) == (D.UNAUTHORIZED, F.REFUSED)
    assert office.taken == []


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
@virtual
async def test_an_untrusted_certificate_is_sent_nothing(tls: Tls, tmp_path: Path) -> None:
    async with PostOffice().serve(implicit=tls is Tls.TLS) as office:
        receipt, _ = await send(tmp_path, office.port, tls=tls, network=Network())
    assert (receipt.delivery, receipt.failure) == (D.NOT_SENT, F.TLS)
    assert (office.logins, office.taken) == ([], [])


@virtual
async def test_on_this_machine_it_goes_without_tls_and_login_when_told_so(tmp_path: Path) -> None:
    async with PostOffice().serve(starttls=False) as office:
        receipt, _ = await send(tmp_path, office.port, tls=Tls.NONE, username="", password=None)
    assert receipt.delivery is D.DELIVERED
    assert office.private == [False]


@pytest.mark.parametrize(
    ("step", "delivery"),
    [("MAIL", D.NOT_SENT), ("RCPT", D.NOT_SENT), ("DATA", D.AMBIGUOUS)],
)
@virtual
async def test_a_server_that_falls_silent_or_ends_has_the_mail_only_after_its_data(
    step: str, delivery: Delivery, tmp_path: Path
) -> None:
    async with PostOffice(hangs=step).serve() as office:
        silent, took = await send(tmp_path, office.port)
    assert (silent.delivery, silent.failure) == (delivery, F.TIMEOUT)
    assert took == pytest.approx(10, abs=1.5)
    async with PostOffice(ends=step).serve() as office:
        ended, _ = await send(tmp_path, office.port)
    assert (ended.delivery, ended.failure) == (delivery, F.BROKEN)


@virtual
async def test_a_server_that_takes_its_time_with_everything_is_left(tmp_path: Path) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while await reader.readline():
            await asyncio.sleep(9)
            writer.write(b"250 well\r\n")
            await writer.drain()

    async with listening(drip) as port:
        receipt, took = await send(
            tmp_path, port, tls=Tls.NONE, username="", password=None, to=TO * 5
        )
    assert (receipt.delivery, receipt.failure) == (D.NOT_SENT, F.TIMEOUT)
    assert took == pytest.approx(30, abs=2)


@virtual
async def test_who_is_not_there_or_no_mail_server_was_sent_nothing(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    absent, _ = await send(tmp_path, port)
    assert (absent.delivery, absent.failure) == (D.NOT_SENT, F.CONNECT)

    async def other(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        await writer.drain()
        await asyncio.sleep(60)

    async with listening(other) as port:
        odd, _ = await send(tmp_path, port)
    assert odd.delivery is D.NOT_SENT


def test_no_password_is_seen_whatever_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []

    @virtual
    async def tell() -> None:
        for says in ({"MAIL": f"550 {PASSWORD}"}, {"DATA": f"451 {PASSWORD}"}, {}):
            async with PostOffice(says=says).serve() as office:
                seen.append(await send(tmp_path, office.port))
                wrong = secret(tmp_path, f"{CANARY}2", "wrong")
                seen.append(await send(tmp_path, office.port, password=wrong))
                async with alone(email(tmp_path, office.port)) as it:
                    seen.append((await it.deliver("it", story(), NOTHING_HEARD), it.__dict__))

    tell()
    assert CANARY in PASSWORD
    ours = [each.getMessage() for each in caplog.records if each.name != "mail.log"]
    assert CANARY not in repr(seen) + repr(ours)
