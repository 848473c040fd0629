"""What is told of a release, and its deployment log: Markdown, with all text of others escaped."""

import re
from datetime import UTC, datetime, timedelta

from receiver.journal import Hold, Item, Release, Step
from receiver.reasons import Reason, Severity, about

_STATES = {
    Step.PREPARING: "release_prepared",
    Step.SCALING: "release_stage",
    Step.SOAKING: "release_stage",
    Step.WAITING: "release_waiting",
    Step.PROMOTING: "release_promoting",
    Step.WATCHING: "release_promoted",
    Step.ABORTING: "release_aborting",
    Step.ABORTED: "release_aborted",
    Step.COMPLETED: "release_completed",
}

# Aborted for these, nobody has the new version any more; for any other, somebody may.
_WELL_BACK = frozenset(
    {
        Reason.RELEASE_ABORTED,
        Reason.RELEASE_REJECTED,
        Reason.RELEASE_DRIFTED,
        Reason.CANARY_NOT_READY,
        Reason.PROMOTION_FAILED,
        Reason.TARGET_NOT_FOUND,
    }
)


def news(release: Release) -> tuple[str, Reason, Severity, str]:
    """Return the state of a release for people: its name, why, how loud, and a sentence."""
    state, reason = _STATES[release.step], release.reason
    said = release.happened[-1].text if release.happened else ""
    if release.step is Step.ABORTED:
        state = "release_aborted" if reason in _WELL_BACK else "release_not_undone"
        said = release.detail
    if release.step is Step.WAITING:
        reason = Reason.AWAITING_APPROVAL
    if release.open and release.step is not Step.ABORTING:
        if release.held is not None:
            state, reason, said = "release_held", release.held.reason, _held(release.held)
        elif release.told is not None:
            state, reason, said = "release_troubled", release.told, release.trouble
    return state, reason, about(reason).tell or Severity.INFO, f"{release.version}: {said}"


def _held(held: Hold) -> str:
    return f"{held.by} paused it: {held.detail}" if held.by else held.detail


def log(release: Release, namespace: str, deployment: str, now: datetime) -> str:
    """Return the deployment log of a release, in the form of the rollout plan's template."""
    ended = now if release.open else release.step_at
    lines = [
        f"# Deployment: {_said(release.version)} - {release.opened_at.astimezone(UTC):%Y-%m-%d}",
        "",
        f"**Deployed By:** {_said(release.by)}  ",
        f"**Deploy Time:** {_clock(release.opened_at)}  ",
        f"**Deployment:** {_said(f'{namespace}/{deployment}')} ({release.id})  ",
        f"**Stage:** {_said(release.present.name)} ({release.present.percent} %)  ",
        f"**State:** {release.step.value}, {_span(ended - release.opened_at)} in all",
        "",
        "**Images:**",
        *(f"- {_said(name)}: {_said(image)}" for name, image in release.images),
        "",
        "**Health Checks:**",
        *_measures(release),
        "",
        f"**Issues:** {_issues(release)}",
        "",
        f"**Rollback:** {_rollback(release)}",
        "",
        "**Approvals:**",
        *_approvals(release),
        "",
    ]
    for when, title in (("before", "Pre-Deployment"), ("after", "Post-Deployment")):
        items = [item for item in release.plan.checklist if item.when == when]
        if items:
            lines += [f"**{title} Checklist:**", *map(_item, items), ""]
    lines += ["**Notes:**", *(f"- {_clock(h.at)}: {_said(h.text)}" for h in release.happened), ""]
    return "\n".join(lines)


def _measures(release: Release) -> list[str]:
    found = [
        f"- {_said(m.name)}: {m.state}, {_said(m.text)} ({_clock(m.at)})" for m in release.measures
    ]
    return found or ["- none measured"]


def _approvals(release: Release) -> list[str]:
    found = [
        f"- {_said(release.plan.stages[a.stage].name)}: {_said(a.by)} ({_said(a.role)}), "
        f"{_clock(a.at)}{f': {_said(a.why)}' if a.why else ''}"
        for a in release.approvals
    ]
    return found or ["- none"]


def _issues(release: Release) -> str:
    if release.held is not None:
        return f"{about(release.held.reason).text} {_said(_held(release.held))}".rstrip()
    return _said(release.trouble) or "None"


def _rollback(release: Release) -> str:
    if release.step not in (Step.ABORTING, Step.ABORTED):
        return "No"
    return f"Yes - {about(release.reason).text} {_said(release.detail)}".rstrip()


def _item(item: Item) -> str:
    box = "x" if item.done else " "
    seen = f" ({_said(item.by)}, {_clock(item.at)})" if item.at is not None else ""
    return f"- [{box}] {_said(item.text)}{seen}{f': {_said(item.note)}' if item.note else ''}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def _span(lasting: timedelta) -> str:
    minutes = max(0, lasting // timedelta(minutes=1))
    return f"{minutes // 60} h {minutes % 60:02d} min"


# What CommonMark and its GitHub flavour read: marks, a number that begins a list, bare links.
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+!|~&$-]|(?<=:)//|(?<=www)\.)", re.IGNORECASE)
_NUMBER = re.compile(r"^(\d+)\.")


def _said(text: str) -> str:
    """Return text of others on one line, with nothing in it that Markdown or HTML would read."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _NUMBER.sub(r"\1\\.", _MARKUP.sub(r"\\\1", line))
