"""Slack: a bot, which keeps one message for each subject, and an incoming webhook, which cannot."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, TypeAlias

from receiver import messages
from receiver.controller.ports import Delivery, Failure, Heard, Receipt
from receiver.messages import Story
from receiver.notify import answers
from receiver.notify.secret import Secret
from receiver.notify.sink import (
    NO_SECRET,
    Capabilities,
    Pacing,
    digest,
    is_word,
    of_news,
    of_subject,
    whole_or_plain,
)
from receiver.notify.transport import Reply, Transport, in_a_form, in_json

SLACK = "https://slack.com/api/"
EVENT_TYPE = "rollback_notification"
# One message a second and channel, short bursts tolerated
# (https://docs.slack.dev/apis/web-api/rate-limits).
PACING = Pacing(burst=5, seconds=1.0)

# What is read of a channel to find a message of ours: pages of so many messages and bytes.
PAGES, PAGE, PAGE_READ = 5, 100, 2 * 2**20
# Slack's clock and ours differ by less.
SKEW = timedelta(seconds=60)

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackWebhook:
    """An incoming webhook: it posts to the one channel it was made for, and says no more than ok.

    So nothing can be changed or answered later, and a post of unknown fate is posted again.
    """

    url: Secret
    transport: Transport
    mention: str = ""

    family: ClassVar[str] = "slack"
    capabilities: ClassVar[Capabilities] = Capabilities()
    pacing: ClassVar[Pacing] = PACING

    def speaks_of(self, story: Story) -> bool:
        """Return whether it says anything of a story."""
        del story
        return True

    def ready(self) -> bool:
        """Return whether its URL can be read."""
        return bool(self.url.read())

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Post it once."""
        url = self.url.read()
        if not url:
            return NO_SECRET

        async def post(*, plain: bool) -> Reply:
            say = messages.slack_plain if plain else messages.slack
            body = say(story, mention=self.mention, doubtful=heard.doubt is not None)
            return await self.transport.send(in_json(url, body), answers.slack)

        return (await whole_or_plain(post)).receipt

    async def close(self) -> None:
        """There is nothing that goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message is. Its mark is `CHANNEL/TS`: Slack names messages by their time."""

    channel: str
    ts: str

    @property
    def mark(self) -> str:
        """Return it as the mark of a receipt."""
        return f"{self.channel}/{self.ts}"

    @classmethod
    def of(cls, channel: object, ts: object) -> "Place | None":
        """Return a place of what Slack said, None when that is none."""
        mark = f"{channel}/{ts}"
        return cls.marked(mark) if isinstance(channel, str) and isinstance(ts, str) else None

    @classmethod
    def marked(cls, mark: str) -> "Place | None":
        """Return the place of a mark, None when it is none."""
        found = _MARK.fullmatch(mark)
        return None if found is None else cls(channel=found[1], ts=found[2])


_MARK = re.compile(r"([A-Z][A-Z0-9]{1,30})/([0-9]{1,15}\.[0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a message is, with what news; or that it is nowhere, if that is `sure`."""

    place: Place | None = None
    news: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackBot:
    """A bot in a channel: it posts once for each subject, then changes that message.

    A change notifies nobody, so what people must hear of is also said in the thread below. Scope:
    `chat:write`. With `channels:history` (private channels: `groups:history`) a post whose answer
    was lost is looked for; without, it is posted again and says that it may be a duplicate.
    """

    name: str
    token: Secret
    channel: str
    transport: Transport
    mention: str = ""
    endpoint: str = SLACK

    family: ClassVar[str] = "slack"
    capabilities: ClassVar[Capabilities] = Capabilities(updates=True, threads=True)
    pacing: ClassVar[Pacing] = PACING

    def speaks_of(self, story: Story) -> bool:
        """Return whether it says anything of a story."""
        del story
        return True

    def ready(self) -> bool:
        """Return whether its token can be read."""
        return bool(self.token.read())

    async def send(self, story: Story, heard: Heard) -> Receipt:
        """Post it, or change the message there is; then say below it what must be heard."""
        token = self.token.read()
        if not is_word(token):
            return NO_SECRET
        return await _Telling(bot=self, token=token, story=story, heard=heard).tell()

    async def close(self) -> None:
        """There is nothing that goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """One story on its way to one channel."""

    bot: SlackBot
    token: str
    story: Story
    heard: Heard

    async def tell(self) -> Receipt:
        """Say it; a message that is there no more, or can be changed no more, is posted anew."""
        root, doubt = Place.marked(self.heard.mark), self.heard.doubt
        if root is not None:
            reply = await self._keep(root)
            if reply.word not in answers.RETIRED:
                return reply.receipt
        found = Found() if doubt is None else await self._lost_post(doubt, other_than=root)
        if found.place is not None:
            reply = await self._keep(found.place, found.news)
            if reply.word not in answers.RETIRED:
                return reply.receipt
        return (await self._post(doubtful=not found.sure)).receipt

    async def _keep(self, root: Place, news: str = "") -> Reply:
        """Bring a message up to date, and say below it what must be heard.

        Not what it was posted with, its `news`: then the post itself was what people heard.
        """
        reply = await whole_or_plain(partial(self._change, root))
        if reply.receipt.delivery is Delivery.DELIVERED and news != self._news:
            return await self._say_below(root, reply)
        return reply

    # --- the three ways to say it

    async def _post(self, *, doubtful: bool = False) -> Reply:
        return await whole_or_plain(partial(self._post_once, doubtful=doubtful))

    async def _post_once(self, *, doubtful: bool, plain: bool) -> Reply:
        say = messages.slack_plain if plain else messages.slack
        body = say(self.story, mention=self.bot.mention, doubtful=doubtful)
        ids = {"delivery_id": self._subject, "message_id": self._news}
        body |= {"channel": self.bot.channel, "metadata": _metadata(ids)}
        reply = await self._call("chat.postMessage", body)
        if reply.receipt.delivery is not Delivery.DELIVERED:
            return reply
        place = Place.of(reply.data.get("channel"), reply.data.get("ts"))
        if place is None:
            # It says yes and not where: nothing that Slack says.
            detail = f"{reply.receipt.detail}, without channel and ts"
            odd = Receipt(delivery=Delivery.AMBIGUOUS, detail=detail, failure=Failure.ODD)
            return Reply(receipt=odd)
        return _marked(reply, place)

    async def _change(self, root: Place, *, plain: bool) -> Reply:
        say = messages.slack_plain if plain else messages.slack
        body = say(self.story, mention=self.bot.mention)
        # What is left out may stay as it was: without blocks, those of before.
        body = {"blocks": []} | body | {"channel": root.channel, "ts": root.ts}
        return _marked(await self._call("chat.update", body), root)

    async def _say_below(self, root: Place, changed: Reply) -> Reply:
        body = messages.slack_reply(self.story, mention=self.bot.mention)
        doubt = self.heard.doubt
        if body is None or (doubt is not None and await self._said_below(root, doubt)):
            return changed
        ids = {"message_id": self._news}
        to = {"channel": root.channel, "thread_ts": root.ts, "metadata": _metadata(ids)}

        async def say(*, plain: bool) -> Reply:
            said = _plain_reply(body, self.story, self.bot.mention) if plain else body
            return _marked(await self._call("chat.postMessage", said | to), root)

        return await whole_or_plain(say)

    # --- what became of a post whose answer was lost

    async def _lost_post(self, since: datetime, *, other_than: Place | None) -> Found:
        """Return what is known of the message of this subject."""
        fields = {"channel": self.bot.channel}
        read, whole = await self._read("conversations.history", fields, since)
        for message in read:
            place, ids = Place.of(self.bot.channel, message.get("ts")), _ids(message)
            ours = ids.get("delivery_id") == self._subject
            if ours and place is not None and place != other_than:
                return Found(place=place, news=str(ids.get("message_id")))
        return Found(sure=whole)

    async def _said_below(self, root: Place, since: datetime) -> bool:
        fields = {"channel": root.channel, "ts": root.ts}
        read, _ = await self._read("conversations.replies", fields, since)
        below = [message for message in read if message.get("ts") != root.ts]
        return any(_ids(message).get("message_id") == self._news for message in below)

    async def _read(
        self, method: str, fields: Mapping[str, str], since: datetime
    ) -> tuple[list[Json], bool]:
        """Return the messages since then, as far as they can be read, and whether that is all."""
        asked = {
            **fields,
            "oldest": f"{(since - SKEW).timestamp():.6f}",
            "include_all_metadata": "true",
            "limit": str(PAGE),
        }
        read: list[Json] = []
        for _ in range(PAGES):
            request = in_a_form(self._url(method), asked, self._headers, read=PAGE_READ)
            reply = await self.bot.transport.send(request, answers.slack_api)
            found = reply.data.get("messages")
            if reply.receipt.delivery is not Delivery.DELIVERED or not isinstance(found, list):
                break
            read += map(_object, found)
            cursor = _object(reply.data.get("response_metadata")).get("next_cursor")
            if not cursor:
                return read, True
            asked["cursor"] = str(cursor)
        return read, False

    # --- calls

    @property
    def _subject(self) -> str:
        return digest(self.bot.name, of_subject(self.story))

    @property
    def _news(self) -> str:
        return digest(self.bot.name, of_news(self.story))

    async def _call(self, method: str, body: Json) -> Reply:
        request = in_json(self._url(method), body, self._headers)
        return await self.bot.transport.send(request, answers.slack_api)

    def _url(self, method: str) -> str:
        return f"{self.bot.endpoint.rstrip('/')}/{method}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def _metadata(ids: Mapping[str, str]) -> Json:
    """Return metadata of a message: everybody in the workspace can read it, so ids only."""
    return {"event_type": EVENT_TYPE, "event_payload": dict(ids)}


def _ids(message: Json) -> Json:
    """Return the ids in the metadata of a message, none if it is none of ours."""
    metadata = _object(message.get("metadata"))
    ours = metadata.get("event_type") == EVENT_TYPE
    return _object(metadata.get("event_payload")) if ours else {}


def _object(found: Any) -> Json:
    return found if isinstance(found, dict) else {}


def _marked(reply: Reply, place: Place) -> Reply:
    return replace(reply, receipt=replace(reply.receipt, mark=place.mark))


def _plain_reply(body: Json, story: Story, mention: str) -> Json:
    plain = messages.slack_plain(story, mention=mention)
    broadcast = {key: body[key] for key in ("reply_broadcast",) if key in body}
    return plain | broadcast
