"""The sinks as the controller uses them."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Outbox, Receipt
from receiver.messages import pagerduty, slack
from receiver.notify import Secret, Sinks, SlackWebhook, Transport
from tests.messages.limits import slack_faults
from tests.messages.stories import story
from tests.notify.sites import CANARY, KEY, TAKEN, Site, post, talking, until_taken
from tests.virtual import LoopClock, virtual


def an_outbox(sinks: Sinks) -> Outbox:
    """Let mypy hold the port against what implements it."""
    return sinks


# --- what is sent


@virtual
async def test_slack_gets_the_whole_message(tmp_path: Path) -> None:
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        receipt = await an_outbox(mail.sinks).deliver("chat", story())
    assert receipt == Receipt(delivery=Delivery.DELIVERED, detail="200 from 127.0.0.1")
    assert site.requests == [("POST", f"/services/{CANARY}")]
    assert site.bodies == [slack(story())]


@virtual
async def test_pagerduty_gets_the_event_with_its_key_in_the_body(tmp_path: Path) -> None:
    async with Site(usual=TAKEN).serve() as site, post(tmp_path, site.url) as mail:
        for state in ("rollout_failed", "recovered"):
            assert (
                await mail.sinks.deliver("pager", story(state=state))
            ).delivery is Delivery.DELIVERED
    assert site.requests == [("POST", "/v2/enqueue")] * 2
    expected = [pagerduty(story(state=state)) for state in ("rollout_failed", "recovered")]
    assert site.bodies == [{"routing_key": KEY, **(event or {})} for event in expected]


@virtual
async def test_a_refused_message_is_sent_once_more_as_plain_text(tmp_path: Path) -> None:
    site = Site(answers=[(400, "invalid_blocks", {})])
    async with site.serve(), post(tmp_path, site.url) as mail:
        receipt = await mail.sinks.deliver("chat", story())
    assert receipt.delivery is Delivery.DELIVERED
    assert ["blocks" in body for body in site.bodies] == [True, False]
    assert slack_faults(site.bodies[1]) == []


@virtual
async def test_a_message_refused_twice_is_refused(tmp_path: Path) -> None:
    site = Site(usual=(400, "invalid_payload"))
    async with site.serve(), post(tmp_path, site.url) as mail:
        receipt = await mail.sinks.deliver("chat", story())
        assert mail.observed == [("chat", Delivery.REJECTED)]
        assert mail.sinks.status("chat") == "ok"
    assert receipt.delivery is Delivery.REJECTED
    assert receipt.detail == "400 invalid_payload from 127.0.0.1"
    assert len(site.bodies) == 2


@virtual
async def test_a_refused_event_is_sent_once_more_without_its_details(tmp_path: Path) -> None:
    site = Site(usual=TAKEN, answers=[(413, "", {})])
    async with site.serve(), post(tmp_path, site.url) as mail:
        receipt = await mail.sinks.deliver("pager", story())
    assert receipt.delivery is Delivery.DELIVERED
    first, second = site.bodies
    assert "custom_details" in first["payload"]
    assert "custom_details" not in second["payload"]
    assert first["dedup_key"] == second["dedup_key"]
    assert second["routing_key"] == KEY


@pytest.mark.parametrize("answer", [(403, "action_prohibited"), (404, "no_service"), (500, "")])
@virtual
async def test_nothing_else_is_sent_twice(answer: tuple[int, str], tmp_path: Path) -> None:
    async with Site(usual=answer).serve() as site, post(tmp_path, site.url) as mail:
        await mail.sinks.deliver("chat", story())
    assert len(site.bodies) == 1


@virtual
async def test_an_unknown_sink_takes_nothing(tmp_path: Path) -> None:
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        receipt = await mail.sinks.deliver("nobody", story())
        assert receipt == Receipt(
            delivery=Delivery.REJECTED, detail="there is no such sink", failure=Failure.OWN
        )
        # It would have something to say: what is owed to it is given up, and not forgotten.
        assert mail.sinks.speaks_of("nobody", story(), NOTHING_HEARD)
        assert mail.sinks.status("nobody") == "unknown"
        assert mail.observed == []


@virtual
async def test_what_is_no_page_is_not_sent(tmp_path: Path) -> None:
    async with Site(usual=TAKEN).serve() as site, post(tmp_path, site.url) as mail:
        receipt = await mail.sinks.deliver("pager", story(state="shadow"))
    assert receipt.delivery is Delivery.REJECTED
    assert site.bodies == []


# --- secrets


@virtual
async def test_a_rotated_secret_is_used_for_the_next_message(tmp_path: Path) -> None:
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        await mail.sinks.deliver("chat", story())
        mail.slack_file.write_text(f"{site.url}/services/new\n")
        await mail.sinks.deliver("chat", story())
        site.usual = TAKEN
        await mail.sinks.deliver("pager", story())
        mail.key_file.write_text("1" * 32)
        await mail.sinks.deliver("pager", story())
    assert [path for _, path in site.requests][:2] == [f"/services/{CANARY}", "/services/new"]
    assert [body["routing_key"] for body in site.bodies[2:]] == [KEY, "1" * 32]


@virtual
async def test_a_missing_secret_is_for_a_person_to_mend(tmp_path: Path) -> None:
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        mail.slack_file.unlink()
        receipt = await mail.sinks.deliver("chat", story())
        assert receipt == Receipt(
            delivery=Delivery.UNAUTHORIZED,
            detail="the secret is missing, empty or not usable",
            failure=Failure.SECRET,
        )
        assert mail.sinks.status("chat") == "unauthorized"
        mail.slack_file.write_text(f"{site.url}/x")
        assert (await mail.sinks.deliver("chat", story())).delivery is Delivery.DELIVERED
        assert mail.sinks.status("chat") == "ok"


@virtual
async def test_a_secret_is_not_sent_in_clear_to_another_machine(tmp_path: Path) -> None:
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        mail.slack_file.write_text(f"http://192.0.2.1/services/{CANARY}")
        receipt = await mail.sinks.deliver("chat", story())
    assert receipt == Receipt(
        delivery=Delivery.UNAUTHORIZED,
        detail="the secret is no valid https URL",
        failure=Failure.SECRET,
    )


def test_no_secret_is_seen_whatever_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[Any] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    @virtual
    async def tell() -> None:
        statuses = (200, 202, 302, 400, 403, 404, 429, 500)
        site = Site(answers=[(status, CANARY + KEY, {}) for status in statuses for _ in range(2)])
        async with site.serve(), talking(hang_up) as rude:
            for url in (*[site.url] * 8, rude, f"http://{CANARY}.example", f"http://[{CANARY}"):
                async with post(tmp_path, site.url) as mail:
                    mail.slack_file.write_text(f"{url}/services/{CANARY}")
                    seen.append(await mail.sinks.deliver("chat", story()))
                    seen.append(await mail.sinks.deliver("pager", story()))
                    seen.append((mail.sinks, mail.sinks.__dict__, mail.sinks.health()))

    tell()
    assert len(seen) == 33
    for text in (repr(seen), caplog.text):
        assert CANARY not in text
        assert KEY not in text


# --- pace


@virtual
async def test_slack_is_spoken_to_in_bursts_of_five_and_then_once_a_second(tmp_path: Path) -> None:
    clock = LoopClock()
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        began, ends = clock.monotonic(), []
        for _ in range(8):
            await until_taken(mail, "chat", story())
            ends.append(clock.monotonic() - began)
    assert ends == pytest.approx([0, 0, 0, 0, 0, 1, 2, 3], abs=0.1)
    assert len(mail.observed) == len(site.bodies) == 8


@virtual
async def test_pagerduty_gets_at_most_a_hundred_events_a_minute(tmp_path: Path) -> None:
    clock = LoopClock()
    async with Site(usual=TAKEN).serve() as site, post(tmp_path, site.url) as mail:
        began = clock.monotonic()
        while clock.monotonic() - began < 180:
            await until_taken(mail, "pager", story())
        minutes = (clock.monotonic() - began) / 60
    assert len(site.bodies) <= 20 + 100 * minutes
    assert len(site.bodies) >= 100 * minutes - 1


@virtual
async def test_who_waits_for_a_sink_is_served_in_the_order_of_coming(tmp_path: Path) -> None:
    clock, ends = LoopClock(), []
    async with Site().serve() as site, post(tmp_path, site.url) as mail:

        async def one(number: int) -> None:
            waited = await mail.sinks.turn("chat")
            ends.append((number, waited, round(clock.monotonic() - began)))

        began = clock.monotonic()
        await asyncio.gather(*map(one, range(8)))
    assert ends == [
        *((number, False, 0) for number in range(5)),
        (5, True, 1),
        (6, True, 2),
        (7, True, 3),
    ]


@virtual
async def test_one_sink_does_not_wait_for_the_pace_of_another(tmp_path: Path) -> None:
    clock = LoopClock()
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        for _ in range(5):
            await mail.sinks.turn("chat")
        waiting = asyncio.create_task(mail.sinks.turn("chat"))
        await asyncio.sleep(0.1)
        began = clock.monotonic()
        assert not await mail.sinks.turn("pager")
        assert clock.monotonic() == began
        assert await waiting


@virtual
async def test_a_turn_of_no_sink_takes_no_wait(tmp_path: Path) -> None:
    async with Site().serve() as site, post(tmp_path, site.url) as mail:
        assert not await mail.sinks.turn("nobody")


@virtual
async def test_after_a_429_nothing_is_sent_until_it_is_over(tmp_path: Path) -> None:
    clock = LoopClock()
    site = Site(answers=[(429, "", {"Retry-After": "30"})])
    async with site.serve(), post(tmp_path, site.url) as mail:
        began = clock.monotonic()
        first = await mail.sinks.deliver("chat", story())
        assert (first.delivery, first.retry_after) == (Delivery.RATE_LIMITED, 30.0)
        await asyncio.sleep(10)
        site.usual = TAKEN
        await mail.sinks.turn("pager")
        assert (await mail.sinks.deliver("pager", story())).delivery is Delivery.DELIVERED
        site.usual = (200, "ok")
        assert await mail.sinks.turn("chat")
        assert clock.monotonic() - began == pytest.approx(30, abs=0.1)
        assert (await mail.sinks.deliver("chat", story())).delivery is Delivery.DELIVERED
        assert mail.sinks.status("chat") == "ok"
    assert mail.observed == [
        ("chat", Delivery.RATE_LIMITED),
        ("pager", Delivery.DELIVERED),
        ("chat", Delivery.DELIVERED),
    ]


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, "", 15.0),
        ({"Retry-After": "junk"}, "", 15.0),
        ({"Retry-After": "0"}, "", 0.0),
        ({"Retry-After": "1e9"}, "", 600.0),
        ({"Retry-After": "Mon, 23 Nov 2026 01:00:40 GMT"}, "", 40.0),
        ({}, '{"ok":false,"error":"rate_limited","retry_after":7}', 7.0),
    ],
)
@virtual
async def test_a_429_says_how_long_or_there_is_a_usual_wait(
    headers: dict[str, str], body: str, seconds: float, tmp_path: Path
) -> None:
    site = Site(answers=[(429, body, headers)])
    async with site.serve(), post(tmp_path, site.url) as mail:
        receipt = await mail.sinks.deliver("chat", story())
    assert receipt.retry_after == pytest.approx(seconds, abs=0.1)


# --- how we are


@pytest.mark.parametrize(
    ("answer", "status", "health"),
    [
        ((200, "ok"), "ok", "available"),
        ((429, ""), "ok", "available"),
        ((400, "no_text"), "ok", "available"),
        ((403, "invalid_token"), "unauthorized", "unauthorized"),
        ((404, "no_service"), "unauthorized", "unauthorized"),
        ((500, ""), "unreachable", "unreachable"),
        ((302, ""), "unreachable", "unreachable"),
    ],
)
@virtual
async def test_the_last_delivery_says_how_a_sink_is(
    answer: tuple[int, str], status: str, health: str, tmp_path: Path
) -> None:
    async with Site(usual=answer).serve() as site, post(tmp_path, site.url) as mail:
        assert mail.sinks.status("chat") == "unknown"
        await mail.sinks.deliver("chat", story())
        assert mail.sinks.status("chat") == status
        assert mail.sinks.health() == {"slack": health, "pagerduty": "available"}
        assert mail.sinks.each() == {"chat": health, "pager": "available"}


@virtual
async def test_of_several_sinks_the_worst_is_shown(tmp_path: Path) -> None:
    async with Site(answers=[(500, "", {})]).serve() as site:
        file = tmp_path / "url"
        file.write_text(f"{site.url}/x")
        secret = Secret(file=str(file))
        names = ("one", "two", "three")
        transport = Transport(LoopClock())
        chats = {name: SlackWebhook(url=secret, transport=transport) for name in names}
        sinks = Sinks(chats, {}, LoopClock(), transport=transport)
        for name in names:
            await sinks.deliver(name, story())
        assert sinks.health() == {"slack": "unreachable", "pagerduty": "not_configured"}
        assert sinks.each() == {"one": "unreachable", "two": "available", "three": "available"}
        await sinks.close()


@virtual
async def test_a_sink_whose_secret_is_missing_is_shown_before_it_is_needed(tmp_path: Path) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        mail.key_file.unlink()
        assert mail.sinks.health() == {"slack": "available", "pagerduty": "unauthorized"}


@virtual
async def test_what_was_sent_is_observed_with_the_time_it_took(tmp_path: Path) -> None:
    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with talking(hold) as url, post(tmp_path, url) as mail:
        await mail.sinks.deliver("chat", story())
        assert mail.observed == [("chat", Delivery.DELIVERED)]
        [(sink, delivery, seconds)] = mail.timed
        assert (sink, delivery) == ("chat", Delivery.DELIVERED)
        assert seconds == pytest.approx(3, abs=0.2)


@virtual
async def test_a_sink_that_is_down_does_not_delay_another(tmp_path: Path) -> None:
    clock = LoopClock()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)
        writer.close()

    async with (
        Site(usual=TAKEN).serve() as site,
        talking(hold) as black_hole,
        post(tmp_path, site.url) as mail,
    ):
        mail.slack_file.write_text(f"{black_hole}/x")
        began = clock.monotonic()
        slow = asyncio.ensure_future(mail.sinks.deliver("chat", story()))
        receipt = await mail.sinks.deliver("pager", story())
        assert receipt.delivery is Delivery.DELIVERED
        assert clock.monotonic() - began < 0.5
        assert (await slow).delivery is Delivery.AMBIGUOUS
