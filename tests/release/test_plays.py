"""Whatever is seen, done by people, lost or raced: what a release must never do."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver import release as rl
from receiver.journal import Release, Step
from receiver.reasons import Reason
from receiver.release import Act
from tests.release.worlds import CANARY_UID, HOUR, OK, PLAN, STABLE_UID, Pair

ROLES = {"dave": {"cto", "engineering-lead"}, "bob": {"engineering-lead"}, "carol": {"cto"}}
_SIGHTS = st.sampled_from(
    [{}] * 4
    + [
        {"measures": ()},
        {"measures": (replace(OK, state="failing"),)},
        {"critical": None},
        {"critical": ("Down",)},
        {"stopped": "by ann"},
        {"frozen": "weekend"},
    ]
)
_EVENTS = st.sampled_from(
    ["look"] * 9
    + ["die", "approve", "approve", "promote", "hold", "resume", "abort", "ask", "stall", "late"]
    + ["scale stable", "scale canary", "hotfix", "revert", "short", "clock"]
)


class _Play:
    """One play, which keeps its own books of what counted."""

    def __init__(self) -> None:
        self.pair = Pair()
        self.pair.tick()
        self.healthy = {0: timedelta(0), 1: timedelta(0)}
        self.ended: set[int] = set()
        self.late: list[list[dict[str, object]]] = []

    def happen(self, event: str, person: str, sight: dict[str, object], hours: int) -> None:
        pair, before = self.pair, self.pair.release
        found: object = None
        match event:
            case "look" | "die":
                self.look(sight, hours * HOUR, noted=event == "look")
            case "ask":
                pair.look(asking=("Errors",))
            case "approve":
                found = rl.approve(before, person, ROLES[person], "", pair.now)
            case "promote":
                found = rl.promote(before, person, ROLES[person], "", pair.now)
                if isinstance(found, Release):
                    assert person != "dave"
                    self.ended.add(before.stage)
            case "hold":
                found = rl.hold(before, person, "", pair.now)
            case "resume":
                seen = replace(before, replicas=pair.canary.desired)
                left = rl.drift(seen, pair.stable, pair.canary)
                found = rl.resume(before, person, "", pair.now, drifted=left)
            case "abort" if before.open:
                found = rl.abort(before, Reason.RELEASE_REJECTED, "", pair.now, undo=True)
            case "stall" if before.open and before.step is not Step.ABORTING:
                self.late.append(pair.share())
            case "late" if self.late and before.step is Step.ABORTED:
                assert not pair.patch(CANARY_UID, self.late.pop())
            case _:
                self.meddle(event, hours)
        if isinstance(found, Release):
            pair.release = found
        self.judge(before, {} if event not in ("look", "die") else sight)

    def meddle(self, event: str, hours: int) -> None:
        """Let others, the cluster or the clock do something."""
        pair = self.pair
        match event:
            case "scale stable":
                pair.scale(STABLE_UID, 5 + hours)
            case "scale canary":
                pair.scale(CANARY_UID, hours % 12)
            case "hotfix":
                pair.swap(STABLE_UID, "v9")
            case "revert":
                pair.swap(STABLE_UID, "v2" if pair.release.applied else "v1")
            case "short":
                pair.ready(CANARY_UID, short=1)
            case "clock":
                pair.now += timedelta(hours=hours - 12)
            case _:
                pass

    def look(self, sight: dict[str, object], elapsed: timedelta, *, noted: bool) -> None:
        pair, before = self.pair, self.pair.release
        if not before.open:
            return
        drifted = rl.drift(before, pair.stable, pair.canary)
        move = pair.look(elapsed=elapsed, **sight)
        unknown = set(sight) & {"measures", "critical", "stopped"}
        if drifted and before.step is not Step.ABORTING:
            assert move.act is Act.NONE
            assert move.release.stage == before.stage
        if unknown:
            assert move.act is not Act.PROMOTE
            if before.step in (Step.SOAKING, Step.WAITING, Step.WATCHING):
                assert move.release.step is before.step or move.release.step is Step.ABORTING
                assert move.release.soaked <= before.soaked
        if before.step in (Step.SOAKING, Step.WAITING):
            assert move.release.soaked <= before.soaked + elapsed
            if not unknown and move.release.stage >= before.stage:
                self.healthy[before.stage] += elapsed
        pair.act(move, noted=noted)
        pair.ready(CANARY_UID)
        pair.ready(STABLE_UID)

    def judge(self, before: Release, sight: dict[str, object]) -> None:
        after = self.pair.release
        if after.step is Step.PROMOTING and before.step is not Step.PROMOTING:
            for number, stage in enumerate(PLAN.stages[:-1]):
                assert self.healthy[number] >= stage.soak or number in self.ended
            for number, stage in enumerate(PLAN.stages):
                by = [a.by for a in after.approvals if a.stage == number]
                assert not after.lacking(number)
                assert len(set(by)) == len(by) == len(stage.approvals)
                assert "dave" not in by

    def end(self) -> None:
        """Let the cluster obey: what is aborted gets there, and has no pods."""
        pair = self.pair
        if pair.release.open:
            pair.release = rl.abort(pair.release, Reason.RELEASE_REJECTED, "", pair.now, undo=True)
            for _ in range(6):
                pair.act(pair.look())
            assert pair.release.step is Step.ABORTED
            assert pair.canary.desired == 0
        for late in self.late:
            assert not pair.patch(CANARY_UID, late) or pair.release.step is Step.COMPLETED


# The usual way to everybody: a play begins somewhere on it.
_WAY: list[tuple[str, str, dict[str, object], int]] = [
    ("look", "dave", {}, 24),
    ("look", "dave", {}, 24),
    ("approve", "bob", {}, 0),
    ("approve", "carol", {}, 0),
]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 40),
    st.lists(
        st.tuples(_EVENTS, st.sampled_from(sorted(ROLES)), _SIGHTS, st.integers(0, 24)),
        max_size=80,
    ),
)
def test_whatever_happens_nothing_is_promoted_that_did_not_soak_and_an_abort_arrives(
    far: int, events: list[tuple[str, str, dict[str, object], int]]
) -> None:
    play = _Play()
    for event in [*(_WAY * 10)[:far], *events]:
        play.happen(*event)
    play.end()
