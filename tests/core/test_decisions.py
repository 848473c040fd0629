"""The decision table. Revisions: v1 and v2 are days old, v3 began five minutes before T0."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import rollout as ro
from receiver.decisions import (
    FINAL,
    TABLE,
    Ask,
    Case,
    Decision,
    binding,
    decide,
    decide_again,
    decide_manual,
    excluded,
    forceable,
    quarantined,
    why_none,
)
from receiver.freeze import Once
from receiver.journal import Episode, Incident, Journal, Pause, Phase
from receiver.ledger import Breaker, Budgets, Ledger, Opening, Reservation
from receiver.reasons import Manual, Reason, about
from receiver.rollout import Revision, Rollout
from tests.builders import (
    T0,
    UID,
    Counts,
    at,
    code,
    episode,
    hash_of,
    incident,
    iso,
    journal,
    look,
    policy,
    replicaset,
    rollout,
    three,
    undone,
)

PAUSE = Pause(by="ann", why="load test", at=at(-30))
NOTHING = Ledger()
FREEZE = Once(start=at(-60), end=at(600), why="black friday")
MASS = Ledger(opening=Opening(at=at(-3), last_at=at(-1), count=7, targets=("shop/api",)))
SPENT = Ledger().reserve("inc-0", "shop/checkout", at(-50))
BUSY = Ledger(
    reservations=tuple(
        Reservation(incident=f"inc-{n}", target=f"shop/{n}", at=at(-n)) for n in range(3)
    )
)
OTHER = "00000000000000b2"


def case(
    rollout_: Rollout | None = None,
    *remembered: Episode | Incident | Pause,
    episode_: Episode | None = None,
    now: datetime = T0,
    stopped: str = "",
    ledger: Ledger = NOTHING,
    fresh: bool = True,
    own: str = "",
    more: dict[str, Any] | None = None,
    **changes: Any,
) -> Case:
    """Return a case; its episode is in the journal, as it is before the table is asked."""
    asked = episode_ or episode()
    return Case(
        rollout=rollout_ or rollout(),
        journal=journal(*remembered, **(more or {})).with_episode(asked),
        episode=asked,
        policy=policy(**changes),
        now=now,
        stopped=stopped,
        ledger=ledger,
        fresh=fresh,
        own=own,
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: a case and what is decided. `to` is a number."""

    case: Case
    reason: Reason
    to: int | None = None
    due: float | None = None
    detail: str | None = None


def _under_way(tag: str, to: str) -> Incident:
    """Return an incident whose patch was sent half a minute ago."""
    return incident(tag, Phase.FOLLOWING, id_="inc-1", to=to, applied=-0.5)


def _left(tag: str = "v3", **changes: Any) -> Incident:
    """Return an incident whose bad revision was rolled away from, and which is over."""
    made: dict[str, Any] = {"opened": -61, "applied": -60, "completed": -58, "entered": -50}
    return incident(tag, Phase.RECOVERED, **(made | changes))


def _four(*, history: str = "", **deployment: Any) -> Rollout:
    """Return v4, two minutes old, after v3 was rolled back to v2."""
    return rollout(
        replicaset(1, "v1", created=-2880),
        replicaset(3, "v3", created=-70),
        replicaset(4, "v2", created=-1440, history="2"),
        replicaset(5, "v4", created=-3, history=history),
        tag="v4",
        **deployment,
    )


def _restarted() -> Rollout:
    """Return v3 restarted a minute ago, v3 itself being five hours old."""
    return rollout(
        replicaset(1, "v1", created=-2880),
        replicaset(2, "v2", created=-1440),
        replicaset(3, "v3", created=-300),
        replicaset(4, "v3", created=-1, restarted="now"),
        restarted="now",
    )


V4 = episode("v4", starts=-1)
ROWS: dict[str, Row] = {
    # 17
    "a new release that alerts is rolled back": Row(case=case(), reason=Reason.ROLLED_BACK, to=2),
    "past a quarantined revision": Row(
        case=case(_four(), _left(), episode_=V4), reason=Reason.ROLLED_BACK, to=4
    ),
    "past a suspect of before this release": Row(
        case=case(None, episode("v2", fingerprint=OTHER, starts=-600, ends=-500)),
        reason=Reason.ROLLED_BACK,
        to=1,
    ),
    "past a revision that a person left": Row(
        case=case(
            rollout(
                replicaset(3, "v1", created=-2880, history="1"),
                replicaset(2, "v2", created=-1440),
                replicaset(4, "v3", created=-5),
            )
        ),
        reason=Reason.ROLLED_BACK,
        to=3,
    ),
    "onto a revision whose quarantine was cleared": Row(
        case=case(None, _left("v2"), more={"cleared": (code("v2"),)}),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "a restart of a new release is that release": Row(
        case=case(
            rollout(*three(), replicaset(4, "v3", created=-1, restarted="now"), restarted="now"),
            episode_=episode(starts=-3),
        ),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "an incident that ended before a write does not stand in the way of a new episode": Row(
        case=case(None, incident("v3", Phase.REFUSED, reason=Reason.PAUSED)),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "nor when that new episode was deferred meanwhile": Row(
        case=case(
            None,
            incident("v3", Phase.REFUSED, reason=Reason.PAUSED),
            episode_=episode(reason=Reason.COOLDOWN, due=0),
            fresh=False,
        ),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "an incident does not stand in its own way": Row(
        case=case(None, incident(), own="inc-v3", fresh=False), reason=Reason.ROLLED_BACK, to=2
    ),
    # 3
    "an alert that the Deployment does not list": Row(
        case=case(rollout(annotations={ro.ALERTS: "Latency, Crashes"})),
        reason=Reason.ALERT_NOT_ALLOWED,
    ),
    "an empty list allows none": Row(
        case=case(rollout(annotations={ro.ALERTS: ""})), reason=Reason.ALERT_NOT_ALLOWED
    ),
    "a listed alert": Row(
        case=case(rollout(annotations={ro.ALERTS: "Latency, CheckoutErrors"})),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    # 5
    "an open incident": Row(
        case=case(None, incident()), reason=Reason.ALREADY_HANDLED, detail="inc-v3"
    ),
    "an open incident of which this episode is not the first": Row(
        case=case(None, incident(), fresh=False), reason=Reason.ALREADY_HANDLED, detail="inc-v3"
    ),
    "a repeat of an episode whose incident ended unwritten": Row(
        case=case(
            None,
            incident("v3", Phase.RESOLVED_BY_ITSELF),
            episode_=episode(reason=Reason.ROLLED_BACK),
            fresh=False,
        ),
        reason=Reason.ALREADY_HANDLED,
        detail="inc-v3",
    ),
    "a repeat of an episode that a guard refused, once the guard is lifted": Row(
        case=case(episode_=episode(reason=Reason.STOPPED), fresh=False),
        reason=Reason.ALREADY_HANDLED,
        detail="",
    ),
    "a revision that we left": Row(
        case=case(undone(), _left()), reason=Reason.ALREADY_HANDLED, detail="inc-v3"
    ),
    "a revision that we left, whose incident was dropped": Row(
        case=case(undone(), more={"handled": ((UID, code("v3")),)}),
        reason=Reason.ALREADY_HANDLED,
        detail="",
    ),
    "a handled code of another Deployment of that name": Row(
        case=case(more={"handled": (("another-uid", code("v3")),)}),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "a revision that we left and that is back": Row(
        case=case(None, _left()), reason=Reason.BAD_REVISION_RETURNED, detail="inc-v3"
    ),
    "a revision that is back, whose incident was dropped": Row(
        case=case(more={"handled": ((UID, code("v3")),)}),
        reason=Reason.BAD_REVISION_RETURNED,
        detail="",
    ),
    "a sibling of a revision that we left is back": Row(
        case=case(_restarted(), _left()), reason=Reason.BAD_REVISION_RETURNED, detail="inc-v3"
    ),
    "a revision that is back, after a rollback by hand was refused": Row(
        case=case(None, _left(), incident("v3", Phase.REFUSED, id_="man-v3", actor="ann")),
        reason=Reason.BAD_REVISION_RETURNED,
        detail="inc-v3",
    ),
    "a revision that is back, while a person rolls back": Row(
        case=case(None, _left(), incident("v3", id_="man-v3", actor="ann")),
        reason=Reason.ALREADY_HANDLED,
        detail="man-v3",
    ),
    # 7
    "another track": Row(
        case=case(episode_=episode("", track="canary")),
        reason=Reason.NOT_THIS_TRACK,
        detail="the alert says canary, the Deployment is stable",
    ),
    "the track of this Deployment": Row(
        case=case(rollout(labels={"track": "canary"}), episode_=episode(track="canary")),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "a named revision that is not current": Row(
        case=case(episode_=episode("v2", named=hash_of("v2"))),
        reason=Reason.REVISION_NOT_CURRENT,
        detail=hash_of("v2"),
    ),
    "a named revision that nobody knows": Row(
        case=case(episode_=episode("", named="gone")),
        reason=Reason.REVISION_NOT_CURRENT,
        detail="gone",
    ),
    "a named revision that is current": Row(
        case=case(episode_=episode(named=hash_of("v3"))), reason=Reason.ROLLED_BACK, to=2
    ),
    # 8
    "the switch": Row(case=case(stopped="night"), reason=Reason.STOPPED, detail="night"),
    "a paused target": Row(
        case=case(None, PAUSE), reason=Reason.PAUSED, detail="by ann: load test"
    ),
    "a protected Deployment": Row(
        case=case(rollout(annotations={ro.PROTECTED: "migrated\n" + "x" * 400})),
        reason=Reason.PROTECTED,
        detail="migrated " + "x" * 230 + "…",
    ),
    "a protected Deployment without a word": Row(
        case=case(rollout(annotations={ro.PROTECTED: ""})), reason=Reason.PROTECTED, detail=""
    ),
    "a freeze window": Row(
        case=case(freeze=(FREEZE,)), reason=Reason.FROZEN, detail="black friday"
    ),
    "a freeze window that is over": Row(
        case=case(freeze=(replace(FREEZE, end=T0),)), reason=Reason.ROLLED_BACK, to=2
    ),
    "somebody else's template during a rollback": Row(
        case=case(None, _under_way("v1", to="v2")), reason=Reason.HUMAN_IN_CHARGE, detail="inc-1"
    ),
    "our own template during a rollback": Row(
        case=case(None, _under_way("v2", to="v3")), reason=Reason.COOLDOWN, due=1 / 6
    ),
    # 9
    "a Deployment that is deleted": Row(case=case(rollout(deleting=True)), reason=Reason.DELETING),
    "a paused Deployment": Row(
        case=case(rollout(spec={"paused": True})), reason=Reason.DEPLOYMENT_PAUSED
    ),
    "a Deployment of a GitOps controller": Row(
        case=case(rollout(labels={"helm.toolkit.fluxcd.io/name": "a"})),
        reason=Reason.GITOPS_OWNED,
        detail="helm.toolkit.fluxcd.io/name",
    ),
    "a Deployment of a GitOps controller, when the policy is to act": Row(
        case=case(rollout(labels={"helm.toolkit.fluxcd.io/name": "a"}), gitops="act"),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "a controller that is behind is waited for": Row(
        case=case(rollout(observed=6)), reason=Reason.NOT_OBSERVED, due=2 / 60
    ),
    "a template without ReplicaSet is waited for": Row(
        case=case(rollout(tag="v4"), episode_=episode("")), reason=Reason.NOT_OBSERVED, due=2 / 60
    ),
    "a controller is waited for a minute": Row(
        case=case(
            rollout(observed=6),
            episode_=episode(reason=Reason.NOT_OBSERVED, seen=-0.99, due=0),
            fresh=False,
        ),
        reason=Reason.NOT_OBSERVED,
        due=2 / 60,
    ),
    "a controller that is behind for a minute is given up": Row(
        case=case(
            rollout(observed=6),
            episode_=episode(reason=Reason.NOT_OBSERVED, seen=-1, due=0),
            fresh=False,
        ),
        reason=Reason.NOT_OBSERVED,
    ),
    # 10
    "another rollback under way": Row(
        case=case(_four(), incident(), episode_=V4),
        reason=Reason.COOLDOWN,
        due=10 / 60,
        detail="inc-v3",
    ),
    "within the cooldown, which counts from completion": Row(
        case=case(_four(), _left(applied=-20, completed=-7, entered=-1), episode_=V4),
        reason=Reason.COOLDOWN,
        due=3,
        detail="inc-v3",
    ),
    "within the cooldown of a rollback that never completed": Row(
        case=case(
            _four(),
            incident("v3", Phase.ROLLOUT_FAILED, applied=-20, entered=-4),
            episode_=V4,
        ),
        reason=Reason.COOLDOWN,
        due=6,
        detail="inc-v3",
    ),
    "at the end of the cooldown a newer release is judged": Row(
        case=case(
            _four(),
            _left(applied=-20, completed=-10),
            episode_=replace(V4, reason=Reason.COOLDOWN, due=T0),
            fresh=False,
        ),
        reason=Reason.ROLLED_BACK,
        to=4,
    ),
    "at the end of the cooldown the good revision still alerts": Row(
        case=case(
            undone(),
            _left(applied=-20, completed=-10),
            episode_=episode("v2", reason=Reason.COOLDOWN, due=0),
            fresh=False,
        ),
        reason=Reason.ROLLBACK_DID_NOT_HELP,
        detail="inc-v3",
    ),
    "and keeps alerting": Row(
        case=case(
            undone(),
            _left(applied=-20, completed=-10),
            episode_=episode("v2", reason=Reason.ROLLBACK_DID_NOT_HELP),
            now=at(30),
            fresh=False,
        ),
        reason=Reason.ROLLBACK_DID_NOT_HELP,
        detail="inc-v3",
    ),
    "a rollback of a Deployment of the same name that is gone has no cooldown": Row(
        case=case(None, _left("v2", uid="another-uid", completed=-1)),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    # 11
    "a revision that was left and brought back": Row(
        case=case(rollout(*three()[:2], replicaset(5, "v3", created=-5, history="3"))),
        reason=Reason.NOT_A_NEW_RELEASE,
    ),
    "a restart of a revision that was brought back": Row(
        case=case(
            rollout(
                *three()[:2],
                replicaset(5, "v3", created=-5, history="3"),
                replicaset(6, "v3", created=-3, restarted="now"),
                restarted="now",
            )
        ),
        reason=Reason.NOT_A_NEW_RELEASE,
    ),
    # 12
    "a release older than the window": Row(
        case=case(now=at(116), episode_=episode(starts=115)),
        reason=Reason.OUTSIDE_WINDOW,
        detail="it began at 2026-03-02 11:55:00Z",
    ),
    "a release as old as the window": Row(
        case=case(now=at(115), episode_=episode(starts=114)), reason=Reason.ROLLED_BACK, to=2
    ),
    "a restart makes no release younger": Row(
        case=case(_restarted()),
        reason=Reason.OUTSIDE_WINDOW,
        detail="it began at 2026-03-02 07:00:00Z",
    ),
    "trouble from before the release": Row(
        case=case(episode_=episode("v2", starts=-2, trouble=-6)),
        reason=Reason.PREDATES_RELEASE,
        due=10,
        detail="the trouble began at 2026-03-02 11:54:00Z, the release 2026-03-02 11:55:00Z",
    ),
    "trouble from when the release began": Row(
        case=case(episode_=episode(trouble=-5)), reason=Reason.ROLLED_BACK, to=2
    ),
    "trouble from before anything that is known": Row(
        case=case(episode_=episode("", trouble=-9_000)), reason=Reason.PREDATES_RELEASE, due=10
    ),
    "trouble from before, ten minutes after the rollout was complete": Row(
        case=case(
            episode_=episode("v2", trouble=-6, reason=Reason.PREDATES_RELEASE, due=6),
            now=at(6),
            fresh=False,
        ),
        reason=Reason.INHERITED_ALERT,
    ),
    "trouble from before, a second earlier": Row(
        case=case(
            episode_=episode("v2", trouble=-6, reason=Reason.PREDATES_RELEASE, due=5),
            now=at(6) - timedelta(seconds=1),
            fresh=False,
        ),
        reason=Reason.PREDATES_RELEASE,
        due=6,
    ),
    "trouble from before, the rollout being under way": Row(
        case=case(
            rollout(counts=Counts(updated=1)),
            episode_=episode("v2", trouble=-6, reason=Reason.PREDATES_RELEASE, due=6),
            now=at(6),
            fresh=False,
        ),
        reason=Reason.PREDATES_RELEASE,
        due=16,
    ),
    "trouble from before, of a Deployment without deadline and so without condition": Row(
        case=case(
            rollout(progressing=None, spec={"progressDeadlineSeconds": 2**31 - 1}),
            episode_=episode("v2", trouble=-6, reason=Reason.PREDATES_RELEASE, due=6),
            now=at(6),
            fresh=False,
        ),
        reason=Reason.INHERITED_ALERT,
    ),
    "an inherited alert stays one": Row(
        case=case(
            episode_=episode("v2", trouble=-6, reason=Reason.INHERITED_ALERT),
            now=at(60),
            fresh=False,
        ),
        reason=Reason.INHERITED_ALERT,
    ),
    # 13
    "the predecessor alerts since this rollout began": Row(
        case=case(None, episode("v2", fingerprint=OTHER, starts=-4)),
        reason=Reason.SHARED_CAUSE,
        detail="revision 2 alerts, too",
    ),
    "the predecessor alerts since the very second this rollout began": Row(
        case=case(None, episode("v2", fingerprint=OTHER, starts=-5)), reason=Reason.SHARED_CAUSE
    ),
    "the predecessor alerted for a moment since this rollout began": Row(
        case=case(None, episode("v2", fingerprint=OTHER, starts=-4, ends=-3)),
        reason=Reason.SHARED_CAUSE,
    ),
    "an older one alerts since this rollout began": Row(
        case=case(None, episode("v1", fingerprint=OTHER, starts=-4)),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "an alert that asks for nothing makes no suspect": Row(
        case=case(None, episode("v2", fingerprint=OTHER, starts=-4, asks=False)),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    # 14
    "the first revision": Row(
        case=case(rollout(three()[2])),
        reason=Reason.NO_GOOD_REVISION,
        detail="no rollout history: the Deployment has no revision of other code",
    ),
    "nothing but siblings": Row(
        case=case(
            rollout(
                replicaset(1, "v3", created=-5),
                replicaset(2, "v3", created=-4, restarted="now"),
                restarted="now",
            )
        ),
        reason=Reason.NO_GOOD_REVISION,
        detail="no rollout history: the Deployment has no revision of other code",
    ),
    "everything is bad or suspect": Row(
        case=case(None, _left("v2"), episode("v1", fingerprint=OTHER, starts=-99, ends=-98)),
        reason=Reason.NO_GOOD_REVISION,
        detail="none of 2 other revisions is free of quarantine and alerts",
    ),
    # 15
    "an open breaker": Row(
        case=case(ledger=MASS),
        reason=Reason.BREAKER_OPEN,
        detail="7 targets began to alert since 2026-03-02 11:57:00Z",
    ),
    "a breaker that has been quiet": Row(
        case=case(ledger=MASS, breaker=Breaker(quiet=timedelta(seconds=60))),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    "no breaker": Row(case=case(ledger=MASS, breaker=None), reason=Reason.ROLLED_BACK, to=2),
    "a target that has had its rollback": Row(
        case=case(ledger=SPENT),
        reason=Reason.BUDGET_SPENT,
        detail="this Deployment has had 1 within 60 minutes",
    ),
    "a reservation of its own": Row(
        case=case(ledger=SPENT, own="inc-0"), reason=Reason.ROLLED_BACK, to=2
    ),
    "a cluster that has had enough": Row(
        case=case(ledger=BUSY),
        reason=Reason.BUDGET_SPENT,
        detail="the cluster has had 3 within 10 minutes",
    ),
    "no budget": Row(
        case=case(ledger=BUSY, budgets=Budgets(per_target=(), per_cluster=())),
        reason=Reason.ROLLED_BACK,
        to=2,
    ),
    # 16
    "shadow": Row(case=case(mode="shadow"), reason=Reason.SHADOW, to=2),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_table_decides(row: Row) -> None:
    decision = decide(row.case)
    assert decision.reason is row.reason
    assert (decision.to.number if decision.to else None) == row.to
    due = None if row.due is None else round((decision.due or T0).timestamp(), 3)
    assert due == (None if row.due is None else round(at(row.due).timestamp(), 3))
    assert (decision.due is None) == (row.due is None)
    if row.detail is not None:
        assert decision.detail == row.detail


def test_a_rule_is_asked_in_the_order_of_the_table() -> None:
    numbers = [number for number, _ in TABLE]
    every = [3, 5, 6, 7, 7, 8, 8, 9, 9, 10, 11, 12, 12, 13, 14, 15, 16, 17]
    assert numbers == sorted(numbers) == every


@dataclass(frozen=True, kw_only=True)
class Step:
    """A condition, and the reason that it gives while no earlier rule applies."""

    reason: Reason
    raws: tuple[ro.Obj, ...] | None = None
    remembered: Episode | Incident | Pause | None = None
    deployment: tuple[tuple[str, Any], ...] = ()
    ledger: Ledger | None = None
    frozen: bool = False
    asked: tuple[tuple[str, Any], ...] = ()
    now: datetime | None = None
    stopped: str = ""


_OLD = {"code": code("v2"), "trouble_at": at(-6)}
_BACK = (*three()[:2], replicaset(5, "v3", created=-5, history="3"))
_COOLING = _left("v1", applied=198, completed=199, entered=199)
# Each adds a condition of an earlier rule to all those before it.
STEPS = (
    Step(reason=Reason.SHADOW),
    Step(reason=Reason.BUDGET_SPENT, ledger=SPENT),
    Step(reason=Reason.BREAKER_OPEN, ledger=replace(MASS, reservations=SPENT.reservations)),
    Step(reason=Reason.NO_GOOD_REVISION, raws=(three()[2],)),
    Step(
        reason=Reason.SHARED_CAUSE,
        raws=tuple(three()),
        remembered=episode("v2", fingerprint=OTHER, starts=-4),
    ),
    Step(reason=Reason.PREDATES_RELEASE, asked=tuple(_OLD.items())),
    Step(reason=Reason.OUTSIDE_WINDOW, now=at(200)),
    Step(reason=Reason.NOT_A_NEW_RELEASE, raws=_BACK),
    Step(reason=Reason.COOLDOWN, remembered=_COOLING),
    Step(reason=Reason.NOT_OBSERVED, deployment=(("observed", 6),)),
    Step(
        reason=Reason.GITOPS_OWNED,
        deployment=(("labels", {"helm.toolkit.fluxcd.io/name": "a"}),),
    ),
    Step(reason=Reason.DEPLOYMENT_PAUSED, deployment=(("spec", {"paused": True}),)),
    Step(reason=Reason.DELETING, deployment=(("deleting", True),)),
    Step(reason=Reason.HUMAN_IN_CHARGE, remembered=_under_way("v1", to="v2")),
    Step(reason=Reason.FROZEN, frozen=True),
    Step(reason=Reason.PROTECTED, deployment=(("annotations", {ro.PROTECTED: "no"}),)),
    Step(reason=Reason.PAUSED, remembered=PAUSE),
    Step(reason=Reason.STOPPED, stopped="stop"),
    Step(reason=Reason.REVISION_NOT_CURRENT, asked=(("named", hash_of("v2")),)),
    Step(reason=Reason.NOT_THIS_TRACK, asked=(("track", "canary"),)),
    Step(reason=Reason.ALREADY_HANDLED, remembered=_left("v2")),
    Step(
        reason=Reason.ALERT_NOT_ALLOWED,
        deployment=(("annotations", {ro.PROTECTED: "no", ro.ALERTS: "None"}),),
    ),
)


@pytest.mark.parametrize("count", range(1, len(STEPS) + 1), ids=[s.reason.value for s in STEPS])
def test_an_earlier_rule_wins_over_all_later_ones(count: int) -> None:
    steps = STEPS[:count]
    judged = case(
        rollout(
            *next((step.raws for step in reversed(steps) if step.raws), ()),
            **dict(pair for step in steps for pair in step.deployment),
        ),
        *(step.remembered for step in steps if step.remembered is not None),
        episode_=replace(episode(), **dict(pair for step in steps for pair in step.asked)),
        now=next((step.now for step in steps if step.now is not None), T0),
        stopped="".join(step.stopped for step in steps),
        ledger=next((step.ledger for step in reversed(steps) if step.ledger is not None), NOTHING),
        freeze=(FREEZE,) if any(step.frozen for step in steps) else (),
        mode="shadow",
    )
    assert decide(judged).reason is steps[-1].reason


def test_what_is_final_is_what_a_guard_refuses() -> None:
    guards = [
        Reason.STOPPED,
        Reason.PAUSED,
        Reason.PROTECTED,
        Reason.FROZEN,
        Reason.HUMAN_IN_CHARGE,
        Reason.BUDGET_SPENT,
        Reason.BREAKER_OPEN,
    ]
    assert set(guards) == FINAL
    assert [r for r in Reason if Decision(reason=r).final] == guards


# --- every reason

# Reasons that this module does not give, and who does.
ELSEWHERE: dict[Reason, str] = {
    Reason.RESOLVED: "remember: closes the episode",
    Reason.WATCHDOG: "routing: the heartbeat has no target",
    Reason.NOTIFY_ONLY: "routing: needs no Deployment",
    Reason.NO_TARGET: "routing: there is nothing to look at",
    Reason.INVALID_TARGET: "routing: there is nothing to look at",
    Reason.OTHER_CLUSTER: "routing: there is nothing to look at",
    Reason.KIND_NOT_SUPPORTED: "routing: there is nothing to look at",
    Reason.NAMESPACE_NOT_ALLOWED: "routing: it is not looked at",
    Reason.TOKEN_NOT_ALLOWED: "routing: it is not looked at",
    Reason.TARGET_NOT_FOUND: "receiving: there is no Deployment",
    Reason.NOT_OPTED_IN: "receiving: before anything is remembered",
    Reason.STALE: "remember: a closed episode is not judged",
    Reason.STATE_UNREADABLE: "receiving: there is no journal to judge by",
    Reason.FATE_UNKNOWN: "reconcile: of an intent",
    Reason.FORBIDDEN: "receiving and reconcile: the API server says so",
    Reason.REJECTED: "reconcile: the API server says so",
    Reason.RELEASE_ABORTED: "tests/release/test_rule.py: a release is in progress",
    **dict.fromkeys(list(Reason)[list(Reason).index(Reason.RELEASING) :], "tests/release"),
}


def test_every_reason_is_decided_by_a_test_here_or_elsewhere() -> None:
    tested = {row.reason for row in ROWS.values()} | {row.reason for row in MANUAL.values()}
    assert tested | ELSEWHERE.keys() == set(Reason)
    assert tested & ELSEWHERE.keys() == set()


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    assert about(reason).text.endswith(".")


# --- binding

BAD_LEFT: dict[str, Any] = {"opened": -4, "applied": -3}
BINDINGS: dict[str, tuple[Rollout, Journal, float, str, str, str]] = {
    # rollout, journal, trouble, named, track, expected
    "named": (rollout(), journal(), -2, hash_of("v1"), "", "v1"),
    "named, whatever the time": (rollout(), journal(), -9_000, hash_of("v3"), "", "v3"),
    "named after its ReplicaSet is gone": (
        rollout(*three()[:2], tag="v2"),
        journal(_left()),
        -2,
        hash_of("v3"),
        "",
        "v3",
    ),
    "named, of a Deployment before this": (
        rollout(*three()[:2], tag="v2"),
        journal(_left(uid="another-uid")),
        -2,
        hash_of("v3"),
        "",
        "",
    ),
    "named and unknown": (rollout(), journal(), -2, "unknown", "", ""),
    "named, though the current template has no ReplicaSet yet": (
        rollout(tag="v4"),
        journal(),
        -2,
        hash_of("v3"),
        "",
        "v3",
    ),
    "by time: now": (rollout(), journal(), -2, "", "", "v3"),
    "by time: at the very second": (rollout(), journal(), -5, "", "", "v3"),
    "by time: before this release": (rollout(), journal(), -5.01, "", "", "v2"),
    "by time: long before": (rollout(), journal(), -1441, "", "", "v1"),
    "by time: before all that is known": (rollout(), journal(), -3000, "", "", ""),
    "no ReplicaSet yet": (rollout(tag="v4"), journal(), -2, "", "", ""),
    "another track": (rollout(), journal(), -2, hash_of("v3"), "canary", ""),
    "the default track by its name": (rollout(), journal(), -2, "", "stable", "v3"),
    "during our unfinished rollback the bad pods serve": (
        undone(),
        journal(incident("v3", Phase.FOLLOWING, **BAD_LEFT)),
        -1,
        "",
        "",
        "v3",
    ),
    "after our rollback completed": (
        undone(),
        journal(incident("v3", Phase.VERIFYING, **BAD_LEFT, completed=-2)),
        -1,
        "",
        "",
        "v2",
    ),
    "before our rollback completed": (
        undone(),
        journal(incident("v3", Phase.RECOVERED, **BAD_LEFT, completed=-2)),
        -2.5,
        "",
        "",
        "v3",
    ),
    "after our rollback failed to complete": (
        undone(),
        journal(incident("v3", Phase.ROLLOUT_FAILED, **BAD_LEFT, entered=-2)),
        -1,
        "",
        "",
        "v2",
    ),
    "a person brought the bad revision back after us": (
        rollout(
            replicaset(4, "v2", created=-1440, history="2"),
            replicaset(5, "v3", created=-5, history="3"),
        ),
        journal(incident("v3", Phase.RECOVERED, **BAD_LEFT, completed=-2)),
        -1,
        "",
        "",
        "v3",
    ),
    "a person brought an old revision back": (undone(), journal(), -2, "", "", "v2"),
    "a person brought an old revision back, before the last event": (
        undone(),
        journal(),
        -6,
        "",
        "",
        "v2",
    ),
    "two revisions of the same second: the higher number came later": (
        rollout(
            replicaset(1, "v1", created=-60),
            replicaset(2, "v2", created=-60),
            replicaset(3, "v3", created=-5),
        ),
        journal(),
        -30,
        "",
        "",
        "v2",
    ),
}


@pytest.mark.parametrize("row", BINDINGS.values(), ids=BINDINGS.keys())
def test_an_alert_is_about_the_revision_that_it_names_or_that_ran_then(
    row: tuple[Rollout, Journal, float, str, str, str],
) -> None:
    rollout_, journal_, trouble, named, track, tag = row
    found = binding(rollout_, journal_, at(trouble), named, track)
    assert found == (code(tag) if tag else "")


# --- quarantine


def _tags(codes: frozenset[str]) -> set[str]:
    return {tag for tag in ("v1", "v2", "v3", "v4") if code(tag) in codes}


QUARANTINES: dict[str, tuple[Rollout, Journal, set[str]]] = {
    "nothing": (rollout(), journal(), set()),
    "what we left": (rollout(tag="v2"), journal(_left()), {"v3"}),
    "what we are about to leave": (rollout(), journal(incident()), set()),
    "what a person left": (undone(), journal(), {"v3"}),
    "what we left for another Deployment": (
        rollout(),
        journal(_left(uid="another-uid")),
        set(),
    ),
    "what was left without quarantine": (undone(), journal(_left(quarantine=False)), set()),
    "what was left without quarantine, and with it later": (
        undone(),
        journal(_left(quarantine=False), _left(id_="inc-2")),
        {"v3"},
    ),
    "what was cleared": (undone(), journal(_left(), cleared=(code("v3"),)), set()),
    "what was handled": (
        rollout(),
        journal(handled=((UID, code("v2")), ("another-uid", code("v1")))),
        {"v2"},
    ),
    "what was handled and cleared": (
        rollout(),
        journal(handled=((UID, code("v2")),), cleared=(code("v2"),)),
        set(),
    ),
}


@pytest.mark.parametrize("row", QUARANTINES.values(), ids=QUARANTINES.keys())
def test_quarantined_is_what_we_or_a_person_left(row: tuple[Rollout, Journal, set[str]]) -> None:
    rollout_, journal_, tags = row
    assert _tags(quarantined(rollout_, journal_)) == tags


def test_excluded_is_what_is_quarantined_or_suspect() -> None:
    journal_ = journal(_left("v2"), episode("v1", starts=-9, ends=-8))
    assert _tags(excluded(rollout(), journal_, T0)) == {"v2", "v1"}


def test_a_short_history_reads_otherwise_than_a_bad_one() -> None:
    assert why_none(rollout(three()[2])).startswith("no rollout history")
    assert why_none(rollout()) == "none of 2 other revisions is free of quarantine and alerts"


# --- decided again


@dataclass(frozen=True, kw_only=True)
class Again:
    """An open incident, a new look, and what becomes of it."""

    rollout: Rollout | None
    remembered: tuple[Episode | Incident | Pause, ...]
    phase: Phase
    reason: Reason = Reason.ROLLED_BACK
    to: int | None = None
    detail: str = ""
    minutes: float = 0
    stopped: str = ""
    changes: tuple[tuple[str, Any], ...] = ()


FIRING = episode(reason=Reason.ROLLED_BACK)
PINNED = incident(actor="ann", pinned=hash_of("v3"), to="v1")
_GITOPS: dict[str, Any] = {"labels": {"helm.toolkit.fluxcd.io/name": "a"}}
AGAIN: dict[str, Again] = {
    "no Deployment": Again(
        rollout=None,
        remembered=(FIRING, incident()),
        phase=Phase.GONE,
        detail="the Deployment is gone",
    ),
    "another Deployment of that name": Again(
        rollout=rollout(uid="another"),
        remembered=(FIRING, incident()),
        phase=Phase.GONE,
        detail="the Deployment is gone",
    ),
    "another template": Again(
        rollout=undone(),
        remembered=(FIRING, incident()),
        phase=Phase.SUPERSEDED,
        detail="somebody else changed the template first",
    ),
    "a restart is no other template": Again(
        rollout=rollout(
            *three(), replicaset(4, "v3", created=-1, restarted="now"), restarted="now"
        ),
        remembered=(FIRING, incident()),
        phase=Phase.APPLYING,
        to=2,
    ),
    "resolved": Again(
        rollout=rollout(),
        remembered=(episode(ends=-0.5), incident()),
        phase=Phase.RESOLVED_BY_ITSELF,
    ),
    "another alert of it fires": Again(
        rollout=rollout(),
        remembered=(episode(ends=-0.5), episode(fingerprint=OTHER), incident()),
        phase=Phase.APPLYING,
        to=2,
    ),
    "an alert of another revision fires": Again(
        rollout=rollout(),
        remembered=(episode(ends=-0.5), episode("v1", fingerprint=OTHER), incident()),
        phase=Phase.RESOLVED_BY_ITSELF,
    ),
    "still firing": Again(
        rollout=rollout(), remembered=(FIRING, incident()), phase=Phase.APPLYING, to=2
    ),
    "the predecessor alerts now": Again(
        rollout=rollout(),
        remembered=(FIRING, episode("v2", fingerprint=OTHER, starts=-0.5), incident()),
        phase=Phase.REFUSED,
        reason=Reason.SHARED_CAUSE,
        detail="revision 2 alerts, too",
    ),
    "stopped meanwhile": Again(
        rollout=rollout(),
        remembered=(FIRING, incident()),
        stopped="night",
        phase=Phase.REFUSED,
        reason=Reason.STOPPED,
        detail="night",
    ),
    "the controller is behind": Again(
        rollout=rollout(observed=6),
        remembered=(FIRING, incident(opened=0, entered=0)),
        minutes=1.1,
        phase=Phase.SETTLING,
        reason=Reason.NOT_OBSERVED,
    ),
    "the controller is behind for long": Again(
        rollout=rollout(observed=6),
        remembered=(FIRING, incident(opened=0, entered=0)),
        minutes=1.2,
        phase=Phase.REFUSED,
        reason=Reason.NOT_OBSERVED,
    ),
    "the mode is shadow now": Again(
        rollout=rollout(),
        remembered=(FIRING, incident()),
        changes=(("mode", "shadow"),),
        phase=Phase.REFUSED,
        reason=Reason.SHADOW,
        to=2,
    ),
    "only what a guard had refused still fires": Again(
        rollout=rollout(),
        remembered=(
            episode(reason=Reason.PAUSED),
            episode(fingerprint=OTHER, starts=-1, ends=-0.5),
            incident(id_="inc-0", phase=Phase.REFUSED, reason=Reason.PAUSED, opened=-2),
            incident(),
        ),
        phase=Phase.REFUSED,
        reason=Reason.PAUSED,
        detail="what still fires had been refused before",
    ),
    "only what a guard had refused at its second decision still fires": Again(
        rollout=rollout(),
        remembered=(
            episode(reason=Reason.ROLLED_BACK, starts=-5),
            episode(fingerprint=OTHER, starts=-1, ends=-0.5),
            incident(
                id_="inc-0", phase=Phase.REFUSED, reason=Reason.STOPPED, opened=-5, entered=-4
            ),
            incident(),
        ),
        phase=Phase.REFUSED,
        reason=Reason.STOPPED,
        detail="what still fires had been refused before",
    ),
    "what a guard had refused, and a new alert": Again(
        rollout=rollout(),
        remembered=(
            episode(reason=Reason.PAUSED),
            episode(fingerprint=OTHER, starts=-1, reason=Reason.ROLLED_BACK),
            incident(id_="inc-0", phase=Phase.REFUSED, reason=Reason.PAUSED, opened=-2),
            incident(),
        ),
        phase=Phase.APPLYING,
        to=2,
    ),
    "by hand": Again(rollout=rollout(), remembered=(PINNED,), phase=Phase.APPLYING, to=1),
    "by hand, stopped and paused": Again(
        rollout=rollout(), remembered=(PINNED, PAUSE), stopped="x", phase=Phase.APPLYING, to=1
    ),
    "by hand, another revision is current": Again(
        rollout=rollout(tag="v2"),
        remembered=(PINNED,),
        phase=Phase.SUPERSEDED,
        reason=Reason.CURRENT_CHANGED,
        detail="another revision is current than when the rollback was accepted",
    ),
    "by hand, a sibling is current": Again(
        rollout=rollout(
            *three(), replicaset(4, "v3", created=-1, restarted="now"), restarted="now"
        ),
        remembered=(PINNED,),
        phase=Phase.SUPERSEDED,
        reason=Reason.CURRENT_CHANGED,
        detail="another revision is current than when the rollback was accepted",
    ),
    "by hand, the destination has moved to another number": Again(
        rollout=rollout(
            replicaset(1, "v2", created=-1440),
            replicaset(2, "v1", created=-2880),
            replicaset(3, "v3", created=-5),
        ),
        remembered=(PINNED,),
        phase=Phase.APPLYING,
        to=2,
    ),
    "by hand, the destination alerts now": Again(
        rollout=rollout(),
        remembered=(episode("v1"), PINNED),
        phase=Phase.REFUSED,
        reason=Reason.NO_GOOD_REVISION,
        detail="revision 1 is quarantined or alerts; force overrides that",
    ),
    "by hand and forced, the destination alerts now": Again(
        rollout=rollout(),
        remembered=(episode("v1"), replace(PINNED, forced=True)),
        phase=Phase.APPLYING,
        to=1,
    ),
    "by hand, the destination is gone": Again(
        rollout=rollout(*three()[1:]),
        remembered=(PINNED,),
        phase=Phase.REFUSED,
        reason=Reason.UNKNOWN_REVISION,
        detail="the history holds 3, 2",
    ),
}


@pytest.mark.parametrize("row", AGAIN.values(), ids=AGAIN.keys())
def test_an_incident_that_has_settled_is_decided_again(row: Again) -> None:
    journal_ = journal(*row.remembered)
    own = journal_.in_flight
    assert own is not None
    seen = look(
        row.rollout, journal_, now=at(row.minutes), stopped=row.stopped, **dict(row.changes)
    )
    verdict = decide_again(own, seen)
    assert (verdict.phase, verdict.reason) == (row.phase, row.reason)
    assert (verdict.to.number if verdict.to else None) == row.to
    assert verdict.detail == row.detail
    assert (verdict.due is not None) == (verdict.phase is Phase.SETTLING)


# --- by hand

PREVIOUS = Ask()


@dataclass(frozen=True, kw_only=True)
class Hand:
    """What a person asks for, and the answer."""

    ask: Ask = PREVIOUS
    rollout: Rollout
    remembered: tuple[Episode | Incident | Pause, ...] = ()
    own: str = ""
    reason: Reason = Reason.ROLLED_BACK
    to: int | None = None
    detail: str = ""
    stopped: str = ""


def _to(number: int, **more: Any) -> Ask:
    return Ask(to_revision=number, **more)


_FORCE = Ask(force=True)
JUST_LEFT = _left(applied=-9, completed=-5, entered=-5)
MANUAL: dict[str, Hand] = {
    "previous": Hand(rollout=rollout(), to=2),
    "previous skips what is quarantined": Hand(rollout=rollout(), remembered=(_left("v2"),), to=1),
    "previous never goes to a suspect, not even by force": Hand(
        ask=_FORCE,
        rollout=rollout(*three()[1:]),
        remembered=(episode("v2"),),
        reason=Reason.NO_GOOD_REVISION,
        detail="none of 1 other revisions is free of quarantine and alerts",
    ),
    "previous of nothing": Hand(
        rollout=rollout(three()[2]),
        reason=Reason.NO_GOOD_REVISION,
        detail="no rollout history: the Deployment has no revision of other code",
    ),
    "guards do not bind a person": Hand(
        rollout=rollout(), remembered=(PAUSE,), stopped="night", to=2
    ),
    "an old release that was brought back": Hand(rollout=undone(), to=1),
    "named by number": Hand(ask=_to(1), rollout=rollout(), to=1),
    "named by hash": Hand(ask=Ask(to_hash=hash_of("v1")), rollout=rollout(), to=1),
    "named and unknown": Hand(
        ask=_to(9),
        rollout=rollout(),
        reason=Reason.UNKNOWN_REVISION,
        detail="the history holds 3, 2, 1",
    ),
    "named by an old number": Hand(
        ask=_to(2),
        rollout=undone(),
        reason=Reason.UNKNOWN_REVISION,
        detail="the history holds 4, 3, 1",
    ),
    "zero is no number of a revision": Hand(
        ask=_to(0),
        rollout=rollout(),
        reason=Reason.UNKNOWN_REVISION,
        detail="the history holds 3, 2, 1",
    ),
    "named and current": Hand(
        ask=_to(3), rollout=rollout(), reason=Reason.SAME_TEMPLATE, detail="revision 3"
    ),
    "named and a sibling of the current one": Hand(
        ask=_to(3),
        rollout=rollout(
            *three(), replicaset(4, "v3", created=-1, restarted="now"), restarted="now"
        ),
        reason=Reason.SAME_TEMPLATE,
        detail="revision 3",
    ),
    "named and quarantined": Hand(
        ask=_to(3),
        rollout=undone(),
        reason=Reason.NO_GOOD_REVISION,
        detail="revision 3 is quarantined or alerts; force overrides that",
    ),
    "named and quarantined, by force": Hand(ask=_to(3, force=True), rollout=undone(), to=3),
    "named and suspect, by force": Hand(
        ask=_to(2, force=True), rollout=rollout(), remembered=(episode("v2"),), to=2
    ),
    "protected": Hand(
        rollout=rollout(annotations={ro.PROTECTED: "db"}), reason=Reason.PROTECTED, detail="db"
    ),
    "protected, by force": Hand(
        ask=_FORCE, rollout=rollout(annotations={ro.PROTECTED: "db"}), to=2
    ),
    "owned by GitOps": Hand(
        rollout=rollout(**_GITOPS),
        reason=Reason.GITOPS_OWNED,
        detail="helm.toolkit.fluxcd.io/name",
    ),
    "owned by GitOps, by force": Hand(ask=_FORCE, rollout=rollout(**_GITOPS), to=2),
    "deleted, even by force": Hand(
        ask=_FORCE, rollout=rollout(deleting=True), reason=Reason.DELETING
    ),
    "paused, even by force": Hand(
        ask=_FORCE, rollout=rollout(spec={"paused": True}), reason=Reason.DEPLOYMENT_PAUSED
    ),
    "not observed, even by force": Hand(
        ask=_FORCE, rollout=rollout(observed=6), reason=Reason.NOT_OBSERVED
    ),
    "the current one is as expected, by number": Hand(
        ask=Ask(expect_current="3"), rollout=rollout(), to=2
    ),
    "the current one is as expected, by hash": Hand(
        ask=Ask(expect_current=hash_of("v3")), rollout=rollout(), to=2
    ),
    "the current one is another": Hand(
        ask=Ask(expect_current="2", force=True),
        rollout=rollout(),
        reason=Reason.CURRENT_CHANGED,
        detail="current is 3 (7c9fv3)",
    ),
    "the current one has no ReplicaSet yet": Hand(
        ask=Ask(expect_current="3"),
        rollout=rollout(tag="v4"),
        reason=Reason.CURRENT_CHANGED,
        detail="current is unknown",
    ),
    "previous within the cooldown": Hand(
        ask=_FORCE,
        rollout=undone(),
        remembered=(JUST_LEFT,),
        reason=Reason.COOLDOWN,
        detail="inc-v3",
    ),
    "named within the cooldown": Hand(ask=_to(1), rollout=undone(), remembered=(JUST_LEFT,), to=1),
    "previous after the cooldown": Hand(rollout=undone(), remembered=(_left(),), to=1),
    "previous after the cooldown, which counts from completion": Hand(
        rollout=undone(), remembered=(_left(completed=-10, entered=-1),), to=1
    ),
    "previous within the cooldown of a Deployment that is gone": Hand(
        rollout=rollout(), remembered=(replace(JUST_LEFT, uid="another"),), to=2
    ),
    "previous while an automatic one settles": Hand(
        rollout=rollout(), remembered=(incident(),), to=2
    ),
    "previous while one is sent": Hand(
        rollout=rollout(),
        remembered=(incident("v3", Phase.APPLYING),),
        reason=Reason.COOLDOWN,
        detail="inc-v3",
    ),
    "named while one is sent": Hand(
        ask=_to(1, force=True),
        rollout=rollout(),
        remembered=(incident("v3", Phase.APPLYING),),
        reason=Reason.COOLDOWN,
        detail="inc-v3",
    ),
    "previous while one is followed": Hand(
        rollout=undone(),
        remembered=(incident("v3", Phase.FOLLOWING, applied=-60, entered=-60),),
        reason=Reason.COOLDOWN,
        detail="inc-v3",
    ),
    "named while one is verified": Hand(
        ask=_to(1),
        rollout=undone(),
        remembered=(incident("v3", Phase.VERIFYING, applied=-60, completed=-1),),
        to=1,
    ),
    "its own incident does not stand in its way": Hand(
        ask=Ask(to_hash=hash_of("v2")),
        rollout=rollout(),
        remembered=(incident("v3", Phase.APPLYING),),
        own="inc-v3",
        to=2,
    ),
}


@pytest.mark.parametrize("row", MANUAL.values(), ids=MANUAL.keys())
def test_a_rollback_by_hand_is_decided_by_the_column_manual(row: Hand) -> None:
    seen = look(row.rollout, journal(*row.remembered), stopped=row.stopped)
    decision = decide_manual(row.ask, row.rollout, seen, row.own)
    assert decision.reason is row.reason
    assert (decision.to.number if decision.to else None) == row.to
    assert decision.detail == row.detail


def test_force_is_offered_where_it_helps() -> None:
    assert [r for r in Reason if forceable(r, named=False)] == [
        Reason.PROTECTED,
        Reason.GITOPS_OWNED,
    ]
    assert [r for r in Reason if forceable(r, named=True)] == [
        Reason.PROTECTED,
        Reason.GITOPS_OWNED,
        Reason.NO_GOOD_REVISION,
    ]
    assert about(Reason.STOPPED).manual is Manual.IGNORED


# --- whatever there is

TAGS = ("v1", "v2", "v3", "v4")
_MINUTES = st.integers(-300, 0).map(float)


@st.composite
def _rollouts(draw: st.DrawFn) -> Rollout:
    tags = draw(st.lists(st.sampled_from(TAGS), min_size=0, max_size=5))
    numbers = draw(st.permutations(range(1, 10)))
    raws = [
        replicaset(
            numbers[index],
            tag,
            created=draw(_MINUTES),
            history=draw(st.sampled_from(("", "", "", "1", "2,4", "x"))),
            restarted=draw(st.sampled_from(("", "", "now"))),
            suffix=str(index),
        )
        for index, tag in enumerate(tags)
    ]
    deployment: dict[str, Any] = {
        "observed": draw(st.sampled_from((7, 7, 7, 6))),
        "annotations": draw(st.sampled_from(({}, {}, {ro.PROTECTED: "x"}, {ro.ALERTS: "A"}))),
        "progressing": draw(st.sampled_from((None, ("NewReplicaSetAvailable", iso(at(-4)))))),
        "labels": draw(st.sampled_from(({}, {}, {"track": "canary"}))),
    }
    none = replicaset(None, "v1", created=-1)
    return rollout(*(raws or [none]), tag=draw(st.sampled_from(TAGS)), **deployment)


_EPISODES = st.builds(
    episode,
    st.sampled_from(("", *TAGS)),
    fingerprint=st.sampled_from(("00000000000000a1", OTHER)),
    starts=_MINUTES,
    ends=st.none() | _MINUTES,
    trouble=_MINUTES,
    reason=st.sampled_from(Reason),
    asks=st.booleans(),
    named=st.sampled_from(("", "", "gone", hash_of("v2") + "0")),
    track=st.sampled_from(("", "", "canary")),
    due=st.none() | _MINUTES,
)
_INCIDENTS = st.builds(
    incident,
    st.sampled_from(TAGS),
    st.sampled_from(Phase),
    id_=st.sampled_from(("a", "b", "c")),
    to=st.sampled_from(TAGS),
    opened=_MINUTES,
    entered=_MINUTES,
    applied=st.none() | _MINUTES,
    completed=st.none() | _MINUTES,
    actor=st.sampled_from(("", "ann")),
    pinned=st.just(hash_of("v3") + "0"),
    quarantine=st.booleans(),
    uid=st.sampled_from((UID, UID, "another-uid")),
)
_JOURNALS = st.builds(
    lambda parts, handled, cleared: journal(*parts, handled=handled, cleared=cleared),
    st.lists(_EPISODES | _INCIDENTS, max_size=6),
    st.lists(st.tuples(st.just(UID), st.sampled_from(TAGS).map(code)), max_size=2).map(tuple),
    st.lists(st.sampled_from(TAGS).map(code), max_size=2).map(tuple),
)


def _check(to: Revision | None, rollout_: Rollout, journal_: Journal) -> None:
    if to is None:
        return
    assert to in rollout_.revisions
    assert to.code != rollout_.code
    assert to.code not in quarantined(rollout_, journal_)
    assert to.code not in journal_.suspects(rollout_.uid, T0)


@given(_rollouts(), _JOURNALS, _EPISODES, st.booleans(), st.sampled_from(("act", "shadow")))
def test_whatever_is_decided_it_never_leads_to_what_is_bad(
    rollout_: Rollout, journal_: Journal, asked: Episode, fresh: bool, mode: str
) -> None:
    judged = Case(
        rollout=rollout_,
        journal=journal_.with_episode(asked),
        episode=asked,
        policy=policy(mode=mode),
        now=T0,
        fresh=fresh,
    )
    decision = decide(judged)
    assert (decision.to is not None) == (decision.reason in (Reason.ROLLED_BACK, Reason.SHADOW))
    assert decision.due is None or decision.due > T0
    _check(decision.to, rollout_, judged.journal)


@given(_rollouts(), _JOURNALS, st.sampled_from(Phase))
def test_whatever_is_decided_again_never_leads_to_what_is_bad(
    rollout_: Rollout, journal_: Journal, phase: Phase
) -> None:
    for own in journal_.incidents:
        verdict = decide_again(own, look(rollout_, journal_))
        assert verdict.phase is not Phase.APPLYING or verdict.to is not None
        _check(verdict.to, rollout_, journal_)


@given(
    _rollouts(),
    _JOURNALS,
    st.none() | st.integers(0, 9),
    st.sampled_from((None, "3", hash_of("v3") + "0")),
)
def test_a_rollback_by_hand_without_force_never_leads_to_what_is_bad(
    rollout_: Rollout, journal_: Journal, number: int | None, expected: str | None
) -> None:
    ask = Ask(to_revision=number, expect_current=expected)
    decision = decide_manual(ask, rollout_, look(rollout_, journal_))
    assert (decision.to is not None) == (decision.reason is Reason.ROLLED_BACK)
    _check(decision.to, rollout_, journal_)


@given(_rollouts(), _JOURNALS, _MINUTES, st.sampled_from(("", "gone", hash_of("v1") + "0")))
def test_an_alert_is_bound_to_a_code_that_is_known_or_to_none(
    rollout_: Rollout, journal_: Journal, trouble: float, named: str
) -> None:
    found = binding(rollout_, journal_, at(trouble), named, "")
    known = {r.code for r in rollout_.revisions} | {i.bad.code for i in journal_.incidents}
    known |= {i.to.code for i in journal_.incidents if i.to is not None}
    assert found in known | {""}


# --- clocks that are off


def _restored(completed: float, updated: float | None) -> tuple[Rollout, Incident]:
    """Return v2 restored from v3, complete so many minutes after T0 by our clock and by theirs."""
    said = None
    if updated is not None:
        said = ro.Progressing(reason="NewReplicaSetAvailable", updated_at=iso(at(updated)))
    left = incident(
        "v3", Phase.RECOVERED, applied=completed - 1, completed=completed, entered=completed
    )
    return replace(undone(), progressing=said), left


@pytest.mark.parametrize(
    ("completed", "updated", "moment", "tag"),
    [
        (2, 2, 1.9, "v3"),
        (2, 2, 2.1, "v2"),
        (-58, 2, 1.9, "v3"),  # our clock is an hour slow: theirs counts
        (-58, 2, 2.1, "v2"),
        (62, 2, 2.1, "v2"),  # an hour fast: the same
        (62, 2, 1.9, "v3"),
        (2, -4000, 1.9, "v3"),  # what they say is of an earlier rollout
        (2, None, 2.1, "v2"),  # they say nothing
        (-58, None, -4.9, "v2"),  # and we cannot have left it before it was made
    ],
)
def test_what_ran_when_is_told_by_the_clock_of_the_api_server_where_ours_is_off(
    completed: float, updated: float | None, moment: float, tag: str
) -> None:
    rollout_, left = _restored(completed, updated)
    assert binding(rollout_, journal(left), at(moment), "", "") == code(tag)


def test_a_cooldown_that_began_in_the_future_is_over() -> None:
    left = incident("v2", Phase.RECOVERED, to="v1", applied=59, completed=60, entered=60)
    assert decide(case(None, left)).reason is not Reason.COOLDOWN
