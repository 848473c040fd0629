"""What the history of a Deployment says: since when, what was left, where to go back to."""

from collections.abc import Collection
from datetime import datetime

from receiver.rollout.reading import Revision, Rollout


def release_started(rollout: Rollout) -> datetime | None:
    """Return when the current release began: when its oldest contiguous sibling was made.

    A restart of a release is no new release: it must not look younger than it is, nor hide it.
    """
    if rollout.current is None:
        return None
    started = rollout.current.created_at
    for revision in rollout.revisions:
        if revision.number > rollout.current.number:
            continue
        if revision.code != rollout.current.code:
            break
        started = min(started, revision.created_at)
    return started


def reactivated(rollout: Rollout, code: str) -> bool:
    """Return whether a revision of this code was ever left and brought back.

    The controller appends the old number to `revision-history` when it re-uses a ReplicaSet
    (pkg/controller/deployment/util SetNewReplicaSetAnnotations).
    """
    return any(revision.history for revision in rollout.siblings(code))


def left_by_undo(rollout: Rollout) -> frozenset[str]:
    """Return the codes that somebody rolled away from, as far as the ReplicaSets show it.

    An undo re-uses an old ReplicaSet and gives it the next number: whatever is numbered one below
    such a number was left for it, unless it has been brought back (and so renumbered) since.
    """
    activations = {
        number: revision.code
        for revision in rollout.revisions
        if revision.history
        for number in (*revision.history[1:], revision.number)
    }
    return frozenset(
        revision.code
        for revision in rollout.revisions
        if activations.get(revision.number + 1, revision.code) != revision.code
    )


def destination(rollout: Rollout, excluded: Collection[str]) -> Revision | None:
    """Return the highest revision that is neither the current code nor excluded."""
    return next(
        (r for r in rollout.revisions if r.code != rollout.code and r.code not in excluded), None
    )


def numbered(rollout: Rollout, number: int) -> Revision | None:
    """Return the revision whose *present* number it is; old numbers are not searched (kubectl)."""
    return next((r for r in rollout.revisions if r.number == number), None)


def hashed(rollout: Rollout, hash_: str) -> Revision | None:
    """Return the revision of a pod-template-hash."""
    return next((r for r in rollout.revisions if r.hash == hash_), None)
