"""A story as the body for a Slack incoming webhook (https://docs.slack.dev/reference/block-kit).

Documented limits: 50 blocks, header 150, section 3,000, 10 elements in a context. Not documented:
about 11,000 characters of blocks are refused (`msg_blocks_too_long`), hence `BUDGET`.
"""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from receiver.messages import text
from receiver.messages.headlines import headline, place, sentence, step
from receiver.messages.story import RevisionLine, Story
from receiver.messages.text import code, entities, escape

Json: TypeAlias = dict[str, Any]

BUDGET, HEADER, TEXT = 8000, 150, 1000
LINE, NAME, IMAGE, PLACE = 300, 100, 200, 80
ALERTS, CONTAINERS, LINKS, LINKS_SIZE = 5, 6, 6, 1250

# Only hostile text fills the budget: then goes first what is least needed at three in the morning.
DROPPED = ("links", "change", "why", "commands", "where")


def slack(story: Story) -> Json:
    """Return the body of a message: `text` for phones and screen readers, `blocks` with it all."""
    parts = {
        "outcome": _section(_outcome(story), 700),
        "where": _section(_where(story), 900),
        "change": _section(_change(story), 1200),
        "why": _section(_why(story), 2200),
        "links": _section(_links(story), LINKS_SIZE + 50),
        "commands": _section(_commands(story), 800),
    }
    blocks = _assembled(story, parts.values())
    for name in DROPPED:
        if len(json.dumps(blocks, ensure_ascii=False)) <= BUDGET:
            break
        del parts[name]
        blocks = _assembled(story, parts.values())
    return slack_plain(story) | {"blocks": blocks}


def _assembled(story: Story, parts: Iterable[Json | None]) -> list[Json]:
    return [_header(story), *(part for part in parts if part is not None), _footer(story)]


def slack_plain(story: Story) -> Json:
    """Return the least that can be said: for when Slack refuses the whole message."""
    news = headline(story)
    where, why = place(story), ", ".join(alert.alertname for alert in story.alerts[:ALERTS])
    said = [
        f"{news.icon} {news.words}",
        escape(where, LINE),
        step(story),
        news.now,
        escape(why, LINE),
    ]
    line = " · ".join(part for part in said if part)
    return {
        # Slack makes links of what looks like one here, as it cannot in the blocks (`verbatim`).
        "text": line.replace("://", f"{text.COLON}//"),
        "unfurl_links": False,
        "unfurl_media": False,
    }


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


def _row(label: str, said: str) -> str:
    return f"*{label}:* {said}" if said else ""


def _outcome(story: Story) -> list[str]:
    news = headline(story)
    until = "" if story.until is None else f"pending until {text.moment(story.until)}"
    return [_row("Now", news.now), _row("Verification", until), _row("To do", news.to_do)]


def _where(story: Story) -> list[str]:
    parts = (
        ("cluster", code(story.cluster, NAME)),
        ("namespace", code(story.namespace, NAME)),
        ("Deployment", code(story.deployment, 253)),
    )
    took = (story.at - story.started_at).total_seconds()
    since = text.moment(story.started_at)
    lasting = f", {text.duration(took)} before this" if took >= 1 else ""
    return [
        _row("Where", " · ".join(f"{word} {said}" for word, said in parts if said)),
        _row("Severity", str(story.severity)),
        _row("Began", since + lasting),
    ]


def _change(story: Story) -> list[str]:
    bad, good = story.bad, story.good
    if bad is None:
        return []
    lines = [_row("Revision", " → ".join(_revision(line) for line in (bad, good) if line))]
    before = dict(bad.images)
    after = dict(good.images) if good is not None else before
    names = [*before, *(name for name in after if name not in before)]
    # What changed is what people look for.
    names.sort(key=lambda name: before.get(name) == after.get(name))
    lines += [
        _container(name, before.get(name, ""), after.get(name, "") if good is not None else None)
        for name in names[:CONTAINERS]
    ]
    return [*lines, _more(len(names) - CONTAINERS)]


def _revision(line: RevisionLine) -> str:
    known = ", ".join(
        part for part in (code(line.hash, 63), f"of {text.moment(line.created_at)}") if part
    )
    return f"r{line.number} ({known})"


def _container(name: str, before: str, after: str | None) -> str:
    """Return the images of one container in one line; `after` None: there is one revision."""
    old = code(text.image(before), IMAGE)
    new = old if after is None else code(text.image(after), IMAGE)
    label = code(name, 63) or "container"
    if after is None:
        return f"• {label}: {old}" if old else ""
    if before == after:
        return f"• {label}: {old} (the same in both)" if old else ""
    return f"• {label}: {old or 'none'} → {new or 'none'}"


def _more(count: int) -> str:
    return f"… and {count} more" if count > 0 else ""


def _why(story: Story) -> list[str]:
    by_hand = ": ".join(
        part for part in (escape(story.actor, NAME), escape(story.why, LINE)) if part
    )
    lines = [
        _row("Why", sentence(story)),
        _row("By hand", by_hand),
        _row("Detail", escape(story.detail, LINE)),
    ]
    for alert in story.alerts[:ALERTS]:
        state = "firing" if alert.firing else "resolved"
        severity = escape(alert.severity, 20)
        known = ", ".join(
            part for part in (severity, f"{state}, began {text.moment(alert.starts_at)}") if part
        )
        said = escape(alert.summary or alert.description, LINE)
        line = f"• {code(alert.alertname, NAME) or 'alert'} ({known})"
        lines.append(f"{line}: {said}" if said else line)
    return [*lines, _more(len(story.alerts) - ALERTS)]


def _links(story: Story) -> list[str]:
    """Return one line with every link once; one too long for what is left gives way to the next."""
    found: dict[str, str] = {}
    for alert in story.alerts[:ALERTS]:
        urls = (
            ("Runbook", alert.runbook_url),
            ("Dashboard", alert.dashboard_url),
            ("Graph", alert.generator_url),
        )
        for word, url in urls:
            found.setdefault(text.link(url), word)
    found.pop("", None)
    shown: list[str] = []
    left = LINKS_SIZE
    for url, word in found.items():
        link = f"<{url.replace('&', '&amp;')}|{word}>"
        if len(shown) < LINKS and text.size(link) + 3 <= left:
            shown.append(link)
            left -= text.size(link) + 3
    return [_row("Links", " · ".join(shown))]


def _commands(story: Story) -> list[str]:
    """Return how to look, as commands to copy: none when the names could be anything else."""
    if not (text.is_name(story.namespace) and text.is_name(story.deployment)):
        return []
    target = f"deployment/{story.deployment}"
    return [
        f"`kubectl -n {story.namespace} rollout {verb} {target}`" for verb in ("status", "history")
    ]


def _footer(story: Story) -> Json:
    said = (escape(story.subject, NAME), story.reason.value, text.moment(story.at))
    return {"type": "context", "elements": [_mrkdwn(" · ".join(part for part in said if part))]}
