"""A story as a Slack message (https://docs.slack.dev/reference/block-kit).

Documented limits: 50 blocks, header 150, section 3,000, 10 elements in a context, `text` 4,000.
Not documented: about 11,000 characters of blocks are refused (`msg_blocks_too_long`), hence
`BUDGET`.
"""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from receiver.messages import report, text
from receiver.messages.headlines import REPLIED, SHOWN, calls, cause, headline, place, step
from receiver.messages.links import Link
from receiver.messages.report import Command, Name, Part, Quote, Row, written
from receiver.messages.story import Story
from receiver.messages.text import code, entities, escape
from receiver.reasons import Severity

Json: TypeAlias = dict[str, Any]

BUDGET, HEADER = 8000, 150
PLACE, LINE = 80, 300
ALERTS, LINKS, LINKS_SIZE = 5, 6, 1250

# Only hostile text fills the budget: then goes first what is least needed at three in the morning.
DROPPED = ("links", "change", "why", "commands", "where", "contacts")


def slack(story: Story, *, mention: str = "", doubtful: bool = False) -> Json:
    """Return the body of a message, posted or updated: `text` for phones, `blocks` with it all.

    `mention` comes from the configuration and stands as it is, where somebody is to be called.
    `doubtful`: it may have been posted already.
    """
    called = mention if calls(story) else ""
    parts = {
        "mention": _section([called], len(called) + 1),
        "outcome": _section(map(_line, report.outcome(story)), 900),
        "where": _section(map(_line, report.where(story)), 800),
        "change": _section(map(_line, report.change(story)), 1300),
        "why": _section(map(_line, report.why(story, ALERTS)), 2000),
        "links": _section([_links(story)], LINKS_SIZE + 50),
        "commands": _section(map(_line, report.commands(story)), 1400),
        "contacts": _section(map(_line, report.contacts(story)), 900),
    }
    footer = _footer(story, doubtful=doubtful)
    blocks = _assembled(story, parts.values(), footer)
    for name in DROPPED:
        if len(json.dumps(blocks, ensure_ascii=False)) <= BUDGET:
            break
        del parts[name]
        blocks = _assembled(story, parts.values(), footer)
    return slack_plain(story, mention=mention, doubtful=doubtful) | {"blocks": blocks}


def slack_plain(story: Story, *, mention: str = "", doubtful: bool = False) -> Json:
    """Return the least that can be said: for when Slack refuses the whole message."""
    news = headline(story)
    said = [
        f"{news.icon} {news.words}",
        escape(place(story), LINE),
        step(story),
        news.now,
        escape(cause(story), LINE),
        "may be a duplicate" if doubtful else "",
    ]
    line = " · ".join(part for part in said if part)
    # Slack makes links of what looks like one here, as it cannot in the blocks (`verbatim`).
    line = line.replace("://", f"{text.COLON}//")
    return {
        "text": f"{mention} {line}" if mention and calls(story) else line,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def slack_reply(story: Story, *, mention: str = "") -> Json | None:
    """Return the body of a reply in the thread of the message; None: an update says enough.

    An update notifies nobody, and of how it ended everybody is to hear. What failed, or is owed a
    person's answer for days, is shown in the channel, too, and so is what others should have been
    told. Whoever posts it adds `thread_ts`.
    """
    resolved = story.state == "resolved" and story.severity is Severity.CRITICAL
    if not (story.state in REPLIED or resolved or story.instead_of):
        return None
    called = mention if calls(story) else ""
    news = headline(story)
    lines = [called, f"{news.icon} {news.words}", *map(_line, report.outcome(story))]
    body = slack_plain(story, mention=mention)
    block = _section(lines, 1500 + len(called))
    shown = story.state in SHOWN or bool(story.instead_of)
    broadcast = {"reply_broadcast": True} if shown else {}
    return body | {"blocks": [block]} | broadcast


def _assembled(story: Story, parts: Iterable[Json | None], footer: Json) -> list[Json]:
    return [_header(story), *(part for part in parts if part is not None), footer]


def _header(story: Story) -> Json:
    news = headline(story)
    said = (f"{news.icon} {news.words}", text.one_line(place(story), PLACE), step(story))
    title = entities(" · ".join(part for part in said if part), HEADER)
    # `emoji`: false, so that `:name:` in untrusted text stays what it is.
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}


def _section(lines: Iterable[str], limit: int) -> Json | None:
    """Return whole lines up to `limit` as one section, None for nothing: no markup is cut."""
    kept: list[str] = []
    for line in lines:
        if not line:
            continue
        limit -= text.size(line) + 1
        if limit < 0:
            break
        kept.append(line)
    return {"type": "section", "text": _mrkdwn("\n".join(kept))} if kept else None


def _mrkdwn(said: str) -> Json:
    # `verbatim`: Slack makes no links and mentions of what only looks like one.
    return {"type": "mrkdwn", "text": said, "verbatim": True}


def _line(row: Row) -> str:
    said = written(row, _written)
    return f"• {said}" if row.item else f"*{row.label}:* {said}"


def _written(part: Part) -> str:
    match part:
        case Quote():
            return escape(part.said, part.limit)
        case Name():
            return code(part.said, part.limit)
        case Command():
            return f"`{part.said.replace('&', '&amp;')}`"
        case Link():
            return f"<{part.url.replace('&', '&amp;')}|{part.word}>"
        case _:
            return part


def _links(story: Story) -> str:
    """Return one line with the links; one too long for what is left gives way to the next."""
    shown: list[str] = []
    left = LINKS_SIZE
    for _, link in report.links(story, ALERTS):
        said = _written(link)
        if len(shown) < LINKS and text.size(said) + 3 <= left:
            shown.append(said)
            left -= text.size(said) + 3
    return f"*Links:* {' · '.join(shown)}" if shown else ""


def _footer(story: Story, *, doubtful: bool) -> Json:
    said = "".join(map(_written, report.footer(story, doubtful=doubtful)))
    return {"type": "context", "elements": [_mrkdwn(said)]}
