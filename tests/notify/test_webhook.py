"""A webhook of one's own: signed, and the same key for the same news."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from receiver import messages
from receiver.controller.ports import NOTHING_HEARD, Delivery, Failure, Heard
from receiver.messages import Story
from receiver.notify import Sink, Transport, Webhook
from receiver.reasons import Reason
from tests.messages.stories import of_state, story
from tests.notify.sites import Site, alone, secret
from tests.virtual import START, LoopClock, virtual

SIGNATURE = "X-Rollback-Receiver-Signature"
TIMESTAMP = "X-Rollback-Receiver-Timestamp"


def webhook(folder: Path, url: str, secrets: str) -> Callable[[Transport], Sink]:
    where, signed = secret(folder, f"{url}/hook\n", "url"), secret(folder, secrets)

    def make(transport: Transport) -> Sink:
        return Webhook(url=where, secret=signed, transport=transport, clock=LoopClock())

    return make


def expected(key: str, said: dict[str, str], body: bytes) -> str:
    """Sign as the documentation tells who receives it."""
    text = b".".join((said["Idempotency-Key"].encode(), said[TIMESTAMP].encode(), body))
    return "v1=" + hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


@virtual
async def test_the_story_is_posted_with_a_signature_over_key_time_and_body(tmp_path: Path) -> None:
    async with Site().serve() as site, alone(webhook(tmp_path, site.url, " s3cret\n")) as it:
        receipt = await it.deliver("it", story())
    assert receipt.delivery is Delivery.DELIVERED
    assert site.requests == [("POST", "/hook")]
    assert site.bodies == [json.loads(json.dumps(messages.webhook(story())))]
    [said], [body] = site.headers, site.raw
    assert said["Content-Type"].startswith("application/json")
    assert said[TIMESTAMP] == str(int(START.timestamp()))
    assert said[SIGNATURE] == expected("s3cret", said, body)
    assert "s3cret" not in str(said) + body.decode()


@virtual
async def test_while_secrets_rotate_each_of_them_signs(tmp_path: Path) -> None:
    async with Site().serve() as site, alone(webhook(tmp_path, site.url, "new\nold\n")) as it:
        await it.deliver("it", story())
        secret(tmp_path, "newest")
        await it.deliver("it", story())
    one, two = site.headers
    first, second = site.raw
    signed = [expected(key, one, first) for key in ("new", "old")]
    assert one[SIGNATURE] == ",".join(signed)
    assert two[SIGNATURE] == expected("newest", two, second)


NEWS: list[Story] = [
    story(),
    replace(story(), subject="inc-another"),
    replace(story(), state="recovered"),
    replace(story(), reason=Reason.GITOPS_OWNED),
    replace(story(), started_at=story().started_at + timedelta(hours=1)),
    replace(story(), instead_of=("pagerduty",)),
    # A release waits once for each stage: that its receiver takes a key once loses none of it.
    of_state("release_waiting"),
    replace(of_state("release_waiting"), at=of_state("release_waiting").at + timedelta(days=1)),
]


@virtual
async def test_the_same_news_has_the_same_key_and_other_news_another(tmp_path: Path) -> None:
    async with Site().serve() as site, alone(webhook(tmp_path, site.url, "s3cret")) as it:
        for told in NEWS:
            await it.turn("it")
            await it.deliver("it", told)
        keys = [said["Idempotency-Key"] for said in site.headers]
        assert len(set(keys)) == len(NEWS)
        # Later, again, by whoever goes on: what is unsure was taken once at most.
        again = replace(story(), at=story().at + timedelta(minutes=1), detail="looks the same")
        await it.deliver("it", again, Heard(doubt=START))
    assert site.headers[-1]["Idempotency-Key"] == keys[0]


@pytest.mark.parametrize("missing", ["url", "secret"])
@virtual
async def test_without_its_secret_nothing_is_posted(missing: str, tmp_path: Path) -> None:
    async with Site().serve() as site, alone(webhook(tmp_path, site.url, "s3cret")) as it:
        (tmp_path / missing).write_text("\n")
        assert it.health()["webhook"] == "unauthorized"
        receipt = await it.deliver("it", story(), NOTHING_HEARD)
    assert (receipt.delivery, receipt.failure) == (Delivery.UNAUTHORIZED, Failure.SECRET)
    assert site.requests == []
