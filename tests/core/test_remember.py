from dataclasses import replace
from typing import Any

import pytest

from receiver.alerts import Alert
from receiver.controller.answers import Action, Answer
from receiver.controller.remember import (
    JUST,
    Arrival,
    answer,
    close,
    decide_deferred,
    incident_id,
    remember,
    route_of,
    severity_of,
)
from receiver.decisions import Decision
from receiver.journal import Episode, Journal, Notice, Pause, Phase
from receiver.reasons import Reason, Severity
from receiver.rollout import PROTECTED, Rollout
from tests.builders import (
    NAME,
    NAMESPACE,
    T0,
    UID,
    alert,
    at,
    code,
    episode,
    hash_of,
    incident,
    journal,
    look,
    mark,
    rollout,
    three,
    undone,
)

A, B = "00000000000000a1", "00000000000000b2"
PAUSE = Pause(by="ann", why="load test", at=at(-30))
PAUSED = journal(PAUSE)


def routes(severity: str) -> tuple[str, ...]:
    return ("slack", "pager") if severity == "critical" else ("slack",)


def heard(
    journal_: Journal,
    *alerts: Alert,
    minutes: float = 0,
    rollout_: Rollout | None = None,
    stopped: str = "",
    trouble: float | None = None,
    named: str = "",
    track: str = "",
    **changes: Any,
) -> tuple[Journal, tuple[Answer, ...]]:
    """Return what is remembered, and answered, when these alerts arrive."""
    seen = rollout_ or rollout()
    arrivals = [
        Arrival(
            alert=a,
            trouble_at=a.starts_at if trouble is None else at(trouble),
            named=named,
            track=track,
        )
        for a in alerts
    ]
    return remember(
        look(seen, journal_, now=at(minutes), stopped=stopped, **changes), seen, arrivals, routes
    )


def _owed(journal_: Journal) -> set[tuple[str, str]]:
    return {(o.subject, o.sink) for o in journal_.owed}


# --- a bad release


def test_an_alert_of_a_bad_release_opens_an_incident_that_nobody_is_told_of_yet() -> None:
    held, (said,) = heard(journal(), alert())
    (found,) = held.incidents
    assert found.id == incident_id(journal(), UID, code("v3"))
    assert (found.phase, found.reason) == (Phase.SETTLING, Reason.ROLLED_BACK)
    assert (found.uid, found.bad, found.to) == (UID, mark("v3"), mark("v2"))
    assert (found.opened_at, found.phase_at) == (T0, T0)
    assert (found.severity, found.actor, found.intent) == (Severity.CRITICAL, "", None)
    assert (held.owed, held.notices) == ((), ())
    assert said == Answer(
        fingerprint=A,
        alertname="CheckoutErrors",
        action=Action.ROLL_BACK,
        reason=Reason.ROLLED_BACK,
        text="It is to be rolled back to revision 2.",
        namespace=NAMESPACE,
        deployment=NAME,
        incident=found.id,
    )


def test_an_episode_is_remembered_with_what_people_will_want_to_read() -> None:
    notes = {
        "summary": "a\nb",
        "message": "m" * 300,
        "runbook_url": "https://run.example/1",
        "dashboard_url": "https://dash.example/1",
    }
    held, _ = heard(journal(), alert(annotations=notes), trouble=-3, track="stable")
    assert held.episodes == (
        Episode(
            fingerprint=A,
            starts_at=at(-2),
            ends_at=None,
            trouble_at=at(-3),
            seen_at=T0,
            alertname="CheckoutErrors",
            severity=Severity.CRITICAL,
            asks=True,
            uid=UID,
            code=code("v3"),
            named="",
            reason=Reason.ROLLED_BACK,
            track="stable",
            summary="a b",
            description="m" * 239 + "…",
            runbook_url="https://run.example/1",
            dashboard_url="https://dash.example/1",
            labels=(("alertname", "CheckoutErrors"), ("severity", "critical")),
        ),
    )


def test_what_an_alert_measured_and_where_it_is_found_is_remembered() -> None:
    said = replace(
        alert(annotations={"value": " 12.3% "}),
        generator_url="http://prometheus/graph?g0.expr=" + "x" * 900,
        external_url="https://alertmanager.example",
    )
    held, _ = heard(journal(), said)
    assert held.episodes[0].value == "12.3%"
    assert held.episodes[0].generator_url == said.generator_url
    assert held.episodes[0].external_url == "https://alertmanager.example"
    held, _ = heard(journal(), alert(annotations={"current_value": "v" * 300}))
    assert held.episodes[0].value == "v" * 59 + "…"


@pytest.mark.parametrize(
    "url",
    ["https://x.example/" + "x" * 1000, "javascript:alert(1)", "https://x.example/ a", "//x", ""],
)
def test_part_of_a_url_and_what_is_none_are_not_remembered(url: str) -> None:
    said = replace(alert(annotations={"runbook_url": url}), generator_url=url, external_url=url)
    (found,) = heard(journal(), said)[0].episodes
    assert (found.runbook_url, found.generator_url, found.external_url) == ("", "", "")


def test_of_many_labels_some_are_remembered_and_long_ones_are_cut() -> None:
    many = {f"label{n:03}": "v" * 500 for n in range(100)}
    (found,) = heard(journal(), alert(labels=many))[0].episodes
    assert found.labels[0] == ("alertname", "CheckoutErrors")
    assert found.labels[1] == ("label000", "v" * 239 + "…")
    assert sum(len(name) + len(value) for name, value in found.labels) <= 2000
    assert len(found.labels) == 8


def test_a_repeat_is_answered_with_the_incident_and_opens_none() -> None:
    held, (first,) = heard(journal(), alert())
    again, (said,) = heard(held, alert(), minutes=5)
    assert (said.reason, said.action) == (Reason.ALREADY_HANDLED, Action.NONE)
    assert said.incident == first.incident
    assert again.incidents == held.incidents
    assert len(again.episodes) == 1
    assert again.owed == ()
    assert heard(again, alert(), minutes=10)[0] == again, "nothing is written any more"


def test_several_alerts_of_one_bad_release_open_one_incident() -> None:
    held, said = heard(journal(), alert(), alert(fingerprint=B, name="Latency"))
    assert [s.reason for s in said] == [Reason.ROLLED_BACK, Reason.ALREADY_HANDLED]
    assert said[0].incident == said[1].incident == held.incidents[0].id
    assert len(held.incidents) == 1
    assert [e.fingerprint for e in held.episodes] == [A, B]


def test_an_episode_keeps_its_first_binding() -> None:
    held, _ = heard(journal(), alert())
    newer = rollout(*three(), tag="v2")
    again, _ = heard(held, alert(), rollout_=newer, minutes=3)
    assert [e.code for e in again.episodes] == [code("v3")]


def test_an_episode_that_could_not_be_bound_is_bound_when_it_can_be() -> None:
    held, (said,) = heard(journal(), alert(), rollout_=rollout(*three()[:2]))
    assert (said.reason, said.action) == (Reason.NOT_OBSERVED, Action.WAIT)
    assert [(e.code, e.due) for e in held.episodes] == [("", at(2 / 60))]
    assert held.owed == (), "waiting is not told"
    later = decide_deferred(look(rollout(), held, now=at(0.1)), rollout(), routes)
    assert [(e.code, e.due, e.reason) for e in later.episodes] == [
        (code("v3"), None, Reason.ROLLED_BACK)
    ]
    assert len(later.incidents) == 1


def test_an_alert_makes_the_revision_that_it_names_suspect_whatever_is_decided() -> None:
    held, (said,) = heard(journal(), alert(), named=hash_of("v2"))
    assert said.reason is Reason.REVISION_NOT_CURRENT
    assert held.suspects(UID, T0) == {code("v2"): at(-2)}


# --- episodes


def test_an_earlier_start_of_what_is_open_is_the_same_episode() -> None:
    """Two Prometheus of a pair start an alert at slightly other times."""
    held, _ = heard(journal(), alert(starts=-2))
    again, (said,) = heard(held, alert(starts=-2.2), minutes=1)
    assert said.reason is Reason.ALREADY_HANDLED
    assert [e.starts_at for e in again.episodes] == [at(-2)]


def test_a_later_start_closes_what_is_open_and_takes_its_place() -> None:
    held, _ = heard(journal(), alert(starts=-2))
    again, _ = heard(held, alert(starts=1), minutes=2)
    assert [(e.starts_at, e.ends_at) for e in again.episodes] == [
        (at(-2), at(1) - JUST),
        (at(1), None),
    ]


def test_a_resolved_alert_closes_its_episode_and_is_no_proof_of_anything_else() -> None:
    held, _ = heard(journal(), alert())
    again, (said,) = heard(held, alert(ends=3), minutes=4)
    assert (said.reason, said.action, said.incident) == (Reason.RESOLVED, Action.NONE, "")
    assert [(e.ends_at, e.due) for e in again.episodes] == [(at(3), None)]
    assert again.incidents == held.incidents
    assert again.owed == ()
    assert heard(again, alert(ends=3), minutes=5)[0] == again


def test_a_resolved_alert_closes_an_episode_whose_start_had_moved() -> None:
    held, _ = heard(journal(), alert(starts=-2))
    again = close(held, alert(starts=-2.2, ends=3), at(4))
    assert [e.ends_at for e in again.episodes if e.asks] == [at(3)]


def test_a_late_resolved_closes_no_newer_episode() -> None:
    held, _ = heard(journal(), alert(starts=-1))
    again = close(held, alert(starts=-9, ends=-5), T0)
    assert [e.ends_at for e in again.episodes if e.starts_at == at(-1)] == [None]


def test_a_resolved_alert_ends_a_wait() -> None:
    held = journal(episode(due=1, reason=Reason.COOLDOWN))
    again = close(held, alert(ends=0), T0)
    assert [(e.due, e.ends_at) for e in again.episodes] == [(None, T0)]
    assert again.deferred == ()


@pytest.mark.parametrize(
    "starts", [-2, -5, 3], ids=["the same start", "an earlier start", "the very end"]
)
def test_what_fires_after_it_was_resolved_is_a_late_delivery(starts: float) -> None:
    held, _ = heard(journal(), alert(ends=3), minutes=4)
    again, (said,) = heard(held, alert(starts=starts), minutes=5)
    assert (said.reason, said.action) == (Reason.STALE, Action.NONE)
    assert again == held


def test_an_unknown_resolved_alert_leaves_a_tombstone_that_asks_for_nothing() -> None:
    held, (said,) = heard(journal(), alert(ends=-1))
    assert said.reason is Reason.RESOLVED
    assert [(e.starts_at, e.ends_at, e.asks, e.code) for e in held.episodes] == [
        (at(-2), at(-1), False, "")
    ]
    assert held.suspects(UID, T0) == {}


def test_what_fires_again_after_it_was_resolved_is_a_new_episode() -> None:
    held, _ = heard(journal(), alert(), minutes=0)
    gone = held.with_incident(held.incidents[0].enter(Phase.RESOLVED_BY_ITSELF, at(4)))
    gone, _ = heard(gone, alert(ends=3), minutes=4)
    again, (said,) = heard(gone, alert(starts=5), minutes=6)
    assert said.reason is Reason.ROLLED_BACK
    assert len(again.incidents) == 2
    assert said.incident == again.incidents[1].id != again.incidents[0].id


# --- guards


def test_a_refusal_by_a_guard_is_an_incident_that_is_over_and_told() -> None:
    held, (said,) = heard(PAUSED, alert())
    (found,) = held.incidents
    assert (found.phase, found.reason, found.to) == (Phase.REFUSED, Reason.PAUSED, None)
    assert found.detail == "by ann: load test"
    assert _owed(held) == {(found.id, "slack"), (found.id, "pager")}
    assert (said.action, said.incident) == (Action.REFUSE, found.id)
    assert said.text == "Automation of this Deployment is paused. (by ann: load test)"


@pytest.mark.parametrize(
    ("held", "changes", "reason"),
    [
        (PAUSED, {}, Reason.PAUSED),
        (journal(), {"stopped": "night"}, Reason.STOPPED),
        (journal(), {"rollout_": rollout(annotations={PROTECTED: "db"})}, Reason.PROTECTED),
    ],
    ids=["paused", "stopped", "protected"],
)
def test_a_refusal_by_a_guard_is_final_for_the_episode_but_not_for_a_new_one(
    held: Journal, changes: dict[str, Any], reason: Reason
) -> None:
    refused, (said,) = heard(held, alert(), **changes)
    assert said.reason is reason
    lifted = replace(refused, pause=None)
    for minutes in (1, 30):
        lifted, (said,) = heard(lifted, alert(), minutes=minutes)
        assert (said.reason, said.action) == (Reason.ALREADY_HANDLED, Action.NONE)
        assert [e.reason for e in lifted.episodes] == [reason]
    assert decide_deferred(look(rollout(), lifted, now=at(40)), rollout(), routes) == lifted
    lifted, _ = heard(lifted, alert(ends=40), minutes=41)
    again, (said,) = heard(lifted, alert(starts=42), minutes=43)
    assert said.reason is Reason.ROLLED_BACK
    assert [i.phase for i in again.incidents] == [Phase.REFUSED, Phase.SETTLING]


def test_a_refusal_by_a_guard_is_told_once_for_all_alerts_of_a_release() -> None:
    held, said = heard(PAUSED, alert(), alert(fingerprint=B))
    assert len(held.incidents) == 1
    assert [s.reason for s in said] == [Reason.PAUSED, Reason.PAUSED]
    assert said[0].incident == said[1].incident == held.incidents[0].id
    later, (third,) = heard(replace(held, owed=()), alert(fingerprint="c" * 16), minutes=60)
    assert third.reason is Reason.PAUSED
    assert len(later.incidents) == 1
    assert later.owed == ()


def test_another_guard_is_told_of_too() -> None:
    held, _ = heard(PAUSED, alert())
    again, (said,) = heard(held, alert(fingerprint=B), stopped="night", minutes=1)
    assert said.reason is Reason.STOPPED
    assert [i.reason for i in again.incidents] == [Reason.PAUSED, Reason.STOPPED]


def test_a_refusal_by_a_guard_is_told_again_when_the_last_one_is_long_over() -> None:
    old = incident("v3", Phase.REFUSED, reason=Reason.PAUSED, entered=-24 * 60, opened=-24 * 60)
    held, _ = heard(journal(old, PAUSE), alert())
    assert [i.phase_at for i in held.incidents] == [at(-24 * 60), T0]
    firing = episode(fingerprint=B, starts=-3000, reason=Reason.PAUSED)
    held, (said,) = heard(journal(old, firing, PAUSE), alert())
    assert len(held.incidents) == 1, "that one still fires"
    assert said.incident == old.id


def test_a_refusal_by_a_guard_of_what_is_not_current_opens_no_incident() -> None:
    held, (said,) = heard(PAUSED, alert(), trouble=-6)
    assert said.reason is Reason.PAUSED
    assert held.incidents == ()
    assert [n.reason for n in held.notices] == [Reason.PAUSED]


# --- refusals and shadow


def test_a_refusal_is_told_once_for_a_target_a_revision_and_a_reason() -> None:
    alone = rollout(three()[2])
    held, (said, _) = heard(journal(), alert(), alert(fingerprint=B), rollout_=alone)
    (notice,) = held.notices
    assert notice == Notice(
        subject=notice.subject,
        state="refused",
        reason=Reason.NO_GOOD_REVISION,
        severity=Severity.CRITICAL,
        at=T0,
        started_at=at(-2),
        namespace=NAMESPACE,
        deployment=NAME,
        episodes=(A, B),
        detail="no rollout history: the Deployment has no revision of other code",
    )
    assert notice.subject.startswith("ref-")
    assert _owed(held) == {(notice.subject, "slack"), (notice.subject, "pager")}
    assert (said.action, said.incident) == (Action.REFUSE, "")
    later, _ = heard(replace(held, owed=()), alert(), minutes=60, rollout_=alone)
    assert (later.notices, later.owed) == ((notice,), ())


def test_another_reason_is_told_too() -> None:
    held, _ = heard(journal(), alert(), rollout_=rollout(three()[2]))
    again, (said,) = heard(held, alert(), rollout_=rollout(deleting=True), minutes=1)
    assert said.reason is Reason.DELETING
    assert [n.reason for n in again.notices] == [Reason.NO_GOOD_REVISION, Reason.DELETING]


@pytest.mark.parametrize(
    ("label", "severity"),
    [("info", Severity.WARNING), ("warning", Severity.WARNING), ("critical", Severity.CRITICAL)],
)
def test_a_refusal_is_told_as_loudly_as_the_alert_and_at_least_as_the_table_says(
    label: str, severity: Severity
) -> None:
    held, (said,) = heard(journal(), alert(labels={"severity": label}), trouble=-6)
    assert (said.reason, said.action) == (Reason.PREDATES_RELEASE, Action.WAIT)
    assert [n.severity for n in held.notices] == [severity]


def test_an_alert_that_predates_its_release_is_told_again_when_it_is_inherited() -> None:
    held, _ = heard(journal(), alert(labels={"severity": "warning"}), trouble=-6)
    assert [e.due for e in held.deferred] == [at(10)]
    early = decide_deferred(look(rollout(), held, now=at(9)), rollout(), routes)
    assert early == held
    later = decide_deferred(look(rollout(), held, now=at(10)), rollout(), routes)
    assert [(n.reason, n.severity) for n in later.notices] == [
        (Reason.PREDATES_RELEASE, Severity.WARNING),
        (Reason.INHERITED_ALERT, Severity.CRITICAL),
    ]
    assert later.deferred == ()
    assert [s for _, s in sorted(_owed(later))].count("pager") == 1


def test_a_cooldown_is_waited_for_silently_and_then_told_when_it_did_not_help() -> None:
    over = incident("v3", Phase.RECOVERED, applied=-8, completed=-6, opened=-9, entered=-5)
    held, (said,) = heard(journal(over), alert(starts=-1), rollout_=undone())
    assert (said.reason, said.action, said.incident) == (
        Reason.COOLDOWN,
        Action.WAIT,
        "inc-v3",
    )
    assert (held.owed, [e.due for e in held.deferred]) == ((), [at(4)])
    later = decide_deferred(look(undone(), held, now=at(4)), undone(), routes)
    assert [n.reason for n in later.notices] == [Reason.ROLLBACK_DID_NOT_HELP]
    again, (said,) = heard(later, alert(starts=-1), rollout_=undone(), minutes=20)
    assert said.reason is Reason.ROLLBACK_DID_NOT_HELP
    assert again.notices == later.notices


def test_shadow_opens_no_incident_handles_nothing_and_is_told_once() -> None:
    held, (said, _) = heard(journal(), alert(), alert(fingerprint=B), mode="shadow")
    assert (held.incidents, held.handled) == ((), ())
    assert held.quarantined(UID) == frozenset()
    (notice,) = held.notices
    assert (notice.state, notice.severity) == ("shadow", Severity.INFO)
    assert notice.detail == (
        "it would have been rolled back to revision 2 (registry.example/checkout:v2)"
    )
    assert _owed(held) == {(notice.subject, "slack")}
    assert (said.action, said.incident) == (Action.NONE, "")
    assert said.text.endswith("what would have been rolled back. To revision 2.")
    _, (said,) = heard(held, alert(), minutes=1)
    assert said.reason is Reason.ROLLED_BACK


# --- ids


def test_the_id_of_an_incident_is_the_same_for_every_replica() -> None:
    assert incident_id(journal(), UID, code("v3")) == incident_id(Journal(), UID, code("v3"))
    ids = {
        incident_id(journal(), UID, code("v3")),
        incident_id(journal(), UID, code("v2")),
        incident_id(journal(), "another", code("v3")),
        incident_id(journal(handled=((UID, code("v3")),)), UID, code("v3")),
    }
    assert len(ids) == 4
    assert all(i.startswith("inc-") and len(i) == 16 for i in ids)


@pytest.mark.parametrize("prefix", ["inc-", "man-"])
def test_an_id_is_not_given_twice_when_earlier_incidents_were_dropped(prefix: str) -> None:
    first = incident("v3", Phase.REFUSED, id_="inc-000000000000")
    held = journal(first)
    second_id = incident_id(held, UID, code("v3")).replace("inc-", prefix)
    held = held.with_incident(replace(first, id=second_id))
    dropped = replace(held, incidents=held.incidents[1:])
    third = incident_id(dropped, UID, code("v3"))
    assert third.partition("-")[2] != second_id.partition("-")[2]
    assert dropped.with_incident(replace(first, id=third)).incidents[0].id == second_id


# --- words


@pytest.mark.parametrize(
    ("label", "severity", "route"),
    [
        ("critical", Severity.CRITICAL, "critical"),
        (" Page ", Severity.CRITICAL, "critical"),
        ("error", Severity.CRITICAL, "critical"),
        ("warning", Severity.WARNING, "warning"),
        ("info", Severity.INFO, "info"),
        ("none", Severity.INFO, "info"),
        ("p3", Severity.WARNING, "default"),
        ("", Severity.WARNING, "default"),
    ],
)
def test_a_severity_is_read_from_its_label(label: str, severity: Severity, route: str) -> None:
    given = alert(labels={"severity": label})
    assert severity_of(given) is severity
    assert route_of(given) == route


@pytest.mark.parametrize(
    ("decision", "action", "text"),
    [
        (Decision(reason=Reason.NOTIFY_ONLY), Action.NOTIFY, "passed on by severity."),
        (Decision(reason=Reason.WATCHDOG), Action.NONE, "The heartbeat of the monitoring arrived."),
        (Decision(reason=Reason.COOLDOWN, due=T0), Action.WAIT, "has just ended."),
        (Decision(reason=Reason.NO_TARGET), Action.REFUSE, "Deployment, ReplicaSet or pod."),
        (Decision(reason=Reason.PAUSED, detail="x"), Action.REFUSE, "is paused. (x)"),
    ],
    ids=lambda value: value.reason.value if isinstance(value, Decision) else None,
)
def test_an_answer_says_what_is_done_and_why(decision: Decision, action: Action, text: str) -> None:
    said = answer(alert(), decision)
    assert (said.action, said.reason) == (action, decision.reason)
    assert said.text.endswith(text)
    assert (said.namespace, said.deployment, said.incident) == ("", "", "")
