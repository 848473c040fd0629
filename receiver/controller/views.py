"""What people are shown of a target and its incidents: plain JSON. Pure."""

from datetime import datetime, timedelta

from receiver import rollout as ro
from receiver.controller.answers import Json
from receiver.decisions import quarantined
from receiver.journal import Dead, Incident, Journal, Mark, Release, Step
from receiver.reasons import about
from receiver.release import FULL, pods, share_of
from receiver.rollout import Revision, Rollout


def of_deployment(rollout: Rollout, journal: Journal, now: datetime) -> Json:
    """Return one Deployment: the current revision, the history with marks, its incidents."""
    return of_summary(rollout, journal, now) | {
        "generation": rollout.generation,
        "history": [_revision(r, rollout, journal, now) for r in rollout.revisions],
        "incidents": [of_incident(i, journal) for i in reversed(journal.incidents)],
        "alerts": [
            {
                "alertname": e.alertname,
                "starts_at": e.starts_at.isoformat(),
                "asks_for_rollback": e.asks,
                "revision_hash": _hash_of(rollout, e.code),
                "reason": e.reason,
            }
            for e in journal.episodes
            if e.firing
        ],
        "dead_letters": [_dead(dead) for dead in reversed(journal.dead)],
    }


def _dead(dead: Dead) -> Json:
    return {
        "incident": dead.subject,
        "sink": dead.sink,
        "state": dead.state,
        "severity": dead.severity,
        "at": dead.at.isoformat(),
        "why": dead.why,
    }


def of_summary(rollout: Rollout, journal: Journal, now: datetime) -> Json:
    """Return one Deployment in short."""
    current = rollout.current
    flight = journal.in_flight
    return {
        "namespace": rollout.namespace,
        "name": rollout.name,
        "enabled": rollout.labels.get(ro.ENABLED) == "true",
        "automation_paused": journal.pause is not None,
        "protected": rollout.annotations.get(ro.PROTECTED),
        "current": _revision(current, rollout, journal, now) if current is not None else None,
        "rollout": ro.progress(rollout, 0, None).text,
        "incident": flight.id if flight is not None else None,
        "release": journal.released.id if journal.released is not None else None,
    }


def _revision(revision: Revision, rollout: Rollout, journal: Journal, now: datetime) -> Json:
    suspects = journal.suspects(rollout.uid, now)
    marks = [
        word
        for word, holds in (
            ("current", rollout.current is not None and revision.uid == rollout.current.uid),
            ("quarantined", revision.code in quarantined(rollout, journal)),
            ("suspect", revision.code in suspects),
            ("verified", revision.code in journal.soaked(rollout.uid)),
            ("same_code_as_current", revision.code == rollout.code),
            ("reactivated", bool(revision.history)),
        )
        if holds
    ]
    return {
        "revision": revision.number,
        "hash": revision.hash,
        "images": [{"container": name, "image": image} for name, image in revision.images],
        "created_at": revision.created_at.isoformat(),
        "age_seconds": round((now - revision.created_at).total_seconds()),
        "replicas": revision.replicas,
        "change_cause": revision.cause[:500],
        "marks": marks,
    }


def of_incident(incident: Incident, journal: Journal) -> Json:
    """Return one incident, whole."""
    return {
        "id": incident.id,
        "namespace": journal.namespace,
        "deployment": journal.deployment,
        "phase": incident.phase,
        "open": incident.open,
        "reason": incident.reason,
        "text": about(incident.reason).text,
        "detail": incident.detail,
        "by": incident.actor or "rollback-receiver",
        "why": incident.why,
        "from": _mark(incident.bad),
        "to": _mark(incident.to) if incident.to is not None else None,
        "opened_at": incident.opened_at.isoformat(),
        "phase_at": incident.phase_at.isoformat(),
        "applied_at": incident.applied.at.isoformat() if incident.applied else None,
        "completed_at": incident.completed_at.isoformat() if incident.completed_at else None,
        "alerts": sorted(
            {e.alertname for e in journal.episodes_of(incident.uid, incident.bad.code)}
        ),
        "notices_owed": sorted(o.sink for o in journal.owed if o.subject == incident.id),
    }


def _mark(mark: Mark) -> Json:
    return {
        "revision": mark.number,
        "hash": mark.hash,
        "images": [{"container": name, "image": image} for name, image in mark.images],
    }


def _hash_of(rollout: Rollout, code: str) -> str:
    return next((r.hash for r in rollout.revisions if r.code == code), "")


def of_release(release: Release, now: datetime) -> Json:
    """Return one staged release, whole."""
    stage = release.present
    whole = release.plan.watch if stage.percent >= FULL else stage.soak
    left = max(whole - release.soaked, timedelta(0)) if release.open else timedelta(0)
    return {
        "id": release.id,
        "plan": release.plan.name,
        "version": release.version,
        "images": [{"container": name, "image": image} for name, image in release.images],
        "by": release.by,
        "why": release.why,
        "open": release.open,
        "step": release.step,
        "stage": stage.name,
        "percent": stage.percent,
        "canary": release.canary,
        "canary_replicas": release.replicas,
        "opened_at": release.opened_at.isoformat(),
        "step_at": release.step_at.isoformat(),
        "age_seconds": round((now - release.opened_at).total_seconds()),
        "soaked_seconds": round(release.soaked.total_seconds()),
        "soak_left_seconds": round(left.total_seconds()),
        "healthy": not release.trouble,
        "trouble": release.trouble,
        "held": _hold(release),
        "waits_for": list(_waits_for(release)),
        "reason": release.reason,
        "text": about(release.reason).text,
        "detail": release.detail,
        "health_checks": [
            {"name": m.name, "state": m.state, "text": m.text, "at": m.at.isoformat()}
            for m in release.measures
        ],
        "approvals": [
            {
                "stage": release.plan.stages[a.stage].name,
                "role": a.role,
                "by": a.by,
                "at": a.at.isoformat(),
                "why": a.why,
            }
            for a in release.approvals
        ],
        "checks": [
            {
                "id": item.id,
                "text": item.text,
                "when": item.when,
                "done": item.done,
                "by": item.by,
                "at": item.at.isoformat() if item.at is not None else None,
                "note": item.note,
            }
            for item in release.plan.checklist
        ],
        "story": [{"at": h.at.isoformat(), "text": h.text} for h in release.happened],
    }


def of_stages(release: Release, stable: int) -> list[Json]:
    """Return what each stage would be with so many stable pods: its pods, and the share they get.

    The share is that of the pods, to one tenth of a percent.
    """
    found: list[Json] = []
    for stage in release.plan.stages:
        full = stage.percent >= FULL
        count = 0 if full else pods(stable, stage.percent)
        share = float(FULL) if full else round(share_of(stable, count), 1)
        found.append(
            {
                "name": stage.name,
                "percent": stage.percent,
                "canary_replicas": count,
                "share_percent": share,
                "soak_seconds": stage.soak.total_seconds(),
                "approvals": list(stage.approvals),
            }
        )
    return found


def _hold(release: Release) -> Json | None:
    held = release.held
    if held is None:
        return None
    return {
        "reason": held.reason,
        "text": about(held.reason).text,
        "detail": held.detail,
        "by": held.by,
        "at": held.at.isoformat(),
    }


def _waits_for(release: Release) -> tuple[str, ...]:
    """Return what people have to do for it to go on: roles to approve, lines to tick."""
    if release.step is Step.PREPARING:
        return tuple(item.id for item in release.unticked("before"))
    return release.lacking(release.stage + 1) if release.step is Step.WAITING else ()
