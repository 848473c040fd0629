"""A story as an event for PagerDuty (https://developer.pagerduty.com/docs/events-api-v2-overview).

Documented limits: summary 1,024, dedup_key 255, whole body 512 kB. A phone shows about 120
characters of the summary, so it is kept to that.
"""

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeAlias

from receiver.messages import report, text
from receiver.messages.headlines import PATIENT, RESOLVING, TEST, place, step, summary
from receiver.messages.plain import plain
from receiver.messages.report import written
from receiver.messages.story import Story
from receiver.reasons import Severity

Json: TypeAlias = dict[str, Any]

SUMMARY, DEDUP, VALUE, PLACE = 120, 255, 1000, 70
ALERTS = 10

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
        if said := text.plain(value, VALUE):
            event["payload"][field] = said
    if home := text.link(story.site.receiver_url):
        event["client_url"] = home
    return event | _links(story)


def pagerduty_plain(story: Story) -> Json | None:
    """Return the least event that pages: for when PagerDuty refuses the whole one."""
    event: Json = {"dedup_key": _key(story.subject), "client": "rollback-receiver"}
    if story.state in RESOLVING:
        return {"event_action": "resolve"} | event
    quiet = story.severity is Severity.INFO and story.state != TEST
    if quiet or story.state in PATIENT or story.state == "shadow":
        return None
    payload = {
        "summary": text.plain(summary(story, SUMMARY), SUMMARY),
        "source": text.plain(place(story), VALUE) or "rollback-receiver",
        "severity": SEVERITIES[story.severity],
        "timestamp": story.at.isoformat(),
    }
    return {"event_action": "trigger"} | event | {"payload": payload}


def change_event(story: Story) -> Json | None:
    """Return the change event of a rollback without its `routing_key`; None: nothing was changed.

    It pages nobody: it stands beside the incidents of the service, for `/v2/change/enqueue`
    (https://developer.pagerduty.com/docs/send-change-event). There is no key to tell two of the
    same by: whoever sends it sends it once.
    """
    if story.applied_at is None:
        return None
    where = text.plain(place(story), VALUE) or "rollback-receiver"
    said = f"Rolled back {text.one_line(where, PLACE)} {step(story)}".strip()
    rows = (*report.where(story), *report.change(story), *report.why(story, ALERTS))
    payload = {
        "summary": said,
        "source": where,
        "timestamp": story.applied_at.isoformat(),
        "custom_details": _by_label(rows) | _incident(story),
    }
    return {"payload": payload} | _links(story)


def _key(subject: str) -> str:
    """Return a subject as a key; one that is too long by its digest: cut, two could be the same."""
    if len(subject) <= DEDUP and subject.isprintable():
        return subject
    return sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def _details(story: Story) -> Json:
    rows = (
        *report.outcome(story),
        *report.where(story),
        *report.change(story),
        *report.why(story, ALERTS),
        *report.commands(story),
        *report.contacts(story),
    )
    return _by_label(rows) | {"reason": story.reason.value} | _incident(story)


def _incident(story: Story) -> Json:
    said = text.plain(story.subject, VALUE)
    return {"incident": said} if said else {}


def _by_label(rows: tuple[report.Row, ...]) -> Json:
    """Return rows as fields: PagerDuty shows them in any order, so each says what it is."""
    fields: Json = {}
    for row in rows:
        key, said = row.label.lower(), written(row, plain)
        if row.item:
            fields.setdefault(key, []).append(said)
        else:
            fields[key] = said
    return fields


def _links(story: Story) -> Json:
    found = [
        {"href": link.url, "text": f"{link.word} of {text.prose(alert.alertname, 80)}"}
        for alert, link in report.links(story, ALERTS)
    ]
    return {"links": found} if found else {}
