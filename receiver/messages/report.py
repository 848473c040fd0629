"""A story as rows of facts, in the order in which they are needed at three in the morning.

What happened, is it well now, what to do; then where, what, why, how to look. The rows are the same
for every medium, which only says how a part is written: who is quoted is not believed.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TypeAlias

from receiver.messages import text
from receiver.messages.headlines import escalates, headline, sentence
from receiver.messages.links import Link, links_of
from receiver.messages.story import AlertLine, RevisionLine, Story
from receiver.reasons import Manual, Reason, about
from receiver.rollout import CANARY_SUFFIX

LINE, NAME, IMAGE, HASH, VALUE = 300, 100, 200, 63, 40
# What is told of many at once names them.
DETAIL, DEPLOYMENT = 1500, 253
CONTAINERS, CONTACTS, NAMES, SINKS = 6, 6, 8, 3

NOT_REVERTED = "ConfigMaps, Secrets, database migrations, and all else outside the pod template."

_ID = re.compile(r"[a-z0-9-]{1,64}")
_BEARER = '-H "Authorization: Bearer $TOKEN"'
# While the rollback stands, it can be undone.
_STANDS = frozenset(
    {"following", "verifying", "recovered", "unconfirmed", "did_not_help", "rollout_failed"}
)
# What a person can do with a release next: the routes below `.../release`.
_STEERED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "release_prepared": ("abort",),
        "release_stage": ("abort",),
        "release_waiting": ("approve", "reject"),
        "release_promoting": ("abort",),
        "release_promoted": ("abort",),
        "release_held": ("resume", "abort"),
        "release_troubled": ("abort",),
        "release_aborting": (),
        "release_aborted": (),
        "release_not_undone": (),
        "release_completed": (),
    }
)


@dataclass(frozen=True, slots=True)
class Quote:
    """Prose of others, cut."""

    said: str
    limit: int


@dataclass(frozen=True, slots=True)
class Name:
    """A name or a value of others, cut."""

    said: str
    limit: int


@dataclass(frozen=True, slots=True)
class Command:
    """A command to copy: all of it is ours, or checked."""

    said: str


# A string of ours is a part, too.
Part: TypeAlias = str | Quote | Name | Command | Link


@dataclass(frozen=True, slots=True)
class Row:
    """One line under a label; an `item` is one of several under it, each on its own."""

    label: str
    parts: tuple[Part, ...]
    item: bool = False


Write: TypeAlias = Callable[[Part], str]
Body: TypeAlias = dict[str, str | int | bool]


def written(row: Row, write: Write) -> str:
    """Return the parts of a row as a medium writes them."""
    return "".join(map(write, row.parts))


def _row(label: str, *parts: Part | None, item: bool = False) -> Row | None:
    """Return a row, None when there is nothing to say."""
    found = tuple(part for part in parts if part)
    return Row(label, found, item) if found else None


def _rows(*rows: Row | None) -> list[Row]:
    return [row for row in rows if row is not None]


def _quote(said: str, limit: int = LINE) -> Quote | None:
    line = text.one_line(said, limit)
    return Quote(line, limit) if line else None


def _name(said: str, limit: int = NAME) -> Name | None:
    line = text.one_line(said, limit)
    return Name(line, limit) if line else None


def _joined(parts: Iterable[Part | None], between: str) -> tuple[Part, ...]:
    found: list[Part] = []
    for part in parts:
        if part:
            found += [between, part] if found else [part]
    return tuple(found)


def outcome(story: Story) -> list[Row]:
    """Return whether it is well now, and what to do."""
    news = headline(story)
    until = "" if story.until is None else f"pending until {text.moment(story.until)}"
    return _rows(
        _row("Fallback", *_fallback(story)),
        _row("Now", news.now),
        _row("Verification", until),
        _row("Recovered", _recovery(story)),
        _row("To do", news.to_do),
    )


def _fallback(story: Story) -> tuple[Part, ...]:
    names = [_name(name, HASH) for name in story.instead_of[:SINKS]]
    if not names:
        return ()
    lasting = story.instead_for
    since = "" if lasting is None else f" for {text.duration(lasting.total_seconds())}"
    have = "has" if len(names) == 1 else "have"
    return (*_joined(names, ", "), f" {have} not accepted this page{since}: it comes here instead.")


def _recovery(story: Story) -> str:
    if story.state != "recovered":
        return ""
    start = "the alert began" if story.alerts else "it was asked for"
    began = f"{_span(story.at - story.started_at)} after {start}"
    if story.applied_at is None:
        return began
    return f"{began}, {_span(story.at - story.applied_at)} after the patch"


def _span(lasting: timedelta) -> str:
    return text.duration(max(lasting.total_seconds(), 0))


def where(story: Story) -> list[Row]:
    """Return where it is, how bad, and since when."""
    known = (
        ("cluster ", _name(story.cluster)),
        ("namespace ", _name(story.namespace)),
        ("Deployment ", _name(story.deployment, DEPLOYMENT)),
    )
    place: list[Part] = []
    for word, name in known:
        if name is not None:
            place += [" · ", word, name] if place else [word, name]
    lasting = story.at - story.started_at
    before = f", {_span(lasting)} before this" if lasting >= timedelta(seconds=1) else ""
    return _rows(
        _row("Where", *place),
        _row("Severity", str(story.severity)),
        _row("Began", text.moment(story.started_at) + before),
        _row("Patched", _patched(story)),
    )


def _patched(story: Story) -> str:
    if story.applied_at is None:
        return ""
    done = story.completed_at
    rolled_out = "" if done is None else f", rolled out {_span(done - story.applied_at)} later"
    return text.moment(story.applied_at) + rolled_out


def change(story: Story) -> list[Row]:
    """Return what was changed, container by container, and what was not."""
    bad, good = story.bad, story.good
    if bad is None:
        return []
    ends = _ends(bad, good)
    before = dict(bad.images)
    after = dict(good.images) if good is not None else before
    names = [*before, *(name for name in after if name not in before)]
    # What changed is what people look for.
    names.sort(key=lambda name: before.get(name) == after.get(name))
    containers = [
        _container(name, before.get(name, ""), after.get(name, "") if good is not None else None)
        for name in names[:CONTAINERS]
    ]
    renumbered = good is not None and story.applied_at is not None
    return _rows(
        _row("Revision", *ends, ", which has a new number now" if renumbered else None),
        *containers,
        _row("Images", _more(len(names) - CONTAINERS), item=True),
        _row("Not reverted", NOT_REVERTED if story.applied_at is not None else ""),
    )


def _ends(bad: RevisionLine, good: RevisionLine | None) -> tuple[Part, ...]:
    return (*_revision(bad), *((" → ", *_revision(good)) if good is not None else ()))


def _revision(line: RevisionLine) -> tuple[Part, ...]:
    known = _joined((_name(line.hash, HASH), f"of {text.moment(line.created_at)}"), ", ")
    return (f"r{line.number} (", *known, ")")


def _container(name: str, before: str, after: str | None) -> Row | None:
    """Return the images of one container; `after` None: there is one revision."""
    old = _name(text.image(before), IMAGE)
    new = old if after is None else _name(text.image(after), IMAGE)
    # No container has a colon in its name.
    label = (_name(name.replace(":", text.COLON), HASH) or "container", ": ")
    if after is None:
        return _row("Images", *label, old, item=True) if old else None
    if before == after:
        return _row("Images", *label, old, " (the same in both)", item=True) if old else None
    return _row("Images", *label, old or "none", " → ", new or "none", item=True)


def _more(count: int) -> str:
    return f"… and {count} more" if count > 0 else ""


def why(story: Story, alerts: int) -> list[Row]:
    """Return why it was decided so, and the first alerts."""
    return _rows(
        _row("Why", sentence(story)) or _asked(story),
        _row("By hand", *_joined((_quote(story.actor, NAME), _quote(story.why)), ": ")),
        _row("Detail", _quote(story.detail, DETAIL)),
        _row("Counted", *_counted(story)),
        *(_alert(alert) for alert in story.alerts[:alerts]),
        _row("Alerts", _more(max(len(story.alerts) - alerts, 0) + story.more), item=True),
    )


def _counted(story: Story) -> tuple[Part, ...]:
    """Return how many of each alert a storm has brought."""
    counts: list[Part] = []
    for name, number in story.tally[:NAMES]:
        between = " · " if counts else ""
        counts += [between, _name(name) or "alert", f" {number}"]
    rest = _more(len(story.tally) - NAMES)
    return (*counts, f" {rest}" if rest else "")


def _asked(story: Story) -> Row | None:
    """Return why a release was blamed: what asked for it began after it."""
    if story.actor or story.reason is not Reason.ROLLED_BACK or not story.alerts:
        return None
    first = min(story.alerts, key=lambda alert: alert.starts_at)
    asks: tuple[Part, ...] = (_name(first.alertname) or "An alert", " asks for a rollback")
    age = timedelta(0) if story.bad is None else first.starts_at - story.bad.created_at
    if age <= timedelta(0):
        return _row("Why", *asks, ".")
    return _row("Why", *asks, f", and began {_span(age)} after this revision was made.")


def _alert(alert: AlertLine) -> Row | None:
    state = "firing" if alert.firing else "resolved"
    value = _name(alert.value, VALUE)
    known = _joined((_quote(alert.severity, 20), state), ", ")
    worth = (", value ", value) if value is not None else ()
    said = _quote(alert.summary) or _quote(alert.description)
    return _row(
        "Alerts",
        _name(alert.alertname) or "alert",
        " (",
        *known,
        *worth,
        f", began {text.moment(alert.starts_at)})",
        *((": ", said) if said is not None else ()),
        item=True,
    )


def links(story: Story, alerts: int) -> list[tuple[AlertLine, Link]]:
    """Return every link once, with the first alert that has it."""
    found: dict[str, tuple[AlertLine, Link]] = {}
    for alert in story.alerts[:alerts]:
        for link in links_of(alert, story.site, story.subject):
            found.setdefault(link.url, (alert, link))
    return list(found.values())


def commands(story: Story) -> list[Row]:
    """Return commands to copy: none when the names could be anything else."""
    named = text.is_name(story.namespace) and text.is_name(story.deployment)
    if not named or story.state == "gone":
        return []
    does = [*undo(story), *steer(story)]
    reach = _reach(story) if does else []
    kubectl = f"kubectl -n {story.namespace} rollout"
    target = f"deployment/{story.deployment}"
    looks = [("Status", f"status {target}"), ("History", f"history {target}")]
    if story.state in _STEERED:
        looks.insert(0, ("Canary", f"status {target}{CANARY_SUFFIX}"))
    rows = [Row(label, (Command(f"{kubectl} {look}"),)) for label, look in looks]
    return [*does, *reach, *rows]


def undo(story: Story) -> list[Row]:
    """Return how to undo what was done, or by hand what was not; names were checked."""
    if story.applied_at is not None:
        if not story.undo_to or story.state not in _STANDS:
            return []
        # What was left is in quarantine, and what is left by this is not to be.
        body: Body = {"to_revision": story.undo_to, "force": True, "quarantine": False}
        label, number, reason = "Undo this", story.undo_to, f"undo {_id(story)}"
    elif _left_undone(story):
        number = story.good.number if story.good is not None else 0
        body = {"to_revision": number} if number else {}
        label, reason = "Roll back", f"{story.reason.value} {_id(story)}"
    else:
        return []
    rows = []
    if number:
        line = f"kubectl -n {story.namespace} rollout undo deployment/{story.deployment}"
        rows.append(Row(label, (Command(f"{line} --to-revision={number}"),)))
    return [*rows, _post(story, f"{label} by API", "rollback", body | {"reason": reason})]


def _left_undone(story: Story) -> bool:
    """Return whether a person may do what was not done."""
    refused = story.state == "refused" and about(story.reason).manual is Manual.IGNORED
    return refused or story.state == "release_not_undone"


def steer(story: Story) -> list[Row]:
    """Return what a person can do with a release now; names were checked."""
    if story.state not in _STEERED:
        return []
    rows = [
        _post(
            story,
            f"{verb.capitalize()} by API",
            f"release/{verb}",
            {"reason": f"{verb} {_id(story)}"},
        )
        for verb in _STEERED[story.state]
    ]
    if story.state == "release_aborting":
        canary = f"deployment/{story.deployment}{CANARY_SUFFIX}"
        scale = f"kubectl -n {story.namespace} scale {canary} --replicas=0"
        rows.append(Row("Take back", (Command(scale),)))
    read = f"curl -sS {_BEARER} {_url(story)}/release/log.md"
    return [*rows, Row("Log by API", (Command(read),))]


def _id(story: Story) -> str:
    return story.subject if _ID.fullmatch(story.subject) else "it"


def _post(story: Story, label: str, route: str, body: Body) -> Row:
    send = f"curl -sS -X POST {_BEARER} -d '{json.dumps(body)}'"
    return Row(label, (Command(f"{send} {_url(story)}/{route}"),))


def _url(story: Story) -> str:
    path = f"/api/v1/deployments/{story.namespace}/{story.deployment}"
    return (_home(story) or "http://localhost:8080") + path


def _home(story: Story) -> str:
    return text.link(story.site.receiver_url).rstrip("/")


def _reach(story: Story) -> list[Row]:
    """Return how to get where the commands lead, unless anybody can."""
    if _home(story) or not text.is_name(story.site.namespace):
        return []
    forward = f"kubectl -n {story.site.namespace} port-forward service/rollback-receiver 8080"
    return [Row("Reach the API", (Command(forward),))]


def contacts(story: Story) -> list[Row]:
    """Return whom to call, when it is so bad."""
    if not escalates(story):
        return []
    found = []
    for each in story.site.contacts[:CONTACTS]:
        hours = _quote(each.availability, NAME)
        when = (" (", hours, ")") if hours is not None else ()
        known = _joined((_quote(each.role, NAME), _name(each.contact)), ": ")
        found.append(_row("Contacts", *(("Call ", *known, *when) if known else ()), item=True))
    return _rows(*found)


def footer(story: Story, *, doubtful: bool = False) -> tuple[Part, ...]:
    """Return the ids of it, for whoever looks it up."""
    doubt = "may be a duplicate" if doubtful else None
    known = (_quote(story.subject, NAME), story.reason.value, text.moment(story.at), doubt)
    return _joined(known, " · ")
