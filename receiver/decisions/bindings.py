"""Which revision an alert is about: the one it names, else the one that ran. Pure."""

from datetime import datetime, timedelta

from receiver import rollout as ro
from receiver.journal import Incident, Journal
from receiver.rollout import Rollout

# The reason of `Progressing` when a rollout is complete (k/k deployment/util).
COMPLETE = "NewReplicaSetAvailable"
# Two clocks that are so close count as right, both.
CLOSE = timedelta(minutes=5)


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


def _served_from(incident: Incident, rollout: Rollout) -> datetime:
    """Return since when the destination of a rollback of ours has served all traffic.

    All else here are moments of the API server. Where ours is far from what the Deployment itself
    says of its last rollout, some clock is off, and theirs counts.
    """
    ours = incident.completed_at or incident.phase_at
    said = rollout.progressing
    current = incident.to is not None and rollout.code == incident.to.code
    if current and said is not None and said.reason == COMPLETE and said.updated_at:
        theirs = datetime.fromisoformat(said.updated_at)
        # Without replicas nothing progresses: then the condition is of an earlier rollout.
        if theirs >= incident.bad.created_at and abs(ours - theirs) >= CLOSE:
            return theirs
    # Whatever our clock said: the bad one was made before it was left.
    return max(ours, incident.bad.created_at)


def _ran_at(rollout: Rollout, journal: Journal, moment: datetime) -> str:
    """Return the code that served at `moment`.

    A rollback of ours counts from its completion: until then the bad pods serve, too. When a person
    brought an old ReplicaSet back, no object says when; it cannot have been before the last event.
    """
    # Lowest number first: the API server counts whole seconds, and two may be of the same one.
    events = [(revision.created_at, revision.code) for revision in reversed(rollout.revisions)]
    ours = [i for i in journal.incidents if i.uid == rollout.uid and i.left]
    events += [
        (_served_from(incident, rollout), incident.to.code)
        for incident in ours
        if incident.to is not None and (not incident.open or incident.completed_at is not None)
    ]
    events.sort(key=lambda event: event[0])
    last_at, last_code = events[-1]
    unfinished = any(i.open and i.completed_at is None for i in ours)
    if moment >= last_at and last_code != rollout.code and not unfinished:
        return rollout.code
    return next((code for at, code in reversed(events) if at <= moment), "")
