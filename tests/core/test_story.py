from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.controller.story import ALERTS_TOLD, story_of
from receiver.journal import Journal, Notice, Phase
from receiver.messages import HEADLINES, AlertLine, Contact, RevisionLine, Site, Story
from receiver.reasons import Reason, Severity
from tests.builders import NAME, NAMESPACE, T0, at, episode, hash_of, incident, journal

WITHIN = timedelta(minutes=10)


def told(held: Journal, subject: str) -> Story | None:
    return story_of(held, subject, "prod", WITHIN)


def _revision(tag: str, created: float) -> RevisionLine:
    return RevisionLine(
        number=int(tag[1:]),
        hash=hash_of(tag),
        images=(("app", f"registry.example/checkout:{tag}"),),
        created_at=at(created),
    )


def test_an_incident_is_told_as_it_is_now_with_the_alerts_that_asked() -> None:
    ours = replace(
        incident("v3", Phase.VERIFYING, applied=-4, completed=-3, entered=-3, detail="d"),
        actor="ann",
        why="bad",
        severity=Severity.WARNING,
    )
    held = journal(
        episode(fingerprint="b", starts=-1, ends=0, severity=Severity.INFO),
        replace(episode(fingerprint="a", severity=Severity.CRITICAL), summary="s"),
        episode("v2", fingerprint="c"),
        episode(fingerprint="d", asks=False),
        ours,
    )
    assert told(held, "inc-v3") == Story(
        subject="inc-v3",
        state="verifying",
        reason=Reason.ROLLED_BACK,
        severity=Severity.CRITICAL,
        cluster="prod",
        namespace=NAMESPACE,
        deployment=NAME,
        at=at(-3),
        started_at=at(-2),
        alerts=(
            AlertLine(
                alertname="CheckoutErrors",
                severity="critical",
                starts_at=at(-2),
                firing=True,
                summary="s",
                fingerprint="a",
            ),
            AlertLine(
                alertname="CheckoutErrors",
                severity="info",
                starts_at=at(-1),
                ends_at=at(0),
                firing=False,
                fingerprint="b",
            ),
        ),
        bad=_revision("v3", -5),
        good=_revision("v2", -1440),
        applied_at=at(-4),
        completed_at=at(-3),
        undo_to=3,
        actor="ann",
        why="bad",
        detail="d",
        until=at(7),
    )


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_headline_and_only_verifying_has_an_end(phase: Phase) -> None:
    found = told(journal(incident("v3", phase, applied=-4, completed=-3)), "inc-v3")
    assert found is not None
    assert found.state in HEADLINES
    assert (found.until is not None) == (phase is Phase.VERIFYING)


def test_what_never_had_a_destination_is_told_without() -> None:
    found = told(journal(replace(incident("v3", Phase.REFUSED), to=None)), "inc-v3")
    assert found is not None
    assert found.good is None


def test_a_notice_is_told_with_its_alerts() -> None:
    notice = Notice(
        subject="ref-1",
        state="refused",
        reason=Reason.NO_TARGET,
        severity=Severity.WARNING,
        at=T0,
        started_at=at(-2),
        namespace="other",
        deployment="cart",
        episodes=("a",),
        detail="d",
    )
    held = journal(episode(fingerprint="a"), episode(fingerprint="b"), notices=(notice,))
    found = told(held, "ref-1")
    assert found == Story(
        subject="ref-1",
        state="refused",
        reason=Reason.NO_TARGET,
        severity=Severity.WARNING,
        cluster="prod",
        namespace="other",
        deployment="cart",
        at=T0,
        started_at=at(-2),
        alerts=(
            AlertLine(
                alertname="CheckoutErrors",
                severity="critical",
                starts_at=at(-2),
                firing=True,
                fingerprint="a",
            ),
        ),
        detail="d",
    )


def test_what_was_dropped_has_no_story() -> None:
    assert told(journal(incident()), "inc-v9") is None


def test_of_many_alerts_the_firing_and_oldest_are_told() -> None:
    ended = [episode(fingerprint=f"e{i}", starts=-100 + i, ends=-1) for i in range(ALERTS_TOLD)]
    firing = [episode(fingerprint="g", starts=-1), episode(fingerprint="f", starts=-2)]
    found = told(journal(*ended, *firing, incident()), "inc-v3")
    assert found is not None
    assert [line.starts_at for line in found.alerts] == [
        at(-2),
        at(-1),
        *(at(-100 + i) for i in range(ALERTS_TOLD - 2)),
    ]
    assert found.more == 2


def test_an_alert_is_told_with_all_that_is_known_of_it() -> None:
    known = {
        "summary": "s",
        "description": "d",
        "runbook_url": "https://r.example",
        "dashboard_url": "https://d.example",
        "generator_url": "https://g.example",
        "external_url": "https://a.example",
        "value": "12%",
        "labels": (("alertname", "CheckoutErrors"),),
    }
    held = journal(replace(episode(), **known), incident())  # type: ignore[arg-type]
    found = told(held, "inc-v3")
    assert found is not None
    assert {name: getattr(found.alerts[0], name) for name in known} == known


def test_the_trouble_began_with_the_first_alert_that_has_not_ended_before() -> None:
    ended = episode(fingerprint="a", starts=-60, ends=-50)
    alive = episode(fingerprint="b", starts=-3)
    found = told(journal(ended, alive, incident(opened=-1)), "inc-v3")
    assert found is not None
    assert found.started_at == at(-3)
    by_hand = told(journal(incident(opened=-1, actor="ann")), "inc-v3")
    assert by_hand is not None
    assert by_hand.started_at == at(-1)


def test_what_was_not_patched_has_nothing_to_undo() -> None:
    found = told(journal(incident("v3", Phase.REFUSED)), "inc-v3")
    assert found is not None
    assert (found.applied_at, found.undo_to) == (None, 0)


def test_an_incident_whose_alerts_resolved_later_is_told_as_resolved_since_then() -> None:
    ended = replace(incident("v3", Phase.REFUSED, reason=Reason.FROZEN), resolved_at=at(9))
    found = told(journal(episode(ends=9), ended), "inc-v3")
    assert found is not None
    assert (found.state, found.reason, found.at) == ("resolved", Reason.FROZEN, at(9))


def _notice(**changes: Any) -> Notice:
    notice = Notice(
        subject="alert-1",
        state="firing",
        reason=Reason.NOTIFY_ONLY,
        severity=Severity.WARNING,
        at=T0,
        started_at=at(-2),
        episodes=("a",),
    )
    return replace(notice, **changes)


def test_of_an_alert_that_fired_before_only_the_firing_that_is_meant_is_told() -> None:
    before = episode(fingerprint="a", starts=-60, ends=-50)
    meant = episode(fingerprint="a", starts=-2, ends=-1)
    after = episode(fingerprint="a", starts=0)
    found = told(journal(before, meant, after, notices=(_notice(),)), "alert-1")
    assert found is not None
    assert [line.starts_at for line in found.alerts] == [at(-2)]
    assert found.more == 0
    moved = told(journal(before, after, notices=(_notice(),)), "alert-1")
    assert moved is not None
    assert [line.starts_at for line in moved.alerts] == [at(0)]


def test_a_storm_is_told_with_its_first_alerts_and_how_many_there_are() -> None:
    members = tuple(f"{n:016x}" for n in range(34))
    storm = _notice(
        episodes=members[:3], members=members, tally=(("CheckoutErrors", 30), ("Slow", 4))
    )
    shown = [episode(fingerprint=member) for member in members[:3]]
    found = told(journal(*shown, notices=(storm,)), "alert-1")
    assert found is not None
    assert (len(found.alerts), found.more) == (3, 31)
    assert found.tally == storm.tally


def test_a_story_says_whom_to_call_and_where_things_are() -> None:
    site = Site(contacts=(Contact(role="CTO", contact="cto@example.com"),))
    held = journal(incident(), notices=(_notice(),))
    for subject in ("inc-v3", "alert-1"):
        found = story_of(held, subject, "prod", WITHIN, site)
        assert found is not None
        assert found.site == site
