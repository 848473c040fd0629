"""Which revisions are verified: current for `verify_after`, and no alert asked to leave them. Pure.

There is no loop over all targets. It is found out from the ReplicaSets whenever a target is looked
at to decide something, and kept in the journal, for the objects do not say it for ever.

Limits: that a rollout was complete is seen of the current revision only; and no alert from before
this service, or one that it was not sent, is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from receiver import rollout as ro
from receiver.journal import VERIFIED_KEPT, Journal
from receiver.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A time during which one code was current."""

    code: str
    began: datetime
    ended: datetime


def noticed(journal: Journal, rollout: Rollout, verify_after: timedelta, now: datetime) -> Journal:
    """Return a journal with the verified revisions marked, and no mark on what alerted since."""
    uid = rollout.uid
    bad = journal.quarantined(uid) | {
        e.code for e in journal.episodes if e.asks and e.uid == uid and e.code
    }
    soaked = {
        (uid, term.code)
        for term in terms(rollout, journal, now)
        if term.ended - term.began >= verify_after
        and _asked_until(journal, uid, term.code, now) <= term.ended - verify_after
    }
    kept = [mark for mark in journal.verified if mark[0] != uid or mark[1] not in bad]
    fresh = sorted(mark for mark in soaked if mark[1] not in bad and mark not in kept)
    verified = (*kept, *fresh)[-VERIFIED_KEPT:]
    return journal if verified == journal.verified else replace(journal, verified=verified)


def _asked_until(journal: Journal, uid: str, code: str, now: datetime) -> datetime:
    """Return until when an alert is known to have asked to leave a code; long ago for never."""
    known = [e.ends_at or now for e in journal.episodes_of(uid, code)]
    known += [at for asked_uid, asked, at in journal.troubled if (asked_uid, asked) == (uid, code)]
    return max(known, default=datetime.min.replace(tzinfo=now.tzinfo))


def terms(rollout: Rollout, journal: Journal, now: datetime) -> Iterator[Term]:
    """Yield the times of which the objects say that one code was current, siblings as one.

    Of a ReplicaSet that was brought back only our own journal may know when that was: else its
    time has no beginning, nor has the one before it an end.
    """
    began: datetime | None = None
    rising = tuple(reversed(rollout.revisions))
    for revision, after in zip(rising, (*rising, None)[1:], strict=True):
        if began is None:
            began = _activated(revision, rollout, journal)
        if after is not None and after.code == revision.code:
            continue
        ended: datetime | None
        if after is None:
            complete = ro.progress(rollout, 0, None).state == "done"
            current = revision.code == rollout.code
            ended = now if current and complete else None
        elif after.number == revision.number + 1:
            ended = _activated(after, rollout, journal)
        else:
            ended = None  # one that is gone, or was brought back later, came in between
        if began is not None and ended is not None:
            yield Term(code=revision.code, began=began, ended=ended)
        began = None


def _activated(revision: ro.Revision, rollout: Rollout, journal: Journal) -> datetime | None:
    """Return when a ReplicaSet became current (the last time), None when nobody knows."""
    if not revision.history:
        return revision.created_at
    ours = [
        i.completed_at
        for i in journal.incidents
        if i.uid == rollout.uid and i.to is not None and i.to.uid == revision.uid
    ]
    return max((at for at in ours if at is not None), default=None)
