import json
from dataclasses import replace

from receiver.controller import views
from receiver.journal import Owed, Pause, Phase
from receiver.rollout import PROTECTED
from tests.builders import (
    NAME,
    NAMESPACE,
    T0,
    Counts,
    at,
    episode,
    hash_of,
    incident,
    journal,
    replicaset,
    rollout,
    undone,
)


def test_a_deployment_is_shown_in_short() -> None:
    found = views.of_summary(
        rollout(annotations={PROTECTED: "db"}, counts=Counts(updated=1)),
        journal(incident(), Pause(by="ann", why="x", at=T0)),
        T0,
    )
    assert found == {
        "namespace": NAMESPACE,
        "name": NAME,
        "enabled": True,
        "automation_paused": True,
        "protected": "db",
        "current": {
            "revision": 3,
            "hash": hash_of("v3"),
            "images": [{"container": "app", "image": "registry.example/checkout:v3"}],
            "created_at": "2026-03-02T11:55:00+00:00",
            "age_seconds": 300,
            "replicas": 3,
            "change_cause": "",
            "marks": ["current", "same_code_as_current"],
        },
        "rollout": "1 of 3 replicas are updated",
        "incident": "inc-v3",
        "release": None,
    }


def test_what_is_in_no_hurry_is_shown_as_such() -> None:
    found = views.of_summary(
        rollout(tag="v4", labels={"rollback-receiver/enabled": "no"}), journal(), T0
    )
    assert (found["enabled"], found["automation_paused"]) == (False, False)
    assert (found["protected"], found["current"], found["incident"]) == (None, None, None)


def test_the_history_is_shown_with_its_marks() -> None:
    raws = [
        replicaset(1, "v1", created=-2880),
        replicaset(4, "v2", created=-1440, history="2"),
        replicaset(3, "v3", created=-5, cause="c" * 600),
        replicaset(5, "v2", created=-4, restarted="now"),
    ]
    held = journal(episode("v1"), incident("v3", Phase.RECOVERED, applied=-3))
    found = views.of_deployment(rollout(*raws, tag="v2", restarted="now"), held, T0)
    assert [(h["revision"], h["marks"]) for h in found["history"]] == [
        (5, ["current", "same_code_as_current"]),
        (4, ["same_code_as_current", "reactivated"]),
        (3, ["quarantined"]),
        (1, ["suspect"]),
    ]
    assert found["history"][2]["change_cause"] == "c" * 500
    assert found["generation"] == 7


def test_no_revision_is_current_while_the_template_has_no_replicaset() -> None:
    raw = replicaset(1, "v1", created=-9)
    del raw["metadata"]["labels"]["pod-template-hash"]
    found = views.of_deployment(rollout(raw, tag="v4"), journal(), T0)
    assert [h["marks"] for h in found["history"]] == [[]]


def test_the_alerts_shown_are_those_that_fire() -> None:
    held = journal(
        episode(), episode("v2", fingerprint="b", ends=-1), episode("", fingerprint="c", asks=False)
    )
    found = views.of_deployment(undone(), held, T0)
    assert found["alerts"] == [
        {
            "alertname": "CheckoutErrors",
            "starts_at": "2026-03-02T11:58:00+00:00",
            "asks_for_rollback": True,
            "revision_hash": hash_of("v3"),
            "reason": "resolved",
        },
        {
            "alertname": "CheckoutErrors",
            "starts_at": "2026-03-02T11:58:00+00:00",
            "asks_for_rollback": False,
            "revision_hash": "",
            "reason": "resolved",
        },
    ]


def test_an_incident_is_shown_whole() -> None:
    ours = incident("v3", Phase.RECOVERED, applied=-4, completed=-3, entered=-1, detail="d")
    held = journal(
        episode(),
        episode(fingerprint="b", alertname="Latency"),
        episode("v2", fingerprint="c", alertname="Other"),
        ours,
        owed=(
            Owed(subject="inc-v3", sink="slack", since=T0),
            Owed(subject="inc-v3", sink="pager", since=T0),
            Owed(subject="other", sink="mail", since=T0),
        ),
    )
    found = views.of_incident(ours, held)
    assert found == {
        "id": "inc-v3",
        "namespace": NAMESPACE,
        "deployment": NAME,
        "phase": "recovered",
        "open": False,
        "reason": "rolled_back",
        "text": "The bad revision is rolled back.",
        "detail": "d",
        "by": "rollback-receiver",
        "why": "",
        "from": {
            "revision": 3,
            "hash": hash_of("v3"),
            "images": [{"container": "app", "image": "registry.example/checkout:v3"}],
        },
        "to": {
            "revision": 2,
            "hash": hash_of("v2"),
            "images": [{"container": "app", "image": "registry.example/checkout:v2"}],
        },
        "opened_at": at(-1).isoformat(),
        "phase_at": at(-1).isoformat(),
        "applied_at": at(-4).isoformat(),
        "completed_at": at(-3).isoformat(),
        "alerts": ["CheckoutErrors", "Latency"],
        "notices_owed": ["pager", "slack"],
    }
    by_hand = views.of_incident(replace(ours, actor="ann", to=None, applied=None), held)
    assert (by_hand["by"], by_hand["to"], by_hand["applied_at"]) == ("ann", None, None)


def test_incidents_are_shown_newest_first_and_everything_is_plain_json() -> None:
    held = journal(episode(), incident("v2", Phase.REFUSED), incident("v3"))
    found = views.of_deployment(rollout(), held, T0)
    assert [i["id"] for i in found["incidents"]] == ["inc-v3", "inc-v2"]
    assert json.loads(json.dumps(found)) == found
