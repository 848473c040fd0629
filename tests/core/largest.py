"""Journals as full of the longest texts as what writes them lets them become.

`text` is of which characters: those that take most bytes in JSON, for most texts, are of four.
"""

from dataclasses import replace

from receiver.controller.remember import REFUSED_TOGETHER, TEXT, URL
from receiver.journal import (
    DEAD_KEPT,
    EPISODES_KEPT,
    HANDLED_KEPT,
    INCIDENTS_KEPT,
    MEMBERS_KEPT,
    NOTICES_KEPT,
    REHEARSALS_KEPT,
    REPLIES_KEPT,
    SAID,
    TOLD_KEPT,
    TROUBLED_KEPT,
    VERIFIED_KEPT,
    Applied,
    Approval,
    Dead,
    Happened,
    HealthCheck,
    Hold,
    Intent,
    Item,
    Journal,
    Mark,
    Measure,
    Notice,
    Owed,
    Pause,
    Phase,
    Plan,
    Rehearsal,
    Release,
    Reply,
    Stage,
    Step,
    Told,
    member,
)
from receiver.journal.bounds import ABORTED_KEPT
from receiver.journal.releases import HAPPENED_KEPT, LINE
from receiver.reasons import Reason, Severity
from tests.builders import T0, UID, code, episode, incident, iso, journal, mark

FOUR = "\U0001f525"
# What nobody has looked at yet, such as the text of the switch: six bytes in JSON.
UNSEEN = "\x01"
SINKS = ("s" * 62 + "1", "s" * 62 + "2")
# The most containers that a person may ask for images of, and the longest image.
IMAGES = tuple((f"{'c' * 61}{n:02}", "i" * 500) for n in range(50))


def largest(release: Release | None = None, text: str = FOUR) -> Journal:
    """Return the journal of a target."""
    some = episode(seen=0)
    episodes = [
        replace(
            some,
            fingerprint=f"{n:016x}",
            code=f"{n:016x}",
            alertname=text * 200,
            track=UNSEEN * 253,
            summary=text * TEXT,
            description=text * TEXT,
            runbook_url="u" * URL,
            dashboard_url="u" * URL,
            generator_url="u" * URL,
            external_url="u" * URL,
            labels=tuple((f"l{m:03}", text * 240) for m in range(8)),
        )
        for n in range(EPISODES_KEPT + 20)
    ]
    bad, to = (replace(mark(tag), images=IMAGES) for tag in ("v3", "v2"))
    incidents = [
        replace(
            incident("v3", Phase.RECOVERED, id_=f"inc-{n:012}", applied=-1, detail=text * 300),
            bad=bad,
            to=to,
            intent=Intent(id="x" * 36, to=to, generation=7, at=T0),
            why=text * 500,
            actor=text * 200,
        )
        for n in range(INCIDENTS_KEPT + 5)
    ]
    notices = tuple(
        replace(
            notice(f"ref-{n:012}"),
            episodes=tuple(f"{n * 100 + m:016x}" for m in range(REFUSED_TOGETHER)),
            detail=text * 300,
        )
        for n in range(NOTICES_KEPT + 5)
    )
    subjects = [*(i.id for i in incidents), *(n.subject for n in notices)]
    return journal(
        *episodes,
        *incidents,
        incident("v3", id_="inc-open", detail=text * 300),
        Pause(by=text * 200, why=text * 500, at=T0),
        notices=notices,
        owed=tuple(
            Owed(subject=s, sink=k, since=T0, not_before=T0) for s in subjects for k in SINKS
        ),
        dead=tuple(
            Dead(
                subject=f"ref-{n:012}",
                sink=SINKS[0],
                state="x" * 20,
                severity=Severity.CRITICAL,
                at=T0,
                why="w" * 200,
            )
            for n in range(DEAD_KEPT)
        ),
        told=tuple(
            Told(subject=f"ref-{n:012}", sink=SINKS[0], state="x" * 20, at=T0, mark="m" * 50)
            for n in range(TOLD_KEPT)
        ),
        replies=tuple(
            Reply(key=text * 200, digest="d" * 64, status=409, at=T0, text=text * 500, reason="r")
            for _ in range(REPLIES_KEPT)
        ),
        rehearsals=tuple(
            Rehearsal(
                alertname=text * 200,
                fingerprint=f"{n:016x}",
                starts_at=T0,
                uid=UID,
                code=code("v3"),
                at=T0,
            )
            for n in range(REHEARSALS_KEPT)
        ),
        verified=_codes(VERIFIED_KEPT),
        aborted=_codes(ABORTED_KEPT),
        handled=_codes(HANDLED_KEPT),
        troubled=tuple((*each, T0) for each in _codes(TROUBLED_KEPT)),
        cleared=tuple(f"{n:016x}" for n in range(50)),
        release=release,
    )


def largest_own(text: str = FOUR) -> Journal:
    """Return the receiver's own journal, after a day of storms."""
    members = tuple(f"{n:016x}" for n in range(MEMBERS_KEPT))
    tally = tuple((text * 190 + f"{n:010}", 1_000) for n in range(20))
    storms = tuple(
        replace(
            notice(f"many-{n:012}"),
            state="firing",
            members=() if n > 1 else tuple(member(m, T0) if n else m for m in members),
            tally=(*tally, ("others", 1_000)),
            sinks=SINKS,
        )
        for n in reversed(range(NOTICES_KEPT))
    )
    one = largest(text=text)
    return Journal(episodes=one.episodes, notices=storms, owed=one.owed[:100], told=one.told)


def notice(subject: str) -> Notice:
    """Return a notice with the longest names."""
    return Notice(
        subject=subject,
        state="refused",
        reason=Reason.NO_TARGET,
        severity=Severity.WARNING,
        at=T0,
        started_at=T0,
        namespace="n" * 63,
        deployment="d" * 253,
    )


def largest_release(step: Step = Step.WATCHING, text: str = FOUR) -> Release:
    """Return a release that everybody has, in the step."""
    plan = _plan(text)
    return Release(
        id="rel-000000000000",
        plan=plan,
        version=text * SAID,
        uid=UID,
        canary="c" * 253,
        canary_uid=UID,
        canary_before=code("v1"),
        code=code("v3"),
        base=code("v2"),
        images=IMAGES,
        by=text * 200,
        opened_at=T0,
        step=step,
        step_at=T0,
        reason=Reason.RELEASING,
        why=text * SAID,
        stage=len(plan.stages) - 1,
        replicas=10**6,
        generation=10**9,
        stale=("ProgressDeadlineExceeded", iso(T0)),
        trouble=UNSEEN * SAID,
        trouble_at=T0,
        told=Reason.RELEASE_UNHEALTHY,
        held=Hold(reason=Reason.RELEASE_HELD, at=T0, by=text * 200, detail=text * SAID),
        approvals=tuple(
            Approval(stage=number, role=role, by=text * 200, at=T0, why=text * SAID)
            for number, stage in enumerate(plan.stages)
            for role in stage.approvals
        ),
        measures=tuple(
            Measure(name=each.name, state="failing", text=text * SAID, at=T0)
            for each in plan.health_checks
        ),
        intent=Intent(id="x" * 36, to=_mark(), generation=1, at=T0),
        applied=Applied(at=T0, generation=2, until=T0),
        promoted=code("v3"),
        detail=text * SAID,
        happened=tuple(
            Happened(at=T0, text=f"{n:03}" + text * (LINE - 3)) for n in range(HAPPENED_KEPT)
        ),
    )


def deciding(release: Release | None) -> Release | None:
    """Return all of a release that anything is decided by."""
    if release is None:
        return None
    checklist = tuple(replace(item, note="") for item in release.plan.checklist)
    return replace(
        release,
        plan=replace(release.plan, checklist=checklist),
        why="",
        approvals=tuple(replace(a, why="") for a in release.approvals),
        measures=tuple(replace(m, text="") for m in release.measures),
        happened=(),
    )


def _plan(text: str) -> Plan:
    """Return a plan of the most stages, approvals, health checks and lines (`config.plans`)."""
    roles = tuple(f"{'r' * 61}{n:02}" for n in range(25))
    return Plan(
        name=text * 100,
        stages=tuple(
            Stage(
                name=text * 98 + f"{n:02}",
                percent=100 if n == 9 else n + 1,
                approvals=roles if n in (8, 9) else (),
            )
            for n in range(10)
        ),
        health_checks=tuple(
            HealthCheck(name=text * 98 + f"{n:02}", alert=text * 100) for n in range(20)
        ),
        checklist=tuple(
            Item(
                id=f"{'i' * 38}{n:02}",
                text=text * 200,
                when="before" if n % 2 else "after",
                by=text * 200,
                at=T0,
                note=text * SAID,
            )
            for n in range(50)
        ),
    )


def _mark() -> Mark:
    return replace(mark("v3"), images=IMAGES)


def _codes(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((UID, f"{n:016x}") for n in range(count))
