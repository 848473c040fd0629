"""A story as plain text: for PagerDuty's fields, an e-mail, and a short form for all the rest.

What shows plain text makes links of what looks like one, and may read it as Markdown: see
`text.plain`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from receiver.messages import report, text
from receiver.messages.headlines import headline, place, step, summary
from receiver.messages.links import Link
from receiver.messages.report import Command, Name, Part, Quote, Row, written
from receiver.messages.story import Story

SUBJECT, TITLE, BODY = 150, 120, 1500
ALERTS, SHORT_ALERTS = 10, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """An e-mail: one line of subject, and plain text."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A message for a service that knows a title and a body, both plain text."""

    title: str
    body: str


def email(story: Story) -> Email:
    """Return the e-mail that tells a story: all of it."""
    news = headline(story)
    title = " · ".join(p for p in (news.words, text.plain(place(story), 300), step(story)) if p)
    found = report.links(story, ALERTS)
    parts = (
        [title],
        map(line, report.outcome(story)),
        map(line, report.where(story)),
        map(line, report.change(story)),
        map(line, report.why(story, ALERTS)),
        [f"{link.word} of {text.prose(alert.alertname, 80)}: {link.url}" for alert, link in found],
        map(line, report.commands(story)),
        map(line, report.contacts(story)),
        ["-- ", "".join(map(plain, report.footer(story)))],
    )
    whole = ("\n".join(lines) for lines in map(list, parts) if lines)
    return Email(subject=text.plain(summary(story, SUBJECT), SUBJECT), text="\n\n".join(whole))


def short(story: Story) -> Short:
    """Return the short form: what does not fit is left out, line by line."""
    rows = (
        *report.outcome(story),
        *report.where(story),
        *report.change(story),
        *report.why(story, SHORT_ALERTS),
    )
    links = [link for _, link in report.links(story, 1)]
    lines = (*map(line, rows), *map(plain, links))
    return Short(title=text.prose(summary(story, TITLE), TITLE), body=_within(lines, BODY))


def _within(lines: Iterable[str], limit: int) -> str:
    kept: list[str] = []
    for said in lines:
        limit -= len(said) + 1
        if limit >= 0:
            kept.append(said)
    return "\n".join(kept)


def line(row: Row) -> str:
    """Return a row as a line."""
    said = written(row, plain)
    return f"  - {said}" if row.item else f"{row.label}: {said}"


def plain(part: Part) -> str:
    """Return a part of a row as plain text."""
    match part:
        case Quote():
            return text.prose(part.said, part.limit)
        case Name():
            return text.plain(part.said, part.limit)
        case Command():
            return part.said
        case Link():
            return f"{part.word}: {part.url}"
        case _:
            return part.replace("`", "'")
