"""Which revision an alert is about: the one it names, else the one that ran. Pure."""

from datetime import datetime

from receiver import rollout as ro
from receiver.journal import Journal
from receiver.rollout import Rollout


def binding(
    rollout: Rollout, journal: Journal, trouble_at: datetime, named: str, track: str
) -> str:
    """Return the code of the revision that an alert is about, "" when that cannot be known.

    The named revision; else the one that ran when the trouble began. A track that is not this
    Deployment's is about none of it; and while the current template has no ReplicaSet yet, nobody
    can say since when it has been current.
    """
    if track and track != rollout.track:
        return ""
    if named:
        if (revision := ro.hashed(rollout, named)) is not None:
            return revision.code
        marks = [i.bad for i in journal.incidents if i.uid == rollout.uid]
        return next((mark.code for mark in marks if mark.hash == named), "")
    if rollout.current is None:
        return ""
    return _ran_at(rollout, journal, trouble_at)


def _ran_at(rollout: Rollout, journal: Journal, moment: datetime) -> str:
    """Return the code that served at `moment`.

    A rollback of ours counts from its completion: until then the bad pods serve, too. When a person
    brought an old ReplicaSet back, no object says when; it cannot have been before the last event.
    """
    # Lowest number first: the API server counts whole seconds, and two may be of the same one.
    events = [(revision.created_at, revision.code) for revision in reversed(rollout.revisions)]
    ours = [i for i in journal.incidents if i.uid == rollout.uid and i.left]
    for incident in ours:
        if incident.to is not None and not incident.open:
            events.append((incident.completed_at or incident.phase_at, incident.to.code))
        elif incident.to is not None and incident.completed_at is not None:
            events.append((incident.completed_at, incident.to.code))
    events.sort(key=lambda event: event[0])
    last_at, last_code = events[-1]
    unfinished = any(i.open and i.completed_at is None for i in ours)
    if moment >= last_at and last_code != rollout.code and not unfinished:
        return rollout.code
    return next((code for at, code in reversed(events) if at <= moment), "")
