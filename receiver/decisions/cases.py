"""What a decision looks at and what it is: policy, case, look, decision. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from receiver.alerts import ASSUMED_FOR, Matcher
from receiver.freeze import Window
from receiver.journal import Episode, Journal, Release
from receiver.ledger import Breaker, Budgets, Ledger
from receiver.reasons import Reason
from receiver.rollout import Revision, Rollout

Mode: TypeAlias = Literal["shadow", "act"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How careful to be. All spans are positive."""

    mode: Mode = "shadow"
    alert_modes: tuple[tuple[str, Mode], ...] = ()
    settle: timedelta = timedelta(seconds=10)
    window: timedelta = timedelta(hours=2)
    cooldown: timedelta = timedelta(minutes=10)
    verify_within: timedelta = timedelta(minutes=10)
    bake: timedelta = timedelta(minutes=30)
    verify_after: timedelta = timedelta(hours=24)
    target: Literal["previous", "verified"] = "previous"
    assumed_for: timedelta = ASSUMED_FOR
    inherited_after: timedelta = timedelta(minutes=10)
    observe_within: timedelta = timedelta(minutes=1)
    rollout_margin: timedelta = timedelta(seconds=60)
    gitops: Literal["refuse", "act"] = "refuse"
    matchers: tuple[tuple[Matcher, ...], ...] = ()
    budgets: Budgets = Budgets()
    breaker: Breaker | None = Breaker()
    freeze: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that a decision about one episode looks at.

    `fresh`: the episode was not known before. `own`: the incident that is being decided again, and
    so does not stand in its own way. `stopped` says why automation is stopped, "" when it is not.
    `ledger`: how much is going on in the whole cluster. `release`: the staged release of this
    Deployment, or of the one that it is the canary of; in progress, or the last.
    """

    rollout: Rollout
    journal: Journal
    episode: Episode
    policy: Policy
    now: datetime
    stopped: str = ""
    ledger: Ledger = Ledger()
    release: Release | None = None
    fresh: bool = True
    own: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done and why. `to`: where to roll back to. `due`: when to decide again."""

    reason: Reason
    to: Revision | None = None
    due: datetime | None = None
    detail: str = ""

    @property
    def final(self) -> bool:
        """Return whether this refusal holds for the whole episode, whatever changes."""
        return self.reason in FINAL


# Refusals by a guard: lifting the guard must never fire a late shot.
FINAL = frozenset(
    {
        Reason.STOPPED,
        Reason.PAUSED,
        Reason.PROTECTED,
        Reason.FROZEN,
        Reason.HUMAN_IN_CHARGE,
        Reason.BUDGET_SPENT,
        Reason.BREAKER_OPEN,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to see of one target. `rollout` None: there is no such Deployment.

    `release` as in `Case`.
    """

    rollout: Rollout | None
    journal: Journal
    policy: Policy
    now: datetime
    stopped: str = ""
    ledger: Ledger = Ledger()
    release: Release | None = None
