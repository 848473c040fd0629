from datetime import timedelta

import pytest

from receiver.controller import proof
from receiver.controller.ports import Condition, Finding
from receiver.journal import Episode, Phase
from tests.builders import episode, incident, journal

WITHIN = timedelta(minutes=10)
A, B = "CheckoutErrors", "LatencyHigh"
FIRING, RESOLVED = episode(), episode(ends=-1)
SLOW = episode(ends=-1, fingerprint="00000000000000b2", alertname=B)


def finding(condition: Condition, text: str = "0.5: a > 1") -> Finding:
    return Finding(condition=condition, text=text)


FALSE, TRUE = finding(Condition.FALSE), finding(Condition.TRUE)
NOTHING = finding(Condition.NO_DATA, "no data: a")


@pytest.mark.parametrize(
    ("asked", "findings", "phase"),
    [
        ([], None, Phase.RECOVERED),
        ([], {}, Phase.RECOVERED),
        ([RESOLVED], None, Phase.RECOVERED),
        ([RESOLVED, FIRING], None, None),
        ([RESOLVED], {A: FALSE}, Phase.RECOVERED),
        ([RESOLVED, SLOW], {A: FALSE, B: FALSE}, Phase.RECOVERED),
        ([RESOLVED, SLOW], {A: FALSE}, None),
        ([RESOLVED, SLOW], {A: FALSE, B: NOTHING}, None),
        ([RESOLVED], {}, None),
        ([FIRING], {A: FALSE}, None),
        *[([RESOLVED], {A: finding(c)}, None) for c in Condition if c is not Condition.FALSE],
    ],
)
def test_only_resolved_and_proven_is_well(
    asked: list[Episode], findings: dict[str, Finding] | None, phase: Phase | None
) -> None:
    found = proof.well(tuple(asked), findings)
    assert (found and found.phase) == phase


@pytest.mark.parametrize(
    ("asked", "findings", "phase", "says"),
    [
        ([FIRING], None, Phase.DID_NOT_HELP, "a silence would look the same"),
        ([FIRING], {A: TRUE}, Phase.DID_NOT_HELP, "still true 600 s"),
        ([FIRING], {A: FALSE}, Phase.UNCONFIRMED, "no resolved came for CheckoutErrors"),
        ([FIRING], {A: NOTHING}, Phase.DID_NOT_HELP, "still firing 600 s"),
        ([FIRING, SLOW], {A: FALSE, B: NOTHING}, Phase.DID_NOT_HELP, "still firing"),
        ([FIRING, SLOW], {A: FALSE, B: TRUE}, Phase.DID_NOT_HELP, f"on {B}: true: 0.5: a > 1"),
        ([RESOLVED], {A: TRUE}, Phase.DID_NOT_HELP, f"on {A}: true: 0.5: a > 1"),
        ([RESOLVED], {A: NOTHING}, Phase.UNCONFIRMED, f"on {A}: no_data: no data: a"),
        ([RESOLVED], {}, Phase.UNCONFIRMED, "nothing proves"),
        ([RESOLVED, SLOW], {A: FALSE, B: NOTHING}, Phase.UNCONFIRMED, f"on {B}: no_data"),
    ],
)
def test_what_is_not_well_in_time_is_told_with_the_evidence(
    asked: list[Episode], findings: dict[str, Finding] | None, phase: Phase, says: str
) -> None:
    found = proof.unwell(tuple(asked), findings, WITHIN)
    assert found.phase is phase
    assert says in found.detail


def test_of_a_rollback_by_hand_only_what_fired_then_counts() -> None:
    before, during = episode(ends=-3), episode(starts=-4, ends=-0.5)
    held = journal(before, during, episode("v2"))
    by_hand = incident(actor="ann", opened=-1)
    assert proof.asked_for(held, incident(opened=-1)) == (before, during)
    assert proof.asked_for(held, by_hand) == (during,)
    assert proof.asked_for(journal(FIRING), by_hand) == (FIRING,)


def test_the_evidence_is_one_short_line_whatever_it_holds() -> None:
    evil = episode(alertname="\u202ename\n" * 90)
    found = proof.unwell((evil,), {evil.alertname: finding(Condition.TRUE, "x" * 999)}, WITHIN)
    assert len(found.detail) <= proof.TEXT
    assert found.detail.isprintable()


def test_of_too_many_alerts_nothing_is_proven() -> None:
    asked = tuple(episode(ends=-1, alertname=f"A{i}") for i in range(proof.NAMES + 1))
    names = proof.names_of(asked)
    assert len(names) == proof.NAMES
    assert proof.well(asked, dict.fromkeys(names, FALSE)) is None
