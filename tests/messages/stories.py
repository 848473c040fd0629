"""Stories to tell: one ordinary, and the parts to vary."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.messages import AlertLine, RevisionLine, Story
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


def story(**changes: Any) -> Story:
    """Return the ordinary story with some fields changed."""
    return replace(USUAL, **changes)
