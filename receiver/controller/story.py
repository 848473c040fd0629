"""What a journal says about a subject now: the story a sink is given. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from receiver.journal import Episode, Incident, Journal, Mark, Notice, Phase
from receiver.messages import AlertLine, RevisionLine, Site, Story
from receiver.reasons import louder

ALERTS_TOLD = 10
NOWHERE = Site()


def story_of(
    journal: Journal, subject: str, cluster: str, verify_within: timedelta, site: Site = NOWHERE
) -> Story | None:
    """Return the story of a subject as it is now; None when it was dropped meanwhile."""
    if (incident := journal.incident(subject)) is not None:
        return replace(_of_incident(journal, incident, cluster, verify_within), site=site)
    notice = journal.notice(subject)
    return None if notice is None else replace(_of_notice(journal, notice, cluster), site=site)


def _of_incident(
    journal: Journal, incident: Incident, cluster: str, verify_within: timedelta
) -> Story:
    episodes = journal.episodes_of(incident.uid, incident.bad.code)
    severity = incident.severity
    for episode in episodes:
        severity = louder(severity, episode.severity)
    completed = incident.completed_at
    return Story(
        subject=incident.id,
        state=incident.phase if incident.resolved_at is None else "resolved",
        reason=incident.reason,
        severity=severity,
        cluster=cluster,
        namespace=journal.namespace,
        deployment=journal.deployment,
        at=incident.resolved_at or incident.phase_at,
        started_at=_started_at(incident, episodes),
        alerts=_lines(episodes),
        more=max(len(episodes) - ALERTS_TOLD, 0),
        bad=_revision(incident.bad),
        good=_revision(incident.to) if incident.to is not None else None,
        applied_at=incident.applied.at if incident.applied is not None else None,
        completed_at=completed,
        undo_to=_undo_to(incident),
        actor=incident.actor,
        why=incident.why,
        detail=incident.detail,
        until=completed + verify_within
        if completed and incident.phase is Phase.VERIFYING
        else None,
    )


def _started_at(incident: Incident, episodes: tuple[Episode, ...]) -> datetime:
    """Return since when it is not well: what ended before the incident was another trouble."""
    opened = incident.opened_at
    began = [e.starts_at for e in episodes if e.ends_at is None or e.ends_at >= opened]
    return min([opened, *began])


def _undo_to(incident: Incident) -> int:
    """Return the number that the bad revision has now, 0 when there is nothing to undo.

    A rollback gives a new number to the revision it goes to, and to no other. The bad one keeps
    its number until somebody brings it back, which ends the incident; and it is kept itself: of the
    revisions that are not current it is the newest, and the oldest ones go first.
    """
    return incident.bad.number if incident.left else 0


def _of_notice(journal: Journal, notice: Notice, cluster: str) -> Story:
    episodes = _episodes_of(journal, notice)
    count = sum(number for _, number in notice.tally) if notice.bundle else len(episodes)
    return Story(
        subject=notice.subject,
        state=notice.state,
        reason=notice.reason,
        severity=notice.severity,
        cluster=cluster,
        namespace=notice.namespace,
        deployment=notice.deployment,
        at=notice.at,
        started_at=notice.started_at,
        alerts=_lines(episodes),
        more=max(count - min(len(episodes), ALERTS_TOLD), 0),
        tally=notice.tally,
        detail=notice.detail,
    )


def _episodes_of(journal: Journal, notice: Notice) -> tuple[Episode, ...]:
    """Return one episode for each alert of a notice: the one it was made for, else the newest."""
    found: dict[str, Episode] = {}
    for episode in journal.episodes:
        if episode.fingerprint not in notice.episodes:
            continue
        known = found.get(episode.fingerprint)
        if known is None or _fit(episode, notice) > _fit(known, notice):
            found[episode.fingerprint] = episode
    return tuple(found.values())


def _fit(episode: Episode, notice: Notice) -> tuple[bool, datetime]:
    return episode.starts_at == notice.started_at, episode.starts_at


def _lines(episodes: tuple[Episode, ...]) -> tuple[AlertLine, ...]:
    ordered = sorted(episodes, key=lambda e: (not e.firing, e.starts_at, e.fingerprint))
    return tuple(
        AlertLine(
            alertname=e.alertname,
            severity=e.severity,
            starts_at=e.starts_at,
            ends_at=e.ends_at,
            firing=e.firing,
            summary=e.summary,
            description=e.description,
            runbook_url=e.runbook_url,
            dashboard_url=e.dashboard_url,
            generator_url=e.generator_url,
            external_url=e.external_url,
            value=e.value,
            labels=e.labels,
            fingerprint=e.fingerprint,
        )
        for e in ordered[:ALERTS_TOLD]
    )


def _revision(mark: Mark) -> RevisionLine:
    return RevisionLine(
        number=mark.number, hash=mark.hash, images=mark.images, created_at=mark.created_at
    )
