from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.controller.soak import noticed, terms
from receiver.decisions import goal
from receiver.journal import TROUBLED_KEPT, Journal, Phase, bounded, dump, load
from receiver.rollout import Obj, Rollout
from tests.builders import (
    T0,
    UID,
    Counts,
    at,
    code,
    episode,
    incident,
    journal,
    policy,
    replicaset,
    rollout,
    undone,
)

DAY = timedelta(hours=24)
NAMES = {code(f"v{n}"): f"v{n}" for n in range(9)}


def verified(found: Rollout, held: Journal | None = None, after: timedelta = DAY) -> list[str]:
    marked = noticed(held or journal(), found, after, T0)
    return sorted(NAMES[c] for uid, c in marked.verified if uid == UID)


def shown(found: Rollout, held: Journal | None = None) -> list[tuple[str, float, float]]:
    return [
        (
            NAMES[t.code],
            (t.began - T0) / timedelta(minutes=1),
            (t.ended - T0) / timedelta(minutes=1),
        )
        for t in terms(found, held or journal(), T0)
    ]


def test_each_revision_served_until_the_next_was_made() -> None:
    assert shown(rollout()) == [("v1", -2880, -1440), ("v2", -1440, -5), ("v3", -5, 0)]


def test_the_current_one_serves_as_long_as_its_rollout_is_complete() -> None:
    assert shown(rollout(counts=Counts(updated=1)))[-1][0] == "v2"
    assert shown(rollout(tag="v4"))[-1][0] == "v2"


def test_siblings_serve_as_one() -> None:
    restarted = [
        replicaset(1, "v1", created=-3000),
        replicaset(2, "v1", created=-1000, restarted="now"),
        replicaset(3, "v3", created=-5),
    ]
    assert shown(rollout(*restarted))[0] == ("v1", -3000, -5)


def test_of_what_was_brought_back_only_we_know_since_when() -> None:
    assert shown(undone()) == []
    ours = journal(incident("v3", Phase.RECOVERED, applied=-3, completed=-2))
    assert shown(undone(), ours) == [("v3", -5, -2), ("v2", -2, 0)]


def test_a_gap_in_the_numbers_hides_what_served_there() -> None:
    gap: list[Obj] = [replicaset(1, "v1", created=-2880), replicaset(3, "v3", created=-5)]
    assert shown(rollout(*gap)) == [("v3", -5, 0)]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (DAY, ["v1"]),
        (timedelta(minutes=1435), ["v1", "v2"]),
        (timedelta(minutes=5), ["v1", "v2", "v3"]),
        (timedelta(minutes=1441), []),
    ],
)
def test_what_served_long_enough_is_verified(after: timedelta, expected: list[str]) -> None:
    assert verified(rollout(), after=after) == expected


def test_what_alerts_is_not_verified_nor_what_we_left() -> None:
    assert verified(rollout(), journal(episode("v1"))) == []
    assert verified(rollout(), journal(episode("v1", ends=-1))) == []
    assert verified(rollout(), journal(episode("v1", asks=False))) == ["v1"]
    assert verified(rollout(), journal(episode("v1", uid="other"))) == ["v1"]
    assert verified(rollout(), journal(incident("v1", Phase.RECOVERED, applied=-1441))) == []


def test_a_mark_stays_and_goes_when_its_revision_alerts() -> None:
    marked = noticed(journal(), rollout(), DAY, T0)
    assert noticed(marked, undone(), DAY, T0) is marked
    alerting = marked.with_episode(episode("v1"))
    assert noticed(alerting, rollout(), DAY, T0).verified == ()


def test_an_alert_that_was_forgotten_is_remembered_as_trouble() -> None:
    old = journal(episode("v1", starts=-1600, ends=-1500), episode("v2", asks=False, ends=-1500))
    held = bounded(old, T0)
    assert held.episodes == ()
    assert held.troubled == ((UID, code("v1"), at(-1500)),)
    assert load(dump(held)) == held
    assert verified(rollout(), held) == []
    # What happened before the quiet time began does not count.
    quiet = replace(held, troubled=((UID, code("v1"), at(-2881)),))
    assert verified(rollout(), quiet) == ["v1"]


def test_the_newest_trouble_of_a_revision_counts_and_the_memory_is_bounded() -> None:
    held = replace(journal(), troubled=((UID, code("v1"), at(-1000)),))
    held = bounded(held.with_episode(episode("v1", starts=-1600, ends=-1500)), T0)
    assert held.troubled == ((UID, code("v1"), at(-1000)),)
    many = bounded(replace(held, troubled=tuple((UID, f"{n:016x}", T0) for n in range(500))), T0)
    assert len(many.troubled) == TROUBLED_KEPT


@pytest.mark.parametrize(
    ("target", "marks", "expected"),
    [
        ("previous", ["v1"], "v2"),
        ("verified", ["v1"], "v1"),
        ("verified", ["v1", "v2"], "v2"),
        ("verified", ["v3"], "v2"),
        ("verified", [], "v2"),
    ],
)
def test_a_verified_destination_is_preferred(target: str, marks: list[str], expected: str) -> None:
    held = replace(journal(), verified=tuple((UID, code(tag)) for tag in marks))
    found = goal(rollout(), held, policy(target=target), T0)
    assert found is not None
    assert NAMES[found.code] == expected


def test_a_verified_revision_that_alerts_is_no_destination() -> None:
    held = replace(journal(episode("v1")), verified=((UID, code("v1")),))
    found = goal(rollout(), held, policy(target="verified"), T0)
    assert found is not None
    assert NAMES[found.code] == "v2"
