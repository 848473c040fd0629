import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime

from receiver.errors import StateUnreadable
from receiver.journal import (
    BYTES_KEPT,
    DEAD_KEPT,
    EPISODES_KEPT,
    HANDLED_KEPT,
    INCIDENTS_KEPT,
    MEMBERS_KEPT,
    NOTICES_KEPT,
    OPEN,
    REPLIES_KEPT,
    SUSPECT_FOR,
    TOLD_KEPT,
    VERSION,
    Dead,
    Incident,
    Journal,
    Notice,
    Owed,
    Phase,
    Rehearsal,
    Reply,
    Told,
    bounded,
    dump,
    ended_at,
    load,
    member,
    name_of,
)
from receiver.journal.bounds import ENDED_KEPT, STANDING, STANDS
from receiver.messages import HEARD_AGAIN, MASS_ALERT, SILENT
from receiver.reasons import Reason, Severity
from receiver.release import aborted
from tests.builders import T0, UID, at, code, episode, incident, journal
from tests.release.worlds import at_step

# --- written and read

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_MOMENT = st.integers(-(10**15), 10**15).map(lambda us: T0 + timedelta(microseconds=us))


def _journals() -> st.SearchStrategy[Journal]:
    st.register_type_strategy(AwareDatetime, _MOMENT)
    st.register_type_strategy(str, _TEXT)
    return st.from_type(Journal).map(lambda j: replace(j, version=VERSION))


@given(_journals())
def test_what_is_written_is_read_back_exactly(given_: Journal) -> None:
    text = dump(given_)
    assert load(text) == given_
    reasons = {e.reason for e in given_.episodes} | {n.reason for n in given_.notices}
    reasons |= {i.reason for i in given_.incidents}
    newest = given_.release or given_.aborted or reasons - REASONS_OF_2
    newer = (
        given_.rehearsals
        or given_.troubled
        or given_.verified
        or any(e.labels or e.value or e.external_url for e in given_.episodes)
        or given_.dead
        or any(i.resolved_at for i in given_.incidents)
        or any(n.members or n.more or n.tally or n.sinks for n in given_.notices)
        or any(o.doubt or o.instead_of or o.waiting or o.fell_back for o in given_.owed)
        or any(t.mark for t in given_.told)
    )
    assert json.loads(text)["version"] == (3 if newest else 2 if newer else 1)


def test_an_absent_journal_is_an_empty_one() -> None:
    assert load(None) == Journal()
    assert load(dump(Journal())) == Journal()
    assert dump(Journal()) == '{"version":1}'


# --- from one version to another

V1 = (Path(__file__).parents[1] / "fixtures" / "journal" / "v1-verifying.json").read_text()
# The keys of a journal of version 1: it refuses any other.
KEYS_OF_1 = {
    *("version", "namespace", "deployment", "claim", "pause", "incidents", "episodes", "notices"),
    *("owed", "told", "replies", "handled", "cleared"),
}


def test_a_journal_of_version_1_is_read_as_it_was_meant() -> None:
    found = load(V1)
    assert (found.version, found.claim) == (3, "replica-of-before")
    (incident_,) = found.incidents
    assert (incident_.phase, incident_.bad.number, incident_.left) == (Phase.VERIFYING, 3, True)
    assert json.loads(dump(found)) == json.loads(V1)


def test_what_version_1_could_say_is_said_in_version_1() -> None:
    text = dump(journal(episode(), incident(applied=0)))
    assert json.loads(text)["version"] == 1
    assert set(json.loads(text)) <= KEYS_OF_1


def test_what_version_1_does_not_know_makes_it_version_2() -> None:
    """A replica of before then keeps it and refuses (`state_unreadable`), which pages."""
    seen = Rehearsal(alertname="Errors", fingerprint="a", starts_at=T0, uid="u", code="c", at=at(1))
    text = dump(journal(episode()).rehearsed(seen))
    assert json.loads(text)["version"] == 2
    assert load(text).rehearsals == (seen,)


def test_what_version_2_could_say_is_said_in_version_2_and_a_release_makes_it_version_3() -> None:
    seen = Rehearsal(alertname="Errors", fingerprint="a", starts_at=T0, uid="u", code="c", at=at(1))
    second = journal(episode()).rehearsed(seen)
    assert set(json.loads(dump(second))) <= KEYS_OF_1 | {"rehearsals"}
    assert json.loads(dump(second))["version"] == 2
    assert json.loads(dump(replace(second, aborted=(("u", "c"),))))["version"] == 3


# What a replica knows that reads version 2. Add nothing here: a new reason belongs to a new version
# (`stored`), so that an older replica takes a journal with it for newer, and not for damaged.
_OF_2 = """
already_handled bad_revision_returned breaker_open alert_not_allowed budget_spent cooldown
current_changed deleting deployment_paused fate_unknown forbidden frozen gitops_owned
human_in_charge inherited_alert invalid_target kind_not_supported namespace_not_allowed
no_good_revision no_target not_a_new_release not_observed not_opted_in not_this_track
notify_only other_cluster outside_window paused predates_release protected rejected resolved
revision_not_current rollback_did_not_help rolled_back same_template shadow shared_cause
stale state_unreadable stopped target_not_found token_not_allowed unknown_revision watchdog
"""
REASONS_OF_2 = frozenset(_OF_2.split())


@pytest.mark.parametrize("reason", Reason)
def test_a_journal_without_a_release_is_newer_where_its_reasons_are(reason: Reason) -> None:
    """The alerts of a canary are judged by the release in the journal of another Deployment."""
    newest = 1 if reason in REASONS_OF_2 else 3
    for held in (
        journal(episode(reason=reason)),
        journal(incident(reason=reason)),
        journal(notices=(replace(_notice("n"), reason=reason),)),
    ):
        assert json.loads(dump(held))["version"] == newest
        assert load(dump(held)) == held


def test_a_journal_with_a_word_of_a_newer_version_is_told_from_a_damaged_one() -> None:
    newer = {"version": 4, "episodes": [_EPISODE | {"reason": "word_of_version_4"}]}
    with pytest.raises(StateUnreadable, match="of version 4, known is 3"):
        load(_broken(newer))
    with pytest.raises(StateUnreadable, match=r"damaged: episodes\.0\.reason"):
        load(_broken(newer | {"version": 3}))


@pytest.mark.parametrize("step", ["preparing", "soaking", "waiting", "promoting", "watching"])
def test_a_release_survives_being_written_and_read_in_every_step(step: str) -> None:
    held = journal(release=at_step(step).release)
    assert json.loads(dump(held))["version"] == 3
    assert load(dump(held)) == held
    assert held.busy
    over = replace(held, release=held.release and aborted(held.release, T0))
    assert not over.busy


def test_what_an_earlier_version_2_said_with_fewer_words_is_read() -> None:
    """It said whether a notice fell back, and which members had ended, but not when."""
    members = ("a", member("b", T0))
    bundle = replace(_notice("n"), members=members, tally=(("Errors", 2),))
    written = json.loads(dump(journal().with_notice(bundle).owe("n", ["pager"], T0)))
    written["notices"][0]["members"][1] = "b-"
    written["owed"][0]["fell_back"] = True
    found = load(json.dumps(written))
    assert found.owed[0].fell_back is None
    assert [ended_at(m) is None for m in found.notices[0].members] == [True, False]
    assert found.notices[0].firing == 1


def _broken(change: dict[str, Any]) -> str:
    return json.dumps(json.loads(dump(journal(episode(), incident(applied=0)))) | change)


_EPISODE = json.loads(dump(journal(episode())))["episodes"][0]
_INCIDENT = json.loads(dump(journal(incident())))["incidents"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "it is no JSON object", id="empty"),
        pytest.param("{", "it is no JSON object", id="cut"),
        pytest.param("[]", "it is no JSON object", id="list"),
        pytest.param("null", "it is no JSON object", id="null"),
        pytest.param("[" * 100_000, "it is no JSON object", id="deep"),
        pytest.param("{}", "of version None, known is 3", id="no version"),
        pytest.param(_broken({"version": 4}), "of version 4, known is 3", id="newer"),
        pytest.param(_broken({"version": "1"}), "of version 1, known is 3", id="text"),
        pytest.param(_broken({"releases": {}}), "damaged: releases", id="unknown key"),
        pytest.param(_broken({"episodes": None}), "damaged: episodes", id="null list"),
        pytest.param(
            _broken({"episodes": [_EPISODE | {"new": 1}]}),
            "damaged: episodes.0.new",
            id="unknown key within",
        ),
        pytest.param(
            _broken({"incidents": [_INCIDENT | {"bad": {}}]}),
            "damaged: incidents.0.bad.code",
            id="missing key within",
        ),
        pytest.param(
            _broken({"incidents": [_INCIDENT | {"phase": "promoting"}]}),
            "damaged: incidents.0.phase",
            id="unknown phase",
        ),
        pytest.param(
            _broken({"episodes": [_EPISODE | {"trouble_at": "2026-03-02T12:00:00"}]}),
            "damaged: episodes.0.trouble_at",
            id="a moment without zone",
        ),
    ],
)
def test_what_is_damaged_or_newer_is_unreadable_and_never_empty(text: str, message: str) -> None:
    with pytest.raises(StateUnreadable) as raised:
        load(text)
    assert message in str(raised.value)


def test_a_damaged_journal_is_not_quoted_in_its_error() -> None:
    with pytest.raises(StateUnreadable) as raised:
        load(_broken({"episodes": "hunter2"}))
    assert "hunter2" not in str(raised.value)


# --- names


def test_the_name_of_a_journal_is_readable_unique_and_short_enough() -> None:
    assert (
        name_of("shop", "checkout") == "journal-shop-checkout-" + name_of("shop", "checkout")[-10:]
    )
    assert name_of("a-b", "c") != name_of("a", "b-c")
    long = name_of("n" * 63, "d" * 149 + "." + "e" * 103)
    assert len(long) <= 253
    assert "d-" in long, "no dot before the digest"
    assert name_of("n", "d" * 200 + "a") != name_of("n", "d" * 200 + "b")


# --- what it says


@pytest.mark.parametrize(
    ("held", "busy"),
    [
        pytest.param(journal(), False, id="nothing"),
        pytest.param(journal(episode(due=5)), True, id="deferred"),
        pytest.param(journal(episode(due=5, ends=-1)), False, id="deferred and resolved"),
        pytest.param(journal(episode()), False, id="firing"),
        pytest.param(journal(incident()), True, id="open"),
        pytest.param(journal(incident("v3", Phase.RECOVERED)), False, id="over"),
        pytest.param(journal().owe("inc-v3", ["slack"], T0), True, id="owed"),
    ],
)
def test_a_journal_is_busy_while_there_is_work(held: Journal, busy: bool) -> None:
    assert held.busy is busy


def test_open_is_what_has_no_terminal_phase() -> None:
    assert [p.value for p in Phase if p in OPEN] == [
        "settling",
        "applying",
        "following",
        "verifying",
    ]


_LEFT = incident("v3", Phase.RECOVERED, id_="a", applied=-9)
_REFUSED = incident("v3", Phase.REFUSED, id_="b")
_OPEN = incident("v3", id_="c")


@pytest.mark.parametrize(
    ("incidents", "counts"),
    [
        pytest.param((), None, id="none"),
        pytest.param((incident("v2"),), None, id="another code"),
        pytest.param((replace(_OPEN, uid="another"),), None, id="another Deployment"),
        pytest.param((_REFUSED, replace(_REFUSED, id="d")), "d", id="the newest"),
        pytest.param((_LEFT, _REFUSED), "a", id="left before refused"),
        pytest.param((_LEFT, replace(_LEFT, id="d"), _REFUSED), "d", id="left last"),
        pytest.param((_LEFT, _OPEN, _REFUSED), "c", id="open before all"),
    ],
)
def test_the_incident_that_counts_is_open_or_left_or_the_newest(
    incidents: tuple[Incident, ...], counts: str | None
) -> None:
    found = journal(*incidents).incident_of(UID, code("v3"))
    assert (found.id if found else None) == counts


def test_an_episode_replaces_the_one_of_its_fingerprint_and_start() -> None:
    one, other = episode("v3"), episode("v3", starts=-9)
    changed = replace(one, reason=Reason.PAUSED)
    held = journal(one, other).with_episode(changed)
    assert held.episodes == (other, changed)


def test_an_incident_replaces_the_one_of_its_id_in_its_place() -> None:
    first, second = incident("v2"), incident("v3")
    ended = first.enter(Phase.GONE, at(3), detail="x")
    held = journal(first, second).with_incident(ended)
    assert held.incidents == (ended, second)
    assert (ended.phase, ended.phase_at, ended.detail) == (Phase.GONE, at(3), "x")
    assert held.with_incident(incident("v1")).incidents == (ended, second, incident("v1"))


def test_what_is_left_after_it_was_cleared_is_quarantined_again() -> None:
    held = journal(_LEFT, cleared=(code("v3"), code("v1")))
    assert held.quarantined(UID) == frozenset()
    following = replace(_OPEN, applied=_LEFT.applied, phase=Phase.FOLLOWING)
    again = held.with_incident(_OPEN)
    assert again.quarantined(UID) == frozenset(), "it has not been left yet"
    again = again.with_incident(following)
    assert again.quarantined(UID) == {code("v3")}
    assert again.spared(UID) == {code("v1")}
    cleared = replace(again, cleared=(code("v3"),))
    later = cleared.with_incident(following.enter(Phase.RECOVERED, T0))
    assert later.quarantined(UID) == frozenset(), "cleared after it was left"


def test_what_is_left_without_quarantine_stays_cleared() -> None:
    held = journal(_LEFT, cleared=(code("v3"),))
    again = held.with_incident(replace(_LEFT, id="d", quarantine=False))
    assert again.quarantined(UID) == frozenset()


# --- suspects


@pytest.mark.parametrize(
    ("ends", "suspect"),
    [
        (None, True),
        (-1, True),
        (-24 * 60 + 1 / 60, True),
        (-24 * 60, False),
        (-48 * 60, False),
    ],
    ids=["firing", "resolved", "almost a day ago", "a day ago", "long ago"],
)
def test_a_revision_is_suspect_until_a_day_after_its_alert_resolved(
    ends: float | None, suspect: bool
) -> None:
    held = journal(episode(starts=-4000, ends=ends))
    assert held.suspects(UID, T0) == ({code("v3"): at(-4000)} if suspect else {})


def test_a_suspect_is_one_since_its_oldest_trouble() -> None:
    held = journal(
        episode("v3", fingerprint="a", starts=-3, trouble=-3),
        episode("v3", fingerprint="b", starts=-2, trouble=-7),
        episode("v3", fingerprint="c", starts=-5000, ends=-4000),
        episode("v2", fingerprint="d", starts=-1),
        episode("", fingerprint="e"),
        episode("v1", fingerprint="f", asks=False),
        episode("v1", fingerprint="g", uid="another"),
    )
    assert held.suspects(UID, T0) == {code("v3"): at(-7), code("v2"): at(-1)}


def test_the_episodes_of_a_code_are_those_that_ask() -> None:
    asking = episode(fingerprint="a")
    held = journal(asking, episode(fingerprint="b", asks=False), episode("v2", fingerprint="c"))
    assert held.episodes_of(UID, code("v3")) == (asking,)


# --- debts

SLACK = Owed(subject="inc-1", sink="slack", since=T0)
PAGER = Owed(subject="inc-1", sink="pager", since=T0)
CRITICAL = Severity.CRITICAL


def test_one_debt_is_owed_for_a_subject_and_a_sink() -> None:
    held = journal().owe("inc-1", ["slack", "pager"], T0)
    assert held.owed == (SLACK, PAGER)
    later = held.owe("inc-1", ["slack"], at(1)).owe("inc-2", ["slack"], at(2))
    assert later.owed == (
        PAGER,
        Owed(subject="inc-1", sink="slack", since=at(1), waiting=T0),
        Owed(subject="inc-2", sink="slack", since=at(2)),
    )


def test_a_newer_state_keeps_what_the_sink_may_have_heard_and_since_when_it_is_silent() -> None:
    before = replace(SLACK, doubt=at(1), instead_of="pager", fell_back=T0, attempts=7)
    held = journal(owed=(replace(before, not_before=at(9)),)).owe("inc-1", ["slack"], at(2))
    assert held.owed == (replace(before, since=at(2), waiting=T0, attempts=0),)
    assert held.owe("inc-1", ["slack"], at(3)).owed[0].unheard_since == T0


def test_a_newer_state_at_the_same_moment_is_another_debt() -> None:
    held = journal(owed=(SLACK,)).owe("inc-1", ["slack"], T0)
    assert [o.since > T0 for o in held.owed] == [True]
    assert len(held.tick(SLACK, "following", T0).owed) == 1


def test_who_has_heard_of_a_subject_is_owed_its_end_whatever_the_routes_are() -> None:
    held = journal(owed=(SLACK, PAGER)).tick(PAGER, "following", at(1))
    assert {o.sink for o in held.owe("inc-1", ["mail"], at(2)).owed} == {"slack", "pager", "mail"}
    assert {o.sink for o in held.owe("inc-2", ["mail"], at(2)).owed} == {"slack", "mail"}
    unheard = held.owe("inc-1", ["mail"], at(2))
    assert next(o for o in unheard.owed if o.sink == "slack") == SLACK, "it is as it was"


def test_what_has_time_is_not_hurried_by_a_newer_state_that_has_time_too() -> None:
    held = journal().owe("many", ["slack"], T0, at(1)).owe("many", ["slack"], at(0.5), at(1.5))
    assert [o.not_before for o in held.owed] == [at(1)]
    assert [o.not_before for o in held.owe("many", ["slack"], at(0.6)).owed] == [None]


def test_what_one_sink_does_not_take_is_owed_to_others_once_and_never_to_itself() -> None:
    held = journal(owed=(SLACK, PAGER)).owe_instead(PAGER, ["slack", "mail", "pager"], at(1))
    assert held.owed == (
        replace(PAGER, fell_back=T0),
        replace(SLACK, since=at(1), waiting=T0, instead_of="pager"),
        Owed(subject="inc-1", sink="mail", since=at(1), instead_of="pager"),
    )
    # What was on its way to one of them then does not count as the other.
    assert len(held.tick(SLACK, "following", at(2)).owed) == 3


def test_a_sink_that_takes_something_is_in_no_doubt_and_nobody_stands_in_for_it() -> None:
    doubted = replace(PAGER, doubt=T0, fell_back=T0)
    held = journal(owed=(doubted,)).owe("inc-1", ["pager"], at(1))
    (left,) = held.tick(doubted, "following", at(2)).owed
    assert left == Owed(subject="inc-1", sink="pager", since=at(1))


def test_a_doubt_is_kept_also_when_a_newer_state_is_owed_by_then() -> None:
    held = journal(owed=(SLACK,)).owe("inc-1", ["slack"], at(1)).postpone(SLACK, at(9), doubt=T0)
    assert [(o.doubt, o.attempts, o.not_before) for o in held.owed] == [(T0, 0, None)]
    again = journal(owed=(SLACK,)).postpone(SLACK, at(1), doubt=T0)
    assert again.postpone(again.owed[0], at(2), doubt=at(1)).owed[0].doubt == T0


def test_what_is_given_up_leaves_a_trace_unless_a_newer_state_is_owed() -> None:
    held = journal(owed=(SLACK, PAGER)).give_up(SLACK, "following", CRITICAL, "404", at(1))
    assert held.owed == (PAGER,)
    assert held.told == ()
    assert held.dead == (
        Dead(
            subject="inc-1", sink="slack", state="following", severity=CRITICAL, at=at(1), why="404"
        ),
    )
    newer = journal(owed=(SLACK,)).owe("inc-1", ["slack"], at(1))
    assert newer.give_up(SLACK, "following", CRITICAL, "404", at(2)) == newer


def test_a_tick_takes_the_debt_away_and_notes_what_was_told() -> None:
    held = journal(owed=(SLACK, PAGER)).tick(SLACK, "verifying", at(1))
    assert held.owed == (PAGER,)
    assert held.told == (Told(subject="inc-1", sink="slack", state="verifying", at=at(1)),)
    assert held.told_of("inc-1", "slack") == held.told[0]
    assert held.told_of("inc-1", "pager") is None


def test_a_tick_of_what_was_never_told_notes_nothing() -> None:
    assert journal(owed=(SLACK,)).tick(SLACK, None, at(1)) == journal()


def test_what_was_told_last_replaces_what_was_told_before() -> None:
    held = journal(owed=(SLACK,)).tick(SLACK, "following", at(1)).tick(SLACK, "recovered", at(2))
    assert held.told == (Told(subject="inc-1", sink="slack", state="recovered", at=at(2)),)


@pytest.mark.parametrize("minutes", [1, -1], ids=["later", "by a replica whose clock is behind"])
def test_a_newer_debt_survives_the_tick_of_an_older_one(minutes: float) -> None:
    held = journal(owed=(SLACK,)).owe("inc-1", ["slack"], at(minutes))
    ticked = held.tick(SLACK, "following", at(2))
    assert ticked.owed == (Owed(subject="inc-1", sink="slack", since=at(minutes)),)
    assert [t.state for t in ticked.told] == ["following"]


def test_a_debt_that_was_postponed_is_ticked_by_its_older_form() -> None:
    held = journal(owed=(SLACK,)).postpone(SLACK, at(1))
    assert held.tick(SLACK, "following", at(2)).owed == ()


def test_a_postponed_debt_is_tried_again_later() -> None:
    held = journal(owed=(SLACK, PAGER)).postpone(SLACK, at(1))
    assert held.owed == (replace(SLACK, not_before=at(1), attempts=1), PAGER)
    once_more = held.postpone(held.owed[0], at(2))
    assert once_more.owed[0] == replace(SLACK, not_before=at(2), attempts=2)


def test_a_newer_debt_is_not_postponed_with_an_older_one() -> None:
    held = journal(owed=(SLACK,)).owe("inc-1", ["slack"], at(1))
    assert held.postpone(SLACK, at(9)) == held


# --- bounds


def _notice(subject: str, minutes: float = 0, *episodes: str) -> Notice:
    return Notice(
        subject=subject,
        state="refused",
        reason=Reason.NO_TARGET,
        severity=Severity.WARNING,
        at=at(minutes),
        started_at=at(minutes),
        episodes=episodes,
    )


def _many(count: int, phase: Phase = Phase.RECOVERED, **changes: Any) -> list[Incident]:
    return [incident(f"v{i + 10}", phase, id_=f"inc-{i:03}", **changes) for i in range(count)]


def test_a_small_journal_stays_as_it_is() -> None:
    held = journal(episode(), *_many(INCIDENTS_KEPT))
    assert bounded(held, T0) == held


def test_the_oldest_incidents_go_and_leave_their_codes_behind_when_left() -> None:
    left, others = _many(2, applied=-9), _many(INCIDENTS_KEPT, Phase.RESOLVED_BY_ITSELF)
    refused = incident("v99", Phase.REFUSED, id_="refused")
    rest = [replace(i, id=f"rest-{i.id}") for i in others]
    held = bounded(journal(*left, refused, *rest), T0)
    assert [i.id for i in held.incidents] == [i.id for i in rest]
    assert held.handled == ((UID, code("v10")), (UID, code("v11")))


def test_an_incident_that_is_open_owed_or_refused_to_a_firing_alert_is_never_dropped() -> None:
    kept = [
        incident("v1", id_="open"),
        incident("v2", Phase.RECOVERED, id_="owed"),
        incident("v3", Phase.REFUSED, id_="refused"),
    ]
    held = journal(episode("v3"), *kept, *_many(40), owed=(replace(SLACK, subject="owed"),))
    after = bounded(held, T0)
    assert [i.id for i in after.incidents[:3]] == ["open", "owed", "refused"]
    assert len(after.incidents) == INCIDENTS_KEPT
    assert after.owed == held.owed
    resolved = bounded(journal(episode("v3", ends=0), *kept[2:], *_many(40)), T0)
    assert "refused" not in [i.id for i in resolved.incidents]


def test_more_incidents_than_are_kept_stay_while_they_are_owed() -> None:
    many = _many(50)
    owed = tuple(Owed(subject=i.id, sink="slack", since=T0) for i in many)
    assert bounded(journal(*many, owed=owed), T0).incidents == tuple(many)


def test_what_was_left_without_quarantine_is_not_quarantined_when_it_is_dropped() -> None:
    spared = incident("v3", Phase.RECOVERED, id_="a", applied=-9, quarantine=False)
    held = bounded(journal(spared, *_many(INCIDENTS_KEPT)), T0)
    assert held.handled == ((UID, code("v3")),)
    assert held.quarantined(UID) == frozenset()
    assert held.spared(UID) == {code("v3")}


@pytest.mark.parametrize(
    ("handled", "later"),
    [(((UID, code("v3")),), False), ((), True)],
    ids=["left before", "left later"],
)
def test_what_was_also_left_with_quarantine_stays_quarantined(
    handled: tuple[tuple[str, str], ...], later: bool
) -> None:
    spared = incident("v3", Phase.RECOVERED, id_="a", applied=-9, quarantine=False)
    rest = [*_many(INCIDENTS_KEPT), *([replace(spared, id="b", quarantine=True)] if later else [])]
    held = bounded(journal(spared, *rest, handled=handled), T0)
    assert "a" not in [i.id for i in held.incidents]
    assert held.quarantined(UID) == {code("v3")}


def test_what_is_handled_is_kept_once_each_and_the_newest_of_it() -> None:
    many = tuple((UID, f"{n:016x}") for n in range(HANDLED_KEPT + 5))
    held = bounded(journal(handled=(*many, many[-1])), T0)
    assert held.handled == many[5:]


def test_closed_episodes_go_after_a_day() -> None:
    kept = episode(ends=-24 * 60 + 1, fingerprint="a", starts=-3000)
    gone = episode(ends=-24 * 60, fingerprint="b", starts=-3000)
    assert bounded(journal(kept, gone), T0).episodes == (kept,)
    assert timedelta(days=1) == SUSPECT_FOR


def test_of_many_episodes_the_suspects_the_firing_and_the_newest_are_kept() -> None:
    noise = [
        episode("v2", fingerprint=f"n{i}", starts=-1000 + i, ends=-1) for i in range(EPISODES_KEPT)
    ]
    suspect = episode("v1", fingerprint="suspect", starts=-1300, ends=-1200)
    firing = episode("v3", fingerprint="firing", starts=-1290)
    later = episode("v3", fingerprint="later", starts=-1280, seen=-1400)
    quiet = episode("", fingerprint="quiet", starts=-1350, asks=False)
    held = bounded(journal(suspect, firing, later, quiet, *noise), T0)
    assert len(held.episodes) == EPISODES_KEPT
    assert held.episodes[:4] == (suspect, firing, later, quiet)
    assert held.episodes[4] == noise[0], "the oldest trouble of its code"
    assert held.episodes[5] == noise[5], "else the newest"
    assert held.suspects(UID, T0) == journal(suspect, firing, *noise).suspects(UID, T0)


def test_notices_go_after_a_day_unless_owed_or_firing() -> None:
    firing = episode(fingerprint="f1")
    old = -24 * 60
    held = journal(
        firing,
        notices=(
            _notice("gone", old),
            _notice("young", old + 1),
            _notice("owed", old),
            _notice("firing", old, "f1"),
            _notice("resolved", old, "f2"),
        ),
        owed=(replace(SLACK, subject="owed"),),
    )
    assert [n.subject for n in bounded(held, T0).notices] == ["young", "owed", "firing"]


def test_what_the_receiver_itself_has_to_end_is_kept_until_that_can_come_no_more() -> None:
    assert frozenset({SILENT, MASS_ALERT}) == STANDING
    minutes = STANDS.total_seconds() / 60
    held = journal(
        notices=(
            replace(_notice("silent", 1 - minutes), state=SILENT),
            replace(_notice("over", 1 - minutes), state=HEARD_AGAIN),
            replace(_notice("never", -minutes), state=SILENT),
        )
    )
    assert [n.subject for n in bounded(held, T0).notices] == ["silent"]


def test_of_many_notices_those_go_first_that_are_owed_to_nobody() -> None:
    many = tuple(_notice(f"n{i:03}") for i in range(NOTICES_KEPT + 10))
    held = bounded(journal(notices=many, owed=(replace(SLACK, subject="n000"),)), T0)
    assert len(held.notices) == NOTICES_KEPT
    assert [n.subject for n in held.notices[:2]] == ["n000", "n011"]


def test_a_debt_for_what_is_no_longer_known_is_dropped_with_it() -> None:
    many = tuple(_notice(f"n{i:03}") for i in range(NOTICES_KEPT + 10))
    owed = tuple(replace(SLACK, subject=n.subject) for n in many)
    held = bounded(journal(notices=many, owed=owed), T0)
    assert len(held.notices) == NOTICES_KEPT
    assert held.notices[0].subject == "n010"


def test_replies_and_what_was_told_are_bounded() -> None:
    replies = tuple(Reply(key=str(i), digest="d", status=200, at=T0) for i in range(40))
    told = tuple(Told(subject=str(i), sink="slack", state="x", at=T0) for i in range(TOLD_KEPT + 9))
    held = bounded(journal(replies=replies, told=told), T0)
    assert held.replies == replies[-REPLIES_KEPT:]
    assert held.told == told[-TOLD_KEPT:]


def test_what_a_sink_was_told_of_an_open_incident_is_not_forgotten() -> None:
    told = tuple(
        Told(subject=f"n{i}", sink="slack", state="x", at=T0) for i in range(TOLD_KEPT + 9)
    )
    ours = Told(subject="inc-v3", sink="slack", state="following", at=at(-9))
    held = bounded(journal(incident(), told=(ours, *told)), T0)
    assert held.told_of("inc-v3", "slack") == ours
    assert len(held.told) == TOLD_KEPT


def test_the_newest_of_what_was_given_up_is_kept() -> None:
    dead = tuple(
        Dead(subject=f"n{i}", sink="slack", state="x", severity=CRITICAL, at=T0)
        for i in range(DEAD_KEPT + 5)
    )
    assert bounded(journal(dead=dead), T0).dead == dead[5:]


def test_the_members_of_the_newest_bundles_are_kept_of_others_their_number() -> None:
    members = tuple(f"{n:016x}" for n in range(MEMBERS_KEPT // 2 + 10))
    one, two, three = (
        replace(_notice(name), state="firing", members=members, tally=(("A", len(members)),))
        for name in ("one", "two", "three")
    )
    held = bounded(journal(notices=(one, two, three)), T0)
    assert [(len(n.members), n.more) for n in held.notices] == [
        (0, len(members)),
        (len(members) - 20, 20),
        (len(members), 0),
    ]
    assert len(dump(held).encode()) < BYTES_KEPT


def test_a_bundle_is_kept_as_long_as_one_in_it_fires() -> None:
    old = -25 * 60
    fires = replace(_notice("fires", old), state="firing", members=("a", member("b", T0)))
    refused = replace(fires, subject="refused", state="refused")
    counted = replace(fires, subject="counted", members=(member("a", T0),), more=1)
    over = replace(fires, subject="over", members=(member("a", T0),))
    told = replace(over, subject="told", state="resolved")
    every = [replace(n, tally=(("A", 2),)) for n in (fires, refused, counted, over, told)]
    held = bounded(journal(notices=tuple(every)), T0)
    assert [n.subject for n in held.notices] == ["fires", "refused", "counted"]


def test_a_member_says_whether_it_fires_or_when_it_ended() -> None:
    assert ended_at(member("00000000000000a1")) is None
    ended = T0 + timedelta(seconds=1, microseconds=123999)
    assert ended_at(member("00000000000000a1", ended)) == T0 + timedelta(seconds=1.123)


def test_members_that_fire_are_kept_before_those_that_ended_and_of_these_the_newest() -> None:
    firing = tuple(f"{n:016x}" for n in range(MEMBERS_KEPT - 10))
    ended = tuple(member(f"e{n:015x}", T0) for n in range(ENDED_KEPT + 100))
    notice = replace(
        _notice("one"), state="firing", members=(*ended, *firing), more=3, tally=(("A", 1),)
    )
    (held,) = bounded(journal(notices=(notice,)), T0).notices
    assert held.members == (*ended[90:], *firing)
    assert (held.more, held.firing) == (3, len(firing) + 3)
