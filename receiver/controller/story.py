"""What a journal says about a subject now: the story a sink is given. Pure."""

from datetime import timedelta

from receiver.journal import Episode, Incident, Journal, Mark, Notice, Phase
from receiver.messages import AlertLine, RevisionLine, Story
from receiver.reasons import louder

ALERTS_TOLD = 10


def story_of(
    journal: Journal, subject: str, cluster: str, verify_within: timedelta
) -> Story | None:
    """Return the story of a subject as it is now; None when it was dropped meanwhile."""
    if (incident := journal.incident(subject)) is not None:
        return _of_incident(journal, incident, cluster, verify_within)
    notice = next((n for n in journal.notices if n.subject == subject), None)
    return None if notice is None else _of_notice(journal, notice, cluster)


def _of_incident(
    journal: Journal, incident: Incident, cluster: str, verify_within: timedelta
) -> Story:
    episodes = journal.episodes_of(incident.uid, incident.bad.code)
    severity = incident.severity
    for episode in episodes:
        severity = louder(severity, episode.severity)
    until = incident.completed_at
    return Story(
        subject=incident.id,
        state=incident.phase,
        reason=incident.reason,
        severity=severity,
        cluster=cluster,
        namespace=journal.namespace,
        deployment=journal.deployment,
        at=incident.phase_at,
        started_at=incident.opened_at,
        alerts=_lines(episodes),
        bad=_revision(incident.bad),
        good=_revision(incident.to) if incident.to is not None else None,
        actor=incident.actor,
        why=incident.why,
        detail=incident.detail,
        until=until + verify_within if until and incident.phase is Phase.VERIFYING else None,
    )


def _of_notice(journal: Journal, notice: Notice, cluster: str) -> Story:
    episodes = tuple(e for e in journal.episodes if e.fingerprint in notice.episodes)
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
        detail=notice.detail,
    )


def _lines(episodes: tuple[Episode, ...]) -> tuple[AlertLine, ...]:
    ordered = sorted(episodes, key=lambda e: (not e.firing, e.starts_at, e.fingerprint))
    return tuple(
        AlertLine(
            alertname=e.alertname,
            severity=e.severity,
            starts_at=e.starts_at,
            firing=e.firing,
            summary=e.summary,
            description=e.description,
            runbook_url=e.runbook_url,
            dashboard_url=e.dashboard_url,
            generator_url=e.generator_url,
        )
        for e in ordered[:ALERTS_TOLD]
    )


def _revision(mark: Mark) -> RevisionLine:
    return RevisionLine(
        number=mark.number, hash=mark.hash, images=mark.images, created_at=mark.created_at
    )
