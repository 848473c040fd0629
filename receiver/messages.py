"""What to say to whom: stories told as Slack and PagerDuty requests. Values in, values out.

Everything that came from an alert or an object is untrusted: it is cut, escaped, and never becomes
a mention, a link text or markup. Order of a message: what happened, is it well now, what to do.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from receiver.reasons import Reason, Severity, about

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """One alert of a story, as Alertmanager sent it. Text is untrusted."""

    alertname: str
    severity: str
    starts_at: datetime
    firing: bool
    summary: str = ""
    description: str = ""
    runbook_url: str = ""
    dashboard_url: str = ""
    generator_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    """One revision of a story. `images` are (container, image)."""

    number: int
    hash: str
    images: tuple[tuple[str, str], ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that can be told now about one subject: an incident, a refusal, an alert passed on.

    `state` is the phase of an incident (`receiver.journal.Phase`), `refused` for a refusal without
    an incident, `firing` or `resolved` for an alert passed on, `failing` for a fault of our own.
    `subject` is stable for the life of the subject: the PagerDuty `dedup_key`.
    """

    subject: str
    state: str
    reason: Reason
    severity: Severity
    cluster: str
    namespace: str
    deployment: str
    at: datetime
    started_at: datetime
    alerts: tuple[AlertLine, ...] = ()
    bad: RevisionLine | None = None
    good: RevisionLine | None = None
    actor: str = ""
    why: str = ""
    detail: str = ""
    until: datetime | None = None


# The state of a story in words for people. An icon never stands alone.
HEADLINES: dict[str, tuple[str, str]] = {
    "settling": ("🟡", "ROLLBACK PENDING"),
    "applying": ("🟡", "ROLLBACK PENDING"),
    "following": ("🔄", "ROLLING BACK"),
    "verifying": ("🔄", "ROLLED BACK, verifying"),
    "recovered": ("✅", "RECOVERED after rollback"),
    "unconfirmed": ("❔", "ROLLED BACK, recovery unconfirmed"),
    "did_not_help": ("🚨", "ROLLBACK DID NOT HELP"),
    "rollout_failed": ("🚨", "ROLLBACK FAILED"),
    "refused": ("⛔", "NOT ROLLED BACK"),
    "resolved_by_itself": ("✅", "RESOLVED BY ITSELF, nothing was rolled back"),
    "superseded": ("↪️", "ROLLBACK SUPERSEDED"),
    "gone": ("🚨", "DEPLOYMENT GONE during a rollback"),
    "firing": ("🔔", "ALERT"),
    "resolved": ("✅", "RESOLVED"),
    "failing": ("🚨", "ROLLBACK RECEIVER IS FAILING"),
    "shadow": ("👻", "WOULD ROLL BACK (shadow mode)"),
}
GOOD = frozenset({"recovered", "resolved", "resolved_by_itself", "superseded"})

# Slack: header 150, section 3,000; together a message of more than about 11,000 characters is
# refused (msg_blocks_too_long), so that a section is kept far below.
HEADER, SECTION, TEXT, LINE = 150, 2000, 3000, 300
# PagerDuty Events API v2: summary 1,024, dedup_key 255, body 512 kB; a phone shows about 120.
SUMMARY, DEDUP, DETAIL = 1024, 255, 1000


def headline(story: Story) -> str:
    """Return the outcome in one line: state, Deployment, revisions."""
    _, words = HEADLINES.get(story.state, ("", story.state.replace("_", " ").upper()))
    where = _where(story)
    return " · ".join(part for part in (words, where, _step(story)) if part)


def _where(story: Story) -> str:
    name = f"{story.namespace}/{story.deployment}".strip("/")
    return f"{name} ({story.cluster})" if name and story.cluster else name or story.cluster


def _step(story: Story) -> str:
    if story.bad is None:
        return ""
    if story.good is None:
        return f"r{story.bad.number}"
    return f"r{story.bad.number} → r{story.good.number}"


# --- Slack


def slack(story: Story) -> Json:
    """Return the body for an incoming webhook (docs.slack.dev, Block Kit).

    `text` is what a phone and a screen reader get; the blocks hold the same and more.
    """
    icon, _ = HEADLINES.get(story.state, ("🔔", ""))
    title = f"{icon} {headline(story)}"
    sections = [part for part in (_happened(story), _alerts(story), _to_do(story)) if part]
    blocks: list[Json] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, HEADER)}},
        *(_section(part) for part in sections),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _footer(story)}]},
    ]
    return {
        "text": _cut(escape(title, LINE), TEXT),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def plain(story: Story) -> Json:
    """Return the least that can be said: for a sink that refused the whole message."""
    return {"text": escape(headline(story), LINE)}


def _section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _happened(story: Story) -> str:
    lines = [f"*Why:* {escape(about(story.reason).text, LINE)}"]
    if story.actor:
        lines.append(f"*By hand:* {escape(story.actor, 100)}: {escape(story.why, LINE)}")
    if story.detail:
        lines.append(f"*Detail:* {escape(story.detail, LINE)}")
    for word, revision in (("From", story.bad), ("To", story.good)):
        if revision is not None:
            images = ", ".join(image for _, image in revision.images)
            lines.append(f"*{word}:* r{revision.number} `{_code(images, LINE)}`")
    if story.until is not None:
        lines.append(f"*Verification:* pending until {story.until:%H:%M:%S} UTC")
    return _lines(lines)


def _alerts(story: Story) -> str:
    lines = []
    for alert in story.alerts[:5]:
        state = "firing" if alert.firing else "resolved"
        said = escape(alert.summary or alert.description, LINE)
        links = " ".join(
            f"<{url}|{word}>"
            for word, url in (
                ("runbook", link(alert.runbook_url)),
                ("dashboard", link(alert.dashboard_url)),
                ("graph", link(alert.generator_url)),
            )
            if url
        )
        line = f"• *{escape(alert.alertname, 100)}* ({state} since {alert.starts_at:%H:%M:%S} UTC)"
        lines.append(" ".join(part for part in (line, said, links) if part))
    if len(story.alerts) > 5:  # noqa: PLR2004 - as many as are shown
        lines.append(f"… and {len(story.alerts) - 5} more")
    return _lines(lines)


def _to_do(story: Story) -> str:
    """Return what to do next, as commands to copy."""
    if not story.deployment or story.state in GOOD or story.state in ("firing", "shadow"):
        return ""
    target = f"-n {_code(story.namespace, 63)} {{}} deployment/{_code(story.deployment, 253)}"
    commands = (target.format("rollout status"), target.format("rollout history"))
    return "\n".join(f"`kubectl {command}`" for command in commands)


def _footer(story: Story) -> str:
    return escape(f"{story.subject} · {story.reason} · {story.at:%Y-%m-%d %H:%M:%S} UTC", LINE)


def _lines(lines: list[str]) -> str:
    """Join whole lines up to the size of a section: none is ever cut in the middle of markup."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > SECTION:
            break
        kept.append(line)
    return "\n".join(kept)


def escape(text: str, limit: int) -> str:
    """Return untrusted text for Slack: one line, cut, and no markup of any kind.

    `&`, `<` and `>` are escaped, as Slack asks; what would start bold, code or a mention inside a
    line is defused with a zero-width space.
    """
    line = _cut(_one_line(text), limit)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"{char}\u200b" if char in "*_~`@" else char for char in line)


def _code(text: str, limit: int) -> str:
    """Return untrusted text for between backticks."""
    line = _cut(_one_line(text), limit).replace("`", "'")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    """Return text without line ends, control characters and lone surrogates."""
    line = " ".join(text[:5000].split())
    return "".join(char for char in line if char.isprintable() or char == " ")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def link(url: str) -> str:
    """Return a URL that is safe to show as a link, else "": http(s), no credentials, no markup."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        return ""
    if not fine or len(url) > LINE * 2 or any(c in '<>|`"\\' or not c.isprintable() for c in url):
        return ""
    return url.replace("&", "&amp;").replace(" ", "%20")


# --- PagerDuty

_PAGED_AS = {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.INFO: "info"}


def pagerduty(story: Story) -> Json:
    """Return the event without its routing key (PagerDuty Events API v2).

    The subject is the `dedup_key`: however often a trigger is sent, one alert is open; what ended
    well resolves it.
    """
    key = story.subject[:DEDUP]
    if story.state in GOOD:
        return {"event_action": "resolve", "dedup_key": key}
    first = story.alerts[0] if story.alerts else None
    details = {
        "reason": f"{story.reason}: {about(story.reason).text}",
        "detail": story.detail,
        "cluster": story.cluster,
        "from": _described(story.bad),
        "to": _described(story.good),
        "by_hand": story.actor,
        "alerts": [f"{a.alertname}: {a.summary or a.description}" for a in story.alerts[:5]],
    }
    urls = [
        (word, first_url)
        for word, first_url in (
            ("Runbook", link(first.runbook_url) if first else ""),
            ("Dashboard", link(first.dashboard_url) if first else ""),
        )
        if first_url
    ]
    names = sorted({alert.alertname for alert in story.alerts})
    why = f" ({', '.join(names)})" if names else ""
    event: Json = {
        "event_action": "trigger",
        "dedup_key": key,
        "client": "rollback-receiver",
        "payload": {
            "summary": _cut(_one_line(headline(story) + why), SUMMARY),
            "source": _cut(_one_line(_where(story)), DETAIL) or "rollback-receiver",
            "severity": _PAGED_AS[story.severity],
            "timestamp": story.at.isoformat(),
            "component": _cut(story.deployment, DETAIL),
            "group": _cut(story.namespace, DETAIL),
            "class": story.reason.value,
            "custom_details": {k: _bounded(v) for k, v in details.items() if v},
        },
    }
    if urls:
        event["links"] = [{"href": url.replace("&amp;", "&"), "text": word} for word, url in urls]
    return event


def _described(revision: RevisionLine | None) -> str:
    if revision is None:
        return ""
    return f"r{revision.number}: " + ", ".join(image for _, image in revision.images)


def _bounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_bounded(item) for item in value]
    return _cut(_one_line(str(value)), DETAIL)
