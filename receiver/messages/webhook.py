"""A story as JSON for other programs."""

from datetime import datetime
from typing import Any, TypeAlias

from receiver.messages import report, text
from receiver.messages.headlines import escalates, headline, place, sentence, summary
from receiver.messages.links import links_of
from receiver.messages.report import Command
from receiver.messages.story import AlertLine, RevisionLine, Story

Json: TypeAlias = dict[str, Any]

VERSION = "rollback-receiver/v1"
SUMMARY, LINE, DETAIL, NAME, VALUE = 300, 500, 1500, 253, 200
ALERTS, LABELS, CONTAINERS, CONTACTS, SINKS = 20, 4000, 20, 20, 20


def webhook(story: Story) -> Json:
    """Return every fact of a story as plain data: schema `rollback-receiver/v1`.

    A key that is not listed as always there is left out when it is not known: none holds null or
    "". A program has to pass over keys that it does not know: v1 may get more, and no key of it
    will change its meaning. Times are RFC 3339 in UTC, spans are seconds.

    Always there:
      `version`   the schema
      `subject`   what this is about: the same from the first message to the last
      `state`     where it stands: a phase of an incident (`following`, `recovered`, ...),
                  `refused`, `shadow`, `firing`, `resolved`, `failing`, `works_again`, `silent`,
                  `heard_again`, `not_expected`, `mass_alert`, `mass_alert_over`, `test`;
                  of a release `release_prepared`, `release_stage`, `release_waiting`,
                  `release_promoting`, `release_promoted`, `release_held`, `release_troubled`,
                  `release_aborting`, and at its end `release_aborted`, `release_not_undone` or
                  `release_completed`; there may come more
      `headline`  the state in words; `summary` one line with where and why; `now` whether it is
                  well
      `severity`  `critical`, `warning` or `info`
      `reason`    why: one of the list in the README
      `at`        since when it stands so; `started_at` when it began
      `alerts`    a list, see below; `more_alerts` how many there are beyond it

    If known:
      `to_do`, `why` (the reason in words), `detail`
      `cluster`, `namespace`, `deployment`, `where` (all of it in one)
      `from`, `to`           revisions: `number`, `hash`, `created_at`, `images` {container: image}.
                             `number` is that of before the rollback; it gives `to` a new one
      `applied_at`, `completed_at`   when the patch was made, and when it was rolled out
      `seconds_to_recover`   {`from_start`, `from_patch`}, once recovered
      `verified_by`          until when it is seen whether it helped
      `not_reverted`         what a rollback leaves as it is
      `commands`             {what it is for: a command line}
      `actor`, `actor_reason`   who did it by hand, and why
      `instead_of`           sinks that should have taken it first, and have not
      `contacts`             a list of {`role`, `contact`, `availability`}, when it is so bad

    An alert: `alertname`, `firing`, `starts_at`, and if known `severity`, `fingerprint`, `ends_at`,
    `value`, `summary`, `description`, `labels` {name: value}, `runbook_url`, `dashboard_url`,
    `graph_url`, `silence_url`.

    Text of others is cut, on one line, and without controls; prose (`summary`, `description`,
    `detail`, `actor`, `actor_reason`) is also without markup, mentions and links. Names and labels
    are data: whoever shows them escapes them. URLs are http or https.
    """
    news = headline(story)
    return _known(
        {
            "version": VERSION,
            "subject": text.one_line(story.subject, NAME) or "unnamed",
            "state": text.one_line(story.state, NAME),
            "headline": news.words,
            "summary": text.prose(summary(story, SUMMARY), SUMMARY),
            "now": news.now,
            "to_do": news.to_do,
            "severity": story.severity.value,
            "reason": story.reason.value,
            "why": sentence(story),
            "detail": text.prose(story.detail, DETAIL),
            "cluster": text.one_line(story.cluster, NAME),
            "namespace": text.one_line(story.namespace, NAME),
            "deployment": text.one_line(story.deployment, NAME),
            "where": text.one_line(place(story), 3 * NAME),
            "at": _moment(story.at),
            "started_at": _moment(story.started_at),
            "applied_at": _moment(story.applied_at),
            "completed_at": _moment(story.completed_at),
            "seconds_to_recover": _recovery(story),
            "verified_by": _moment(story.until),
            "from": _revision(story.bad),
            "to": _revision(story.good),
            "not_reverted": report.NOT_REVERTED if story.applied_at is not None else "",
            "commands": _commands(story),
            "actor": text.prose(story.actor, NAME),
            "actor_reason": text.prose(story.why, LINE),
            "instead_of": [n for n in _lines(story.instead_of[:SINKS]) if n],
            "contacts": _contacts(story),
        }
    ) | {
        "alerts": [_alert(alert, story) for alert in story.alerts[:ALERTS]],
        "more_alerts": max(len(story.alerts) - ALERTS, 0) + story.more,
    }


def _known(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value not in ("", None, [], {})}


def _lines(names: tuple[str, ...]) -> list[str]:
    return [text.one_line(name, NAME) for name in names]


def _moment(at: datetime | None) -> str:
    return "" if at is None else text.utc(at).isoformat()


def _recovery(story: Story) -> Json:
    if story.state != "recovered":
        return {}
    spans = {"from_start": (story.at - story.started_at).total_seconds()}
    if story.applied_at is not None:
        spans["from_patch"] = (story.at - story.applied_at).total_seconds()
    return spans


def _revision(line: RevisionLine | None) -> Json:
    if line is None:
        return {}
    images = {
        text.one_line(name, NAME): text.one_line(image, LINE)
        for name, image in line.images[:CONTAINERS]
    }
    known = {"hash": text.one_line(line.hash, NAME), "created_at": _moment(line.created_at)}
    return {"number": line.number} | _known(known | {"images": images})


def _commands(story: Story) -> dict[str, str]:
    found = {}
    for row in report.commands(story):
        for part in row.parts:
            if isinstance(part, Command):
                found[row.label.lower().replace(" ", "_")] = part.said
    return found


def _contacts(story: Story) -> list[Json]:
    if not escalates(story):
        return []
    return [
        _known(
            {
                "role": text.one_line(each.role, NAME),
                "contact": text.one_line(each.contact, NAME),
                "availability": text.one_line(each.availability, NAME),
            }
        )
        for each in story.site.contacts[:CONTACTS]
    ]


def _alert(alert: AlertLine, story: Story) -> Json:
    urls = {
        f"{link.word.lower()}_url": link.url for link in links_of(alert, story.site, story.subject)
    }
    known = {
        "severity": text.one_line(alert.severity, NAME),
        "fingerprint": text.one_line(alert.fingerprint, NAME),
        "ends_at": _moment(alert.ends_at),
        "value": text.one_line(alert.value, VALUE),
        "summary": text.prose(alert.summary, LINE),
        "description": text.prose(alert.description, LINE),
        "labels": _labels(alert),
    }
    always = {
        "alertname": text.one_line(alert.alertname, NAME),
        "firing": alert.firing,
        "starts_at": _moment(alert.starts_at),
    }
    return always | _known(known) | urls


def _labels(alert: AlertLine) -> dict[str, str]:
    """Return the labels, as far as there is room."""
    found, left = {}, LABELS
    for name, value in alert.labels:
        key, said = text.one_line(name, NAME), text.one_line(value, LINE)
        left -= len(key) + len(said)
        if left < 0:
            break
        found[key] = said
    return found
