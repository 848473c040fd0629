"""Where to roll back to, and where never. Pure."""

from datetime import datetime

from receiver import rollout as ro
from receiver.decisions.cases import Policy
from receiver.journal import Journal
from receiver.rollout import Revision, Rollout


def quarantined(rollout: Rollout, journal: Journal) -> frozenset[str]:
    """Return the codes that we, or as far as it shows a person, rolled away from."""
    by_people = ro.left_by_undo(rollout) - journal.spared(rollout.uid)
    return journal.quarantined(rollout.uid) | by_people


def excluded(rollout: Rollout, journal: Journal, now: datetime) -> frozenset[str]:
    """Return the codes that nothing is ever rolled back to by itself."""
    return quarantined(rollout, journal) | frozenset(journal.suspects(rollout.uid, now))


def goal(rollout: Rollout, journal: Journal, policy: Policy, now: datetime) -> Revision | None:
    """Return where to roll back to: the highest revision that is not excluded.

    If the policy says so, the highest verified one; and where there is none, any other.
    """
    bad = excluded(rollout, journal, now)
    if policy.target == "verified":
        unproven = {r.code for r in rollout.revisions} - journal.soaked(rollout.uid)
        if (found := ro.destination(rollout, bad | unproven)) is not None:
            return found
    return ro.destination(rollout, bad)


def why_none(rollout: Rollout) -> str:
    """Say why there is no destination: a short history reads otherwise than a bad one."""
    others = [r for r in rollout.revisions if r.code != rollout.code]
    if not others:
        return "no rollout history: the Deployment has no revision of other code"
    return f"none of {len(others)} other revisions is free of quarantine and alerts"
