from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.controller.story import ALERTS_TOLD, story_of
from receiver.journal import Journal, Notice, Phase
from receiver.messages import HEADLINES, AlertLine, RevisionLine, Story
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
        started_at=at(-1),
        alerts=(
            AlertLine(
                alertname="CheckoutErrors",
                severity="critical",
                starts_at=at(-2),
                firing=True,
                summary="s",
            ),
            AlertLine(alertname="CheckoutErrors", severity="info", starts_at=at(-1), firing=False),
        ),
        bad=_revision("v3", -5),
        good=_revision("v2", -1440),
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
                alertname="CheckoutErrors", severity="critical", starts_at=at(-2), firing=True
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
