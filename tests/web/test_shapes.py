"""The forms that the document of the API promises, held against what is made and read."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.alerts import _Alert, _Webhook
from receiver.controller import views
from receiver.controller.answers import refusal
from receiver.controller.scorecard import Played, scorecard
from receiver.journal import (
    Approval,
    Dead,
    Happened,
    Hold,
    Item,
    Measure,
    Pause,
    Phase,
    Plan,
    Rehearsal,
    Release,
    Stage,
    Step,
)
from receiver.reasons import Reason, Severity
from receiver.web import shapes
from tests.builders import T0, UID, code, episode, incident, journal, rollout, three, undone
from tests.web.described import ONE, RELEASE, fits, operation

OURS = incident("v3", Phase.RECOVERED, applied=-4, completed=-3, entered=-1, detail="d")
HELD = journal(
    episode(),
    episode("", fingerprint="b", asks=False),
    OURS,
    incident("v2", to="v1"),
    Pause(by="ann", why="migration", at=T0),
    dead=(Dead(subject="inc-v3", sink="s", state="x", severity=Severity.WARNING, at=T0),),
)
BEGUN = Release(
    id="rel-0123456789ab",
    plan=Plan(
        name="standard",
        stages=(
            Stage(name="canary", percent=10, soak=timedelta(hours=24)),
            Stage(name="full", percent=100, approvals=("cto",)),
        ),
        checklist=(
            Item(id="ci", text="All tests pass", when="before", by="ann", at=T0, note="seen"),
            Item(id="look", text="Look at it", when="after"),
        ),
    ),
    version="1.1.0",
    uid=UID,
    canary="checkout-canary",
    canary_uid="c",
    canary_before="a",
    code="b",
    base="a",
    images=(("app", "registry.example/checkout:v4"),),
    by="ann",
    opened_at=T0,
    step=Step.WAITING,
    step_at=T0,
    reason=Reason.RELEASING,
)
FULL = replace(
    BEGUN,
    held=Hold(reason=Reason.RELEASE_HELD, at=T0, by="ann"),
    approvals=(Approval(stage=1, role="cto", by="ann", at=T0, why="good"),),
    measures=(Measure(name="p95", state="ok", text="false, with data", at=T0),),
    happened=(Happened(at=T0, text="it began"),),
)

SHOWN = views.of_incident(OURS, HELD)
DEPLOYMENT = views.of_deployment(undone(), HELD, T0)
DRY = {"dry_run": True, "reason": Reason.ROLLED_BACK}
DRY |= {name: SHOWN[name] for name in ("namespace", "deployment", "from", "to", "by", "why")}
STEERED, MORE = (
    views.of_release(FULL, T0),
    {"stages": views.of_stages(BEGUN, 9), "differs": ["spec.volumes"]},
)
REHEARSAL = Rehearsal(
    alertname="E", fingerprint="a", starts_at=T0, uid=UID, code=code("v3"), at=T0, ended_at=T0
)
SCORES = scorecard(
    Played(journal=journal(rehearsals=(each,)), left=left)
    for each, left in (
        (REHEARSAL, frozenset({code("v3")})),
        (replace(REHEARSAL, alertname="L", ended_at=None), frozenset[str]()),
    )
)
REFUSED = refusal(Reason.COOLDOWN, "x")

ANSWERS: dict[str, tuple[str, str, int, Any]] = {
    "deployments": (
        "GET",
        "/api/v1/deployments",
        200,
        {"deployments": [views.of_summary(each, HELD, T0) for each in (undone(), rollout())]},
    ),
    "a deployment": ("GET", ONE, 200, DEPLOYMENT),
    "nothing ever happened": ("GET", ONE, 200, views.of_deployment(rollout(), journal(), T0)),
    "in progress": (
        "GET",
        ONE,
        200,
        views.of_deployment(rollout(*three()), journal(incident(), release=BEGUN), T0),
    ),
    "paused": ("POST", f"{ONE}/pause", 200, DEPLOYMENT),
    "resumed": ("POST", f"{ONE}/resume", 200, DEPLOYMENT),
    "cleared": ("POST", f"{ONE}/revisions/{{hash}}/clear", 200, DEPLOYMENT),
    "incidents": ("GET", "/api/v1/incidents", 200, {"incidents": [SHOWN]}),
    "an incident": ("GET", "/api/v1/incidents/{id}", 200, SHOWN),
    "an incident about nothing to go to": (
        "GET",
        "/api/v1/incidents/{id}",
        200,
        views.of_incident(replace(incident(), to=None, actor="ann"), journal()),
    ),
    "the scorecard": ("GET", "/api/v1/scorecard", 200, {"rules": SCORES}),
    "rolled back": ("POST", f"{ONE}/rollback", 200, SHOWN),
    "would roll back": ("POST", f"{ONE}/rollback", 200, DRY),
    "rolled back once": ("POST", f"{ONE}/rollback", 200, {"id": "inc-v3"}),
    "rolls back": ("POST", f"{ONE}/rollback", 202, views.of_incident(incident(), journal())),
    "not rolled back": ("POST", f"{ONE}/rollback", 409, REFUSED),
    "not rolled back again": ("POST", f"{ONE}/rollback", 409, REFUSED | {"incident": SHOWN}),
    "a release": ("GET", RELEASE, 200, STEERED),
    "a new release": ("POST", RELEASE, 202, views.of_release(BEGUN, T0) | MORE),
    "would release": ("POST", RELEASE, 200, {"dry_run": True} | views.of_release(BEGUN, T0) | MORE),
    "not released": ("POST", RELEASE, 409, REFUSED | {"release": "rel-0123456789ab"}),
    "approved": ("POST", f"{RELEASE}/approve", 200, STEERED),
    "ticked": ("POST", f"{RELEASE}/checks/{{id}}", 200, STEERED),
    "the open breaker": (
        "GET",
        "/api/v1/breaker",
        200,
        {"open": True, "since": T0.isoformat(), "count": 9, "targets": ["shop/checkout"]},
    ),
}

NOT_ALWAYS = {
    (f"{ONE}/rollback", 409, "incident"),
    (RELEASE, 409, "release"),
    (RELEASE, 200, "dry_run"),
}


def schema(method: str, path: str, status: int) -> dict[str, Any]:
    said = operation(method, path)["responses"][str(status)]["content"]["application/json"]
    return dict(said["schema"])


@pytest.mark.parametrize(("method", "path", "status", "body"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_answered_has_all_that_is_promised_and_nothing_that_is_not(
    method: str, path: str, status: int, body: Any
) -> None:
    said, sent = schema(method, path, status), json.loads(json.dumps(body))
    assert fits(said, sent, closed=True)
    for name in sent:
        without = {key: value for key, value in sent.items() if key != name}
        assert fits(said, without) == ((path, status, name) in NOT_ALWAYS), name


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("POST", f"{ONE}/rollback", 409, REFUSED | {"incident": None}),
        ("POST", f"{ONE}/rollback", 409, REFUSED | {"incident": {"id": "inc-v3"}}),
        ("POST", f"{ONE}/rollback", 409, {"incident": SHOWN}),
        ("POST", RELEASE, 409, REFUSED | {"release": None}),
        ("POST", RELEASE, 202, {"dry_run": False} | views.of_release(BEGUN, T0) | MORE),
        ("GET", "/api/v1/incidents/{id}", 200, SHOWN | {"phase": "unheard_of"}),
        ("GET", "/api/v1/incidents/{id}", 200, SHOWN | {"opened_at": "yesterday"}),
    ],
)
def test_what_is_never_answered_does_not_fit(
    method: str, path: str, status: int, body: Any
) -> None:
    assert not fits(schema(method, path, status), json.loads(json.dumps(body)))


@pytest.mark.parametrize(
    ("shape", "read"), [(shapes.Webhook, _Webhook), (shapes.SentAlert, _Alert)]
)
def test_a_webhook_is_described_with_the_fields_that_are_read(shape: Any, read: Any) -> None:
    assert list(shape.model_fields) == list(read.model_fields)
    for name, field in read.model_fields.items():
        assert shape.model_fields[name].is_required() == field.is_required()
        assert shape.model_fields[name].default == field.default
