"""Stories to tell: one ordinary, the parts to vary, and one for each state there is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.alerts import fingerprint
from receiver.journal import OPEN, Phase
from receiver.messages import AlertLine, Contact, RevisionLine, Site, Story
from receiver.reasons import Reason, Severity

T0 = datetime(2026, 11, 23, 3, 10, tzinfo=UTC)

ALERT = AlertLine(
    alertname="HighErrorRate",
    severity="critical",
    starts_at=T0,
    firing=True,
    summary="12% of requests fail",
    description="error_rate{job='checkout'} is 0.12",
    runbook_url="https://wiki.example.com/runbook?alert=HighErrorRate&team=shop",
    dashboard_url="https://grafana.example.com/d/abc",
    generator_url="http://prometheus:9090/graph?g0.expr=up",
)
BAD = RevisionLine(
    number=42,
    hash="7d9f8c6b5",
    images=(("api", "shop/api:2@sha256:" + "ab" * 32), ("proxy", "envoy:1.30")),
    created_at=T0 - timedelta(minutes=7),
)
GOOD = RevisionLine(
    number=41,
    hash="5c4e1a2b3",
    images=(("api", "shop/api:1"), ("proxy", "envoy:1.30")),
    created_at=T0 - timedelta(days=1),
)
USUAL = Story(
    subject="inc-0123456789ab",
    state="rollout_failed",
    reason=Reason.ROLLED_BACK,
    severity=Severity.CRITICAL,
    cluster="eu-1",
    namespace="shop",
    deployment="checkout",
    at=T0 + timedelta(minutes=4, seconds=3),
    started_at=T0,
    alerts=(ALERT,),
    bad=BAD,
    good=GOOD,
)
# Nothing but what a story cannot be without.
BARE = Story(
    subject="own-1",
    state="failing",
    reason=Reason.STATE_UNREADABLE,
    severity=Severity.CRITICAL,
    cluster="",
    namespace="",
    deployment="",
    at=T0,
    started_at=T0,
)

# The contacts of the plan.
CONTACTS = (
    Contact(role="On-Call Engineer", contact="+91-XXX-XXX-XXXX", availability="24/7"),
    Contact(
        role="Engineering Lead", contact="engineering@flexoraa.com", availability="Business hours"
    ),
    Contact(role="CTO", contact="cto@flexoraa.com", availability="Escalation only"),
    Contact(role="DevOps", contact="devops@flexoraa.com", availability="24/7"),
)
SITE = Site(
    contacts=CONTACTS,
    alertmanager_url="https://alerts.example.com",
    prometheus_url="https://prometheus.example.com",
)
LABELS = {
    "alertname": "HighErrorRate",
    "deployment": "checkout",
    "instance": "10.0.0.7:8080",
    "job": "checkout",
    "namespace": "shop",
    "rollback": "auto",
    "severity": "critical",
}
FULL_ALERT = replace(
    ALERT,
    value="12.3%",
    labels=tuple(LABELS.items()),
    fingerprint=fingerprint(LABELS),
    external_url="http://alertmanager:9093",
)
# A rollback by itself, with everything that is known of one.
FULL = replace(
    USUAL,
    alerts=(FULL_ALERT,),
    applied_at=T0 + timedelta(seconds=41),
    completed_at=T0 + timedelta(seconds=73),
    undo_to=42,
    site=SITE,
)

_OWN = {
    "failing": Reason.STATE_UNREADABLE,
    "works_again": Reason.STATE_UNREADABLE,
    "silent": Reason.WATCHDOG,
    "heard_again": Reason.WATCHDOG,
    "not_expected": Reason.WATCHDOG,
    "mass_alert": Reason.BREAKER_OPEN,
    "mass_alert_over": Reason.BREAKER_OPEN,
    "test": Reason.NOTIFY_ONLY,
}
# What a release says in each of its states: why, how loudly, and its sentence.
_RELEASE = {
    "release_prepared": (Reason.RELEASING, Severity.INFO, "begun by ann: the new search"),
    "release_stage": (
        Reason.RELEASING,
        Severity.INFO,
        "canary: 1 canary pods are ready, 10 % of all",
    ),
    "release_waiting": (
        Reason.AWAITING_APPROVAL,
        Severity.WARNING,
        "canary has soaked: it waits for engineering-lead",
    ),
    "release_promoting": (Reason.RELEASING, Severity.INFO, "the stage full begins"),
    "release_promoted": (Reason.RELEASING, Severity.INFO, "everybody has shop/api:2"),
    "release_held": (
        Reason.RELEASE_DRIFTED,
        Severity.WARNING,
        "checkout-canary was scaled from 1 to 7 pods",
    ),
    "release_troubled": (
        Reason.RELEASE_UNHEALTHY,
        Severity.WARNING,
        "p95 latency: LatencyAboveTarget is true",
    ),
    "release_aborting": (
        Reason.RELEASE_ABORTED,
        Severity.CRITICAL,
        "HighErrorRate asks for a rollback",
    ),
    "release_aborted": (
        Reason.RELEASE_ABORTED,
        Severity.CRITICAL,
        "aborted: the canary has no pods",
    ),
    "release_not_undone": (
        Reason.NO_GOOD_REVISION,
        Severity.CRITICAL,
        "checkout could not be rolled back",
    ),
    "release_completed": (
        Reason.RELEASING,
        Severity.INFO,
        "complete: everybody has it; 2 lines of the checklist are open",
    ),
}
RELEASES = tuple(_RELEASE)
_UNTOUCHED: dict[str, Any] = {"applied_at": None, "completed_at": None, "undo_to": 0}
_ALONE: dict[str, Any] = {"bad": None, "good": None, **_UNTOUCHED}
# What no sink is told of.
UNTOLD = (Phase.SETTLING, Phase.APPLYING)
STATES = [
    *(phase.value for phase in Phase if phase not in UNTOLD),
    *("firing", "resolved", "shadow", *_OWN, *RELEASES),
]


def story(**changes: Any) -> Story:
    """Return the ordinary story with some fields changed."""
    return replace(USUAL, **changes)


def of_state(state: str) -> Story:
    """Return the story as it is told in a state, with all that is known then."""
    if state in _OWN:
        own = replace(BARE, state=state, reason=_OWN[state], cluster="eu-1", site=SITE)
        return replace(own, subject="own-0123456789ab", at=T0 + timedelta(minutes=1))
    if state in _RELEASE:
        return _of_release(state)
    if state in ("firing", "resolved"):
        alert = replace(FULL_ALERT, severity="warning", firing=state == "firing")
        reason = Reason.NOTIFY_ONLY if state == "firing" else Reason.RESOLVED
        plain = replace(FULL, subject="alert-0123456789ab", alerts=(alert,), **_ALONE)
        return replace(plain, state=state, reason=reason, severity=Severity.WARNING)
    if state == "shadow":
        detail = "it would have been rolled back to revision 41 (api=shop/api:1)"
        shadow = replace(FULL, subject="ref-0123456789ab", detail=detail, **_ALONE)
        return replace(shadow, state=state, reason=Reason.SHADOW, severity=Severity.INFO)
    if state == Phase.REFUSED:
        return replace(FULL, state=state, reason=Reason.FROZEN, detail="Friday", **_UNTOUCHED)
    if state == Phase.RESOLVED_BY_ITSELF:
        return replace(FULL, state=state, alerts=(_ended(FULL_ALERT),), **_UNTOUCHED)
    return _rolled_back(Phase(state))


def _of_release(state: str) -> Story:
    reason, severity, said = _RELEASE[state]
    return Story(
        subject="rel-0123456789ab",
        state=state,
        reason=reason,
        severity=severity,
        cluster="eu-1",
        namespace="shop",
        deployment="checkout",
        at=T0 + timedelta(hours=24, minutes=3),
        started_at=T0,
        detail=f"shop/api:2: {said}",
        site=SITE,
    )


def _rolled_back(phase: Phase) -> Story:
    told = replace(FULL, state=phase.value)
    if phase is Phase.FOLLOWING:
        return replace(told, at=T0 + timedelta(seconds=41), completed_at=None)
    if phase is Phase.VERIFYING:
        at = T0 + timedelta(seconds=73)
        return replace(told, at=at, until=at + timedelta(minutes=10))
    if phase is Phase.RECOVERED:
        return replace(told, alerts=(_ended(FULL_ALERT),))
    if phase is Phase.ROLLOUT_FAILED:
        return replace(told, completed_at=None, detail="checkout-5c4e1a2b3 exceeded its deadline")
    if phase is Phase.DID_NOT_HELP:
        return replace(told, reason=Reason.ROLLBACK_DID_NOT_HELP)
    assert phase not in OPEN
    return told


def _ended(alert: AlertLine) -> AlertLine:
    return replace(alert, firing=False, ends_at=T0 + timedelta(minutes=4))
