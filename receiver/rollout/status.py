"""How far a rollout is."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from receiver.rollout.reading import DEADLINE_DEFAULT, Progressing, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rollout is. `failed`: the controller says that the deadline has passed."""

    state: Literal["waiting", "done", "failed"]
    text: str


def progress(rollout: Rollout, generation: int, before: Progressing | None) -> Progress:
    """Judge a rollout as `kubectl rollout status` does, in its order (rollout_status.go).

    `generation` is the one our patch answered. A `ProgressDeadlineExceeded` identical to the one
    seen `before` the patch belongs to the rollout that was undone; kubectl stumbles over it.
    """
    if rollout.observed_generation < max(generation, rollout.generation):
        return Progress(state="waiting", text="waiting for the controller to see the change")
    exceeded = rollout.progressing
    if exceeded and exceeded.reason == "ProgressDeadlineExceeded" and exceeded != before:
        return Progress(state="failed", text="the rollout exceeded its progress deadline")
    if rollout.updated < rollout.desired:
        text = f"{rollout.updated} of {rollout.desired} replicas are updated"
    elif rollout.replicas > rollout.updated:
        text = f"{rollout.replicas - rollout.updated} old replicas are pending termination"
    elif rollout.available < rollout.updated:
        text = f"{rollout.available} of {rollout.updated} updated replicas are available"
    else:
        return Progress(state="done", text=f"{rollout.updated} replicas are updated and available")
    return Progress(state="waiting", text=text)


def patience(rollout: Rollout, margin: timedelta) -> timedelta:
    """Return how long we wait for a rollout: the controller may never re-arm its own deadline."""
    base = rollout.deadline or timedelta(seconds=DEADLINE_DEFAULT)
    return base + rollout.min_ready + margin
