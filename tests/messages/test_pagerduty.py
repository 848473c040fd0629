from dataclasses import replace
from typing import Any

import pytest

from receiver.messages import HEADLINES, RESOLVING, change_event, pagerduty, pagerduty_plain
from receiver.reasons import Reason, Severity
from tests.messages.limits import change_faults, pagerduty_faults
from tests.messages.stories import ALERT, BARE, FULL, RELEASES, STATES, T0, of_state, story

# Of a release only that it is being taken back, or could not be, is worth waking anybody.
PAGES = ("release_aborting", "release_not_undone")
PATIENT = [s for s in RELEASES if s not in PAGES and s not in RESOLVING]


def trigger(**changes: Any) -> dict[str, Any]:
    event = pagerduty(story(**changes))
    assert event is not None
    assert pagerduty_faults(event) == []
    return event


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("state", STATES)
def test_every_state_pages_resolves_or_is_silent(state: str, severity: Severity) -> None:
    event = pagerduty(story(state=state, severity=severity))
    if state in RESOLVING:
        assert event == {
            "event_action": "resolve",
            "dedup_key": "inc-0123456789ab",
            "client": "rollback-receiver",
        }
    elif (severity is Severity.INFO and state != "test") or state in ("shadow", *PATIENT):
        assert event is None
    else:
        assert event is not None
        assert pagerduty_faults(event) == []
        assert event["dedup_key"] == "inc-0123456789ab"
        assert event["payload"]["severity"] == severity.value
        summary = event["payload"]["summary"]
        words = HEADLINES[state].words
        assert summary == f"{words}: shop/checkout (eu-1) r42 → r41 (HighErrorRate)"


def test_only_what_ended_well_resolves() -> None:
    assert {
        "recovered",
        "resolved",
        "resolved_by_itself",
        "release_aborted",
        "release_completed",
        "mass_alert_over",
        "works_again",
        "heard_again",
        "not_expected",
    } == RESOLVING


def test_the_whole_event_says_where_why_and_what() -> None:
    event = trigger(state="did_not_help", reason=Reason.ROLLBACK_DID_NOT_HELP, actor="ann")
    payload = event["payload"]
    assert payload["source"] == "shop/checkout (eu-1)"
    assert payload["component"] == "checkout"
    assert payload["group"] == "shop"
    assert payload["class"] == "rollback_did_not_help"
    assert payload["timestamp"] == "2026-11-23T03:14:03+00:00"
    assert payload["custom_details"] == {
        "now": "The rollback is complete, and the alert still fires.",
        "to do": "Look for another cause. Nothing more is rolled back by itself.",
        "where": "cluster eu-1 · namespace shop · Deployment checkout",
        "severity": "critical",
        "began": "2026-11-23 03:10:00 UTC, 4 min 3 s before this",
        "revision": "r42 (7d9f8c6b5, of 2026-11-23 03:03:00 UTC)"
        " → r41 (5c4e1a2b3, of 2026-11-22 03:10:00 UTC)",
        "images": [
            "api: shop/api:2@sha256:abababa → shop/api:1",
            "proxy: envoy:1.30 (the same in both)",
        ],
        "why": "The alert fires although the rollback is complete.",
        "by hand": "ann",
        "alerts": [
            "HighErrorRate (critical, firing, began 2026-11-23 03:10:00 UTC): 12% of requests fail"
        ],
        "status": "kubectl -n shop rollout status deployment/checkout",
        "history": "kubectl -n shop rollout history deployment/checkout",
        "reason": "rollback_did_not_help",
        "incident": "inc-0123456789ab",
    }
    assert event["links"] == [
        {"href": ALERT.runbook_url, "text": "Runbook of HighErrorRate"},
        {"href": ALERT.dashboard_url, "text": "Dashboard of HighErrorRate"},
        {"href": ALERT.generator_url, "text": "Graph of HighErrorRate"},
    ]


def test_what_is_not_known_is_left_out() -> None:
    event = pagerduty(BARE)
    assert event is not None
    assert pagerduty_faults(event) == []
    assert "links" not in event
    assert "component" not in event["payload"]
    assert event["payload"]["source"] == "rollback-receiver"
    assert event["payload"]["summary"] == "ROLLBACK RECEIVER IS FAILING"


def test_the_plain_event_still_pages_under_the_same_key() -> None:
    event = pagerduty_plain(story())
    assert event is not None
    assert pagerduty_faults(event) == []
    assert set(event["payload"]) == {"summary", "source", "severity", "timestamp"}
    assert event["dedup_key"] == trigger()["dedup_key"]


def test_a_summary_names_one_alert_and_counts_the_others() -> None:
    alerts = (ALERT, replace(ALERT, alertname="Slow"), replace(ALERT, alertname="Down"))
    assert trigger(alerts=alerts)["payload"]["summary"].endswith("(HighErrorRate +2)")


def test_the_longest_names_leave_the_outcome_in_the_summary() -> None:
    event = trigger(namespace="n" * 63, deployment="d" * 253, cluster="c" * 63)
    assert event["payload"]["summary"].startswith("ROLLBACK FAILED: nnn")
    assert "r42 → r41" in event["payload"]["summary"]


@pytest.mark.parametrize("subject", ["s" * 256, "s" * 100_000, "inc\n1", "inc\ud8001"])
def test_a_key_that_does_not_fit_is_told_by_its_digest(subject: str) -> None:
    key = trigger(subject=subject)["dedup_key"]
    assert len(key) == 64
    assert key == trigger(subject=subject)["dedup_key"]
    assert key != trigger(subject=subject + "2")["dedup_key"]


def test_a_key_of_the_longest_length_is_kept() -> None:
    assert trigger(subject="s" * 255)["dedup_key"] == "s" * 255


def test_the_key_is_the_same_whatever_the_state_and_severity() -> None:
    keys = {
        event["dedup_key"]
        for state in STATES
        for severity in Severity
        if (event := pagerduty(story(state=state, severity=severity))) is not None
    }
    assert keys == {"inc-0123456789ab"}


def test_the_value_of_the_alert_is_in_what_a_phone_shows() -> None:
    event = pagerduty(FULL)
    assert event is not None
    assert event["payload"]["summary"] == (
        "ROLLBACK FAILED: shop/checkout (eu-1) r42 → r41 (HighErrorRate 12.3%)"
    )


def test_what_to_do_and_whom_to_call_is_in_the_details() -> None:
    details = trigger(**{name: getattr(FULL, name) for name in FULL.__slots__})["payload"][
        "custom_details"
    ]
    assert details["undo this"].endswith("undo deployment/checkout --to-revision=42")
    assert details["undo this by api"].startswith("curl ")
    assert details["contacts"][0] == "Call On-Call Engineer: +91-XXX-XXX-XXXX (24/7)"
    assert details["not reverted"].startswith("ConfigMaps, Secrets, database migrations")


def test_the_event_leads_to_the_receiver_when_it_has_an_address() -> None:
    site = replace(FULL.site, receiver_url="https://rollback.example.com")
    assert trigger(site=site)["client_url"] == "https://rollback.example.com"
    assert "client_url" not in trigger()


def test_a_rollback_that_was_applied_is_a_change() -> None:
    change = change_event(FULL)
    assert change is not None
    assert change_faults(change) == []
    assert change["payload"]["summary"] == "Rolled back shop/checkout (eu-1) r42 → r41"
    assert change["payload"]["timestamp"] == "2026-11-23T03:10:41+00:00"
    assert [link["text"].split()[0] for link in change["links"]] == [
        *("Runbook", "Dashboard", "Graph", "Silence")
    ]


@pytest.mark.parametrize("state", STATES)
def test_nothing_else_is_a_change(state: str) -> None:
    told = of_state(state)
    assert (change_event(told) is None) == (told.applied_at is None)
    bare = change_event(replace(BARE, applied_at=T0))
    assert bare is not None
    assert change_faults(bare) == []
