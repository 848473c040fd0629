"""The bot in its channel: one message for each subject, whatever gets lost on the way."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver import messages
from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Heard, Receipt
from receiver.messages import Story
from receiver.notify import Secret, Sink, Sinks, SlackBot, Transport
from receiver.notify.answers import RETIRED
from tests.messages.limits import slack_faults
from tests.messages.stories import story
from tests.notify.sites import CANARY, alone, secret
from tests.notify.workspace import CHANNEL, DROP, LOSE, TOKEN, Workspace
from tests.virtual import START, run, virtual

HERE = "<!here>"


def bot(place: Workspace, token: Secret, **more: Any) -> Callable[[Transport], Sink]:
    def make(transport: Transport) -> Sink:
        fields = {"name": "it", "channel": CHANNEL, "mention": HERE} | more
        return SlackBot(token=token, transport=transport, endpoint=f"{place.url}/api/", **fields)

    return make


def quiet() -> Story:
    """Return a story of which an update says enough."""
    told = story(state="verifying")
    assert messages.slack_reply(told) is None
    return told


def loud() -> Story:
    """Return a story that people must hear of although their message is only changed."""
    told = story(state="rollout_failed")
    assert messages.slack_reply(told) is not None
    return told


def heard(receipt: Receipt, told: Story) -> Heard:
    assert receipt.delivery is Delivery.DELIVERED, receipt
    return Heard(state=told.state, mark=receipt.mark)


@virtual
async def test_the_first_message_is_posted_with_ids_and_a_mark_comes_back(tmp_path: Path) -> None:
    async with (
        Workspace().serve() as place,
        alone(bot(place, secret(tmp_path, f" {TOKEN}\n"))) as it,
    ):
        receipt = await it.deliver("it", loud())
    [root] = place.messages
    assert receipt == Receipt(
        delivery=Delivery.DELIVERED, detail="200 from 127.0.0.1", mark=f"{CHANNEL}/{root['ts']}"
    )
    assert place.calls == ["chat.postMessage"]
    assert place.tokens == [f"Bearer {TOKEN}"]
    metadata = root.pop("metadata")
    assert metadata["event_type"] == "rollback_notification"
    assert set(metadata["event_payload"]) == {"delivery_id", "message_id"}
    # Everybody in the workspace can read it: it says nothing of what it is about.
    assert all(len(each) == 32 for each in metadata["event_payload"].values())
    expected = messages.slack(loud(), mention=HERE) | {"channel": CHANNEL, "ts": root["ts"]}
    assert root == expected


@virtual
async def test_later_ones_change_it_and_only_what_must_be_heard_is_said_below(
    tmp_path: Path,
) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        told = story(state="following")
        known = heard(await it.deliver("it", told), told)
        known = heard(await it.deliver("it", quiet(), known), quiet())
        assert place.calls == ["chat.postMessage", "chat.update"]
        last = await it.deliver("it", loud(), known)
    [root] = place.roots
    assert last.mark == known.mark == f"{CHANNEL}/{root['ts']}"
    assert root["blocks"] == messages.slack(loud(), mention=HERE)["blocks"]
    [reply] = place.replies
    assert reply["thread_ts"] == root["ts"]
    assert reply["channel"] == CHANNEL
    body = messages.slack_reply(loud(), mention=HERE)
    assert body is not None
    assert {key: reply.get(key) for key in body} == body
    assert set(reply["metadata"]["event_payload"]) == {"message_id"}


@virtual
async def test_an_update_is_short_enough_whatever_stands_in_it(tmp_path: Path) -> None:
    # `chat.update` takes 4,000 characters of text, `chat.postMessage` ten times that.
    flood = replace(story(), detail="&" * 50_000, namespace="<" * 5000, why="`" * 5000)
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        known = heard(await it.deliver("it", flood), flood)
        await it.deliver("it", flood, known)
    assert len(place.bodies[1]["text"]) <= 4000
    assert slack_faults(place.bodies[1], HERE) == []


@virtual
async def test_a_refused_update_is_sent_once_more_without_the_blocks_of_before(
    tmp_path: Path,
) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        told = story(state="following")
        known = heard(await it.deliver("it", told), told)
        place.faults["chat.update"] = ["msg_blocks_too_long"]
        heard(await it.deliver("it", quiet(), known), quiet())
    [root] = place.roots
    assert root["blocks"] == []
    assert root["text"] == messages.slack_plain(quiet(), mention=HERE)["text"]


@virtual
async def test_a_refused_reply_is_said_plainly_and_still_in_the_channel(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        told = story(state="following")
        known = heard(await it.deliver("it", told), told)
        place.faults["chat.postMessage"] = ["invalid_blocks"]
        heard(await it.deliver("it", loud(), known), loud())
    [reply] = place.replies
    assert "blocks" not in reply
    assert reply["reply_broadcast"] is True


@pytest.mark.parametrize("word", sorted(RETIRED))
@pytest.mark.parametrize("method", ["chat.update", "chat.postMessage"])
@virtual
async def test_what_cannot_be_changed_or_answered_any_more_is_posted_anew(
    word: str, method: str, tmp_path: Path
) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        told = story(state="following")
        known = heard(await it.deliver("it", told), told)
        place.faults[method] = [word]
        receipt = await it.deliver("it", loud(), known)
    assert receipt.delivery is Delivery.DELIVERED
    _, new = place.roots
    assert receipt.mark == f"{CHANNEL}/{new['ts']}" != known.mark
    assert new["blocks"] == messages.slack(loud(), mention=HERE)["blocks"]
    # It is new, so everybody sees it: nothing more to say below it.
    assert place.replies == []


@virtual
async def test_what_begins_anew_after_its_end_is_a_message_of_its_own(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        over = story(state="resolved")
        known = heard(await it.deliver("it", over), over)
        again = replace(story(state="firing"), started_at=START + timedelta(hours=1))
        receipt = await it.deliver("it", again, known)
    assert len(place.roots) == 2
    assert receipt.mark != known.mark


@pytest.mark.parametrize("mark", ["", "junk", "C1", "/1.2", "C0X/../x", "C0X/1.2/3", "c0x/1.2"])
@virtual
async def test_a_mark_that_is_none_is_as_if_there_were_none(mark: str, tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        await it.deliver("it", loud(), Heard(state="following", mark=mark))
    assert place.calls == ["chat.postMessage"]


# --- what becomes of a message whose answer was lost


@virtual
async def test_a_post_whose_answer_was_lost_is_found_and_not_posted_again(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        place.faults["chat.postMessage"] = [LOSE]
        first = await it.deliver("it", loud())
        assert first == Receipt(
            delivery=Delivery.AMBIGUOUS,
            detail="ServerDisconnectedError at 127.0.0.1",
            failure=Failure.BROKEN,
        )
        second = await it.deliver("it", loud(), Heard(doubt=START))
    [root] = place.messages
    assert second.delivery is Delivery.DELIVERED
    assert second.mark == f"{CHANNEL}/{root['ts']}"
    assert place.calls == ["chat.postMessage", "conversations.history", "chat.update"]
    assert "duplicate" not in str(root)


@virtual
async def test_what_is_found_may_say_something_older_which_is_made_good(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        place.faults["chat.postMessage"] = [LOSE]
        await it.deliver("it", story(state="following"))
        receipt = await it.deliver("it", loud(), Heard(doubt=START))
    [root], [reply] = place.roots, place.replies
    assert receipt.mark == f"{CHANNEL}/{root['ts']}"
    assert root["text"] == messages.slack_plain(loud(), mention=HERE)["text"]
    assert reply["thread_ts"] == root["ts"]


@virtual
async def test_what_was_never_posted_is_posted_after_a_look(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        place.faults["chat.postMessage"] = [DROP]
        await it.deliver("it", loud())
        await it.deliver("it", loud(), Heard(doubt=START))
    [root] = place.roots
    # The channel was read to its end, so it is the only one.
    assert "duplicate" not in str(root)


@pytest.mark.parametrize("fault", ["missing_scope", "not_in_channel", "ratelimited", 500, DROP])
@virtual
async def test_where_nobody_can_look_it_is_posted_as_a_possible_duplicate(
    fault: str | int, tmp_path: Path
) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        place.faults = {"chat.postMessage": [LOSE], "conversations.history": [fault]}
        await it.deliver("it", loud())
        receipt = await it.deliver("it", loud(), Heard(doubt=START))
    assert receipt.delivery is Delivery.DELIVERED
    first, second = place.roots
    assert first["blocks"] == messages.slack(loud(), mention=HERE)["blocks"]
    assert second["blocks"] == messages.slack(loud(), mention=HERE, doubtful=True)["blocks"]
    assert "duplicate" in str(second)


@virtual
async def test_the_look_goes_through_a_busy_channel_and_takes_only_what_is_ours(
    tmp_path: Path,
) -> None:
    token = secret(tmp_path, TOKEN)
    other = replace(loud(), subject="inc-another")
    earlier = replace(loud(), started_at=START - timedelta(days=1))
    async with Workspace(page=2).serve() as place:
        async with alone(bot(place, token, name="fallback")) as another:
            await another.deliver("it", loud())  # another sink into the same channel
        async with alone(bot(place, token)) as it:
            for told in (other, earlier):
                await it.deliver("it", told)
            place.messages.append({"channel": CHANNEL, "ts": "1795395700.1", "text": "lunch?"})
            place.faults["chat.postMessage"] = [LOSE]
            await it.deliver("it", loud())
            ours = place.messages[-1]
            receipt = await it.deliver("it", loud(), Heard(doubt=START))
    assert receipt.mark == f"{CHANNEL}/{ours['ts']}"
    assert len(place.messages) == 5
    assert place.calls.count("conversations.history") == 3


@virtual
async def test_what_was_posted_long_before_the_doubt_is_another_one(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        await it.deliver("it", loud())
        await it.deliver("it", loud(), Heard(doubt=START + timedelta(minutes=5)))
    assert len(place.roots) == 2


@virtual
async def test_a_reply_whose_answer_was_lost_is_not_said_twice(tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        told = story(state="following")
        known = heard(await it.deliver("it", told), told)
        place.faults["chat.postMessage"] = [LOSE]
        lost = await it.deliver("it", loud(), known)
        assert lost.delivery is Delivery.AMBIGUOUS
        receipt = await it.deliver("it", loud(), replace(known, doubt=START))
    assert receipt.delivery is Delivery.DELIVERED
    assert len(place.replies) == 1


@virtual
async def test_what_was_posted_anew_and_lost_is_found_beside_the_one_it_stands_for(
    tmp_path: Path,
) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
        told = story(state="following")
        known = heard(await it.deliver("it", told), told)
        place.faults = {"chat.update": ["edit_window_closed"] * 2, "chat.postMessage": [LOSE]}
        assert (await it.deliver("it", loud(), known)).delivery is Delivery.AMBIGUOUS
        receipt = await it.deliver("it", loud(), replace(known, doubt=START))
    _, new = place.roots
    assert receipt.mark == f"{CHANNEL}/{new['ts']}"
    assert place.replies == []


STATES = ["following", "verifying", "rollout_failed", "did_not_help", "superseded"]
FAULTS = ["", "", LOSE, DROP, 500, "fatal_error", "ratelimited", "invalid_blocks"]


@settings(max_examples=40, deadline=None)
@given(
    states=st.lists(st.sampled_from(STATES), min_size=1, max_size=4, unique=True).flatmap(
        lambda states: st.sampled_from([states, [*states, "recovered"]])
    ),
    posts=st.lists(st.sampled_from(FAULTS), max_size=6),
    updates=st.lists(st.sampled_from(FAULTS), max_size=6),
)
def test_whatever_gets_lost_there_is_one_message_and_each_outcome_is_said_once(
    tmp_path_factory: pytest.TempPathFactory,
    states: list[str],
    posts: list[str | int],
    updates: list[str | int],
) -> None:
    token = secret(tmp_path_factory.mktemp("bot"), TOKEN)
    place = Workspace(faults={"chat.postMessage": list(posts), "chat.update": list(updates)})

    async def play() -> None:
        async with place.serve(), alone(bot(place, token)) as it:
            known = NOTHING_HEARD
            for state in states:
                known = await _told(it, story(state=state), known)

    run(play)
    [root] = place.roots
    final = story(state=states[-1])
    assert root["text"] == messages.slack_plain(final, mention=HERE)["text"]
    said = [reply["metadata"]["event_payload"]["message_id"] for reply in place.replies]
    assert len(said) == len(set(said))
    must = [s for s in states[1:] if messages.slack_reply(story(state=s)) is not None]
    assert len(said) == len(must)


async def _told(it: Sinks, told: Story, known: Heard) -> Heard:
    """Deliver as the controller does: again and again, and with a doubt once there is one."""
    for _ in range(20):
        await it.turn("it")
        receipt = await it.deliver("it", told, known)
        if receipt.delivery is Delivery.DELIVERED:
            return Heard(state=told.state, mark=receipt.mark or known.mark)
        assert receipt.delivery is not Delivery.REJECTED
        if receipt.delivery is Delivery.AMBIGUOUS:
            known = replace(known, doubt=known.doubt or START)
    raise AssertionError("never taken")


# --- the token


@virtual
async def test_a_rotated_token_is_used_for_the_next_message(tmp_path: Path) -> None:
    token = secret(tmp_path, TOKEN)
    async with Workspace().serve() as place, alone(bot(place, token)) as it:
        await it.deliver("it", loud())
        secret(tmp_path, "xoxb-new")
        await it.deliver("it", loud())
    assert place.tokens == [f"Bearer {TOKEN}", "Bearer xoxb-new"]


@pytest.mark.parametrize("value", ["", "two\nlines", "a blank", "ünïcode"])
@virtual
async def test_what_cannot_be_a_token_is_for_a_person_to_mend(value: str, tmp_path: Path) -> None:
    async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, value))) as it:
        receipt = await it.deliver("it", loud())
        assert it.each() == {"it": "unauthorized"}
    assert (receipt.delivery, receipt.failure) == (Delivery.UNAUTHORIZED, Failure.SECRET)
    assert place.calls == []


def test_no_token_is_seen_whatever_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []

    @virtual
    async def tell() -> None:
        async with Workspace().serve() as place, alone(bot(place, secret(tmp_path, TOKEN))) as it:
            for fault in (LOSE, DROP, 302, 401, 500, "invalid_auth", TOKEN, "msg_too_long"):
                place.faults = {"chat.postMessage": [fault], "conversations.history": [fault]}
                seen.append(await it.deliver("it", loud(), Heard(doubt=START)))
            seen.append((it, it.__dict__, it.health()))

    tell()
    assert CANARY in TOKEN
    assert CANARY not in repr(seen) + caplog.text
