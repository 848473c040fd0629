"""A story as an event for PagerDuty (https://developer.pagerduty.com/docs/events-api-v2-overview).

Documented limits: summary 1,024, dedup_key 255, whole body 512 kB. A phone shows about 120
characters of the summary, so it is kept to that.
"""

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeAlias

from receiver.messages import text
from receiver.messages.headlines import RESOLVING, headline, place, sentence, step
from receiver.messages.story import RevisionLine, Story
from receiver.messages.text import cut, one_line
from receiver.reasons import Severity

Json: TypeAlias = dict[str, Any]

SUMMARY, DEDUP, VALUE, PLACE = 120, 255, 1000, 70
ALERTS, CONTAINERS = 10, 10
# A URL of a link: PagerDuty names no limit; Slack's is a sane one.
HREF = 3000

SEVERITIES: Mapping[Severity, str] = MappingProxyType(
    {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.INFO: "info"}
)


def pagerduty(story: Story) -> Json | None:
    """Return the event without its `routing_key`; None: this is nothing to page anybody for.

    The subject is the `dedup_key`, whatever the state and severity: however often a trigger is
    sent, one alert is open, and what ends well resolves that one.
    """
    event = pagerduty_plain(story)
    if event is None or event["event_action"] == "resolve":
        return event
    event["payload"] |= {"class": story.reason.value, "custom_details": _details(story)}
    for field, value in (("component", story.deployment), ("group", story.namespace)):
        if said := one_line(value, VALUE):
            event["payload"][field] = said
    if links := _links(story):
        event["links"] = links
    return event


def pagerduty_plain(story: Story) -> Json | None:
    """Return the least event that pages: for when PagerDuty refuses the whole one."""
    event: Json = {"dedup_key": _key(story.subject), "client": "rollback-receiver"}
    if story.state in RESOLVING:
        return {"event_action": "resolve"} | event
    if story.severity is Severity.INFO or story.state == "shadow":
        return None
    payload = {
        "summary": _summary(story),
        "source": one_line(place(story), VALUE) or "rollback-receiver",
        "severity": SEVERITIES[story.severity],
        "timestamp": story.at.isoformat(),
    }
    return {"event_action": "trigger"} | event | {"payload": payload}


def _key(subject: str) -> str:
    """Return a subject as a key; one that is too long by its digest: cut, two could be the same."""
    if len(subject) <= DEDUP and subject.isprintable():
        return subject
    return sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def _summary(story: Story) -> str:
    """Return what a phone shows: outcome, where, revisions, the alert."""
    where = one_line(place(story), PLACE)
    names = [alert.alertname for alert in story.alerts]
    others = f" +{len(names) - 1}" if len(names) > 1 else ""
    why = f"({one_line(names[0], 40)}{others})" if names else ""
    said = " ".join(part for part in (where, step(story), why) if part)
    words = headline(story).words
    return cut(f"{words}: {said}" if said else words, SUMMARY)


def _details(story: Story) -> Json:
    details: Json = {
        "now": headline(story).now,
        "to do": headline(story).to_do,
        "reason": ": ".join(part for part in (story.reason.value, sentence(story)) if part),
        "detail": one_line(story.detail, VALUE),
        "cluster": one_line(story.cluster, VALUE),
        "began": text.moment(story.started_at),
        "from": _revision(story.bad),
        "to": _revision(story.good),
        "by hand": one_line(story.actor, VALUE),
        "because": one_line(story.why, VALUE),
        "verification": f"pending until {text.moment(story.until)}" if story.until else "",
        "alerts": [
            one_line(": ".join(p for p in (a.alertname, a.summary or a.description) if p), VALUE)
            for a in story.alerts[:ALERTS]
        ],
        "incident": one_line(story.subject, VALUE),
    }
    return {key: value for key, value in details.items() if value}


def _revision(line: RevisionLine | None) -> str:
    if line is None:
        return ""
    images = ", ".join(f"{name}: {text.image(image)}" for name, image in line.images[:CONTAINERS])
    return one_line(f"r{line.number} {line.hash} {images}", VALUE)


def _links(story: Story) -> list[Json]:
    found: dict[str, str] = {}
    for alert in story.alerts[:ALERTS]:
        for word, url in (
            ("Runbook", alert.runbook_url),
            ("Dashboard", alert.dashboard_url),
            ("Graph", alert.generator_url),
        ):
            found.setdefault(text.link(url, HREF), f"{word} of {one_line(alert.alertname, 80)}")
    found.pop("", None)
    return [{"href": url, "text": label} for url, label in found.items()]
