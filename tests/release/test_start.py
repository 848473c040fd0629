"""Whether a release may begin: whoever wants one is told what is in its way."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from receiver import release as rl
from receiver import rollout as ro
from receiver.freeze import Once
from receiver.journal import Journal, Pause
from receiver.reasons import Reason
from receiver.release import Start
from tests.builders import NAME, T0, episode, incident, journal, look, mark
from tests.release.worlds import CANARY_UID, PLAN, STABLE_UID, Pair

CANARY = f"{NAME}-canary"


@dataclass(slots=True)
class Wish:
    """A pair of Deployments, the journals of both, and a release of v2 that is wanted."""

    pair: Pair = field(default_factory=Pair)
    ours: Journal = field(default_factory=journal)
    theirs: Journal = field(default_factory=lambda: replace(journal(), deployment=CANARY))
    stopped: str = ""
    policy: dict[str, Any] = field(default_factory=dict)
    without_canary: bool = False
    force: bool = False
    tag: str = "v2"

    def metadata(self, uid: str, **more: Any) -> None:
        """Change the metadata of a Deployment."""
        for key, value in more.items():
            found = self.pair.objects[uid]["metadata"].setdefault(key, {})
            if isinstance(value, dict):
                found.update(value)
            else:
                self.pair.objects[uid]["metadata"][key] = value

    @property
    def start(self) -> Start:
        """Return what is wanted."""
        images = {"app": f"registry.example/checkout:{self.tag}"}
        wanted = rl.templates(self.pair.canary.template, images)
        return Start(plan=PLAN, template=wanted, by="dave", why="ship it", force=self.force)

    def answer(self) -> tuple[Reason, str] | None:
        """Return why it may not begin, None when it may."""
        canary = None if self.without_canary else self.pair.canary
        stable = self.pair.stable
        seen = look(stable, self.ours, stopped=self.stopped, **self.policy)
        found = rl.why_not(self.start, seen, stable, canary, self.theirs)
        return None if found is None else (found.reason, found.detail)


def _no_canary(wish: Wish) -> None:
    wish.without_canary = True


def _no_canary_of_this_one(wish: Wish) -> None:
    wish.metadata(CANARY_UID, labels={"track": "stable"})
    wish.pair.objects[CANARY_UID]["spec"]["template"]["metadata"]["labels"]["track"] = "stable"


def _opted_out(uid: str) -> Callable[[Wish], None]:
    return lambda wish: wish.metadata(uid, labels={ro.ENABLED: "false"})


def _already(wish: Wish) -> None:
    wish.ours = replace(wish.ours, release=wish.pair.release)


def _stopped(wish: Wish) -> None:
    wish.stopped = "the switch says so"


def _paused(where: str) -> Callable[[Wish], None]:
    held = Pause(by="ann", why="an audit", at=T0)

    def change(wish: Wish) -> None:
        setattr(wish, where, replace(getattr(wish, where), pause=held))

    return change


def _frozen(wish: Wish) -> None:
    day = timedelta(days=1)
    wish.policy = {"freeze": (Once(start=T0 - day, end=T0 + day, why="Black Friday"),)}


def _being_deleted(uid: str) -> Callable[[Wish], None]:
    return lambda wish: wish.metadata(uid, deletionTimestamp="2026-11-23T01:00:00Z")


def _rollout_paused(uid: str) -> Callable[[Wish], None]:
    return lambda wish: wish.pair.objects[uid]["spec"].update(paused=True)


def _of_gitops(uid: str) -> Callable[[Wish], None]:
    mark_ = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout"}
    return lambda wish: wish.metadata(uid, annotations=mark_)


def _not_observed(uid: str) -> Callable[[Wish], None]:
    return lambda wish: wish.pair.objects[uid]["status"].update(observedGeneration=6)


def _rollback_on_its_way(where: str, uid: str) -> Callable[[Wish], None]:
    def change(wish: Wish) -> None:
        open_one = incident("v3", uid=uid)
        setattr(wish, where, replace(getattr(wish, where), incidents=(open_one,)))

    return change


def _alerting(where: str, uid: str) -> Callable[[Wish], None]:
    def change(wish: Wish) -> None:
        firing = episode(uid=uid)
        setattr(wish, where, replace(getattr(wish, where), episodes=(firing,)))

    return change


def _no_pods(wish: Wish) -> None:
    wish.pair.scale(STABLE_UID, 0)
    wish.pair.ready(STABLE_UID)


def _what_runs(wish: Wish) -> None:
    wish.tag = "v1"


def _aborted(wish: Wish) -> None:
    code = ro.code_of(wish.start.template)
    wish.ours = replace(wish.ours, aborted=((CANARY_UID, code),))


def _rolled_away_from(where: str) -> Callable[[Wish], None]:
    def change(wish: Wish) -> None:
        template, uid = wish.start.template, CANARY_UID
        if where == "ours":
            template, uid = rl.promoted(wish.pair.stable.template, template), STABLE_UID
        left = replace(mark("v2"), code=ro.code_of(template))
        journal_ = getattr(wish, where)
        setattr(wish, where, replace(journal_, handled=((uid, left.code),)))

    return change


R = Reason
# In the order in which they are looked at: the earlier one is what is said when both are so.
IN_THE_WAY: tuple[tuple[str, Callable[[Wish], None], Reason, str], ...] = (
    ("no canary", _no_canary, R.NO_CANARY, ""),
    ("no canary of this Deployment", _no_canary_of_this_one, R.NO_CANARY, ""),
    ("the stable one opted out", _opted_out(STABLE_UID), R.NOT_OPTED_IN, NAME),
    ("the canary opted out", _opted_out(CANARY_UID), R.NOT_OPTED_IN, CANARY),
    ("another release", _already, R.RELEASE_IN_PROGRESS, "rel-1"),
    ("stopped", _stopped, R.STOPPED, "the switch says so"),
    ("the stable one held", _paused("ours"), R.PAUSED, "by ann: an audit"),
    ("the canary held", _paused("theirs"), R.PAUSED, "by ann: an audit"),
    ("frozen", _frozen, R.FROZEN, "Black Friday"),
    ("the stable one deleted", _being_deleted(STABLE_UID), R.DELETING, NAME),
    ("the stable one paused", _rollout_paused(STABLE_UID), R.DEPLOYMENT_PAUSED, NAME),
    (
        "the stable one kept by GitOps",
        _of_gitops(STABLE_UID),
        R.GITOPS_OWNED,
        f"{NAME}: argocd.argoproj.io/tracking-id",
    ),
    ("the stable one not observed", _not_observed(STABLE_UID), R.NOT_OBSERVED, NAME),
    ("the canary deleted", _being_deleted(CANARY_UID), R.DELETING, CANARY),
    ("the canary paused", _rollout_paused(CANARY_UID), R.DEPLOYMENT_PAUSED, CANARY),
    (
        "the canary kept by GitOps",
        _of_gitops(CANARY_UID),
        R.GITOPS_OWNED,
        f"{CANARY}: argocd.argoproj.io/tracking-id",
    ),
    ("the canary not observed", _not_observed(CANARY_UID), R.NOT_OBSERVED, CANARY),
    ("a rollback of it", _rollback_on_its_way("ours", STABLE_UID), R.COOLDOWN, "inc-v3"),
    ("it alerts", _alerting("ours", STABLE_UID), R.TARGET_ALERTING, "CheckoutErrors"),
    ("a rollback of the canary", _rollback_on_its_way("theirs", CANARY_UID), R.COOLDOWN, "inc-v3"),
    ("the canary alerts", _alerting("theirs", CANARY_UID), R.TARGET_ALERTING, "CheckoutErrors"),
    ("no pods", _no_pods, R.NOT_RUNNING, ""),
    ("what runs already", _what_runs, R.SAME_TEMPLATE, ""),
    ("aborted before", _aborted, R.RELEASE_WAS_ABORTED, ""),
    (
        "rolled back before",
        _rolled_away_from("ours"),
        R.RELEASE_WAS_ABORTED,
        f"{NAME} left it",
    ),
    (
        "the canary rolled back before",
        _rolled_away_from("theirs"),
        R.RELEASE_WAS_ABORTED,
        f"{CANARY} left it",
    ),
)
NAMES = [name for name, *_ in IN_THE_WAY]


def test_nothing_is_in_the_way_of_a_healthy_pair() -> None:
    assert Wish().answer() is None


@pytest.mark.parametrize(("change", "reason", "detail"), [row[1:] for row in IN_THE_WAY], ids=NAMES)
def test_what_is_in_the_way_of_a_release_is_said(
    change: Callable[[Wish], None], reason: Reason, detail: str
) -> None:
    wish = Wish()
    change(wish)
    assert wish.answer() == (reason, detail)


@pytest.mark.parametrize("first", range(len(IN_THE_WAY)), ids=NAMES)
def test_of_two_things_in_the_way_the_earlier_of_the_table_is_said(first: int) -> None:
    _, change, reason, _ = IN_THE_WAY[first]
    for _, another, *_ in IN_THE_WAY[first + 1 :]:
        wish = Wish()
        another(wish)
        change(wish)
        found = wish.answer()
        assert found is not None
        assert found[0] == reason


@pytest.mark.parametrize(("name", "change", "reason"), [row[:3] for row in IN_THE_WAY], ids=NAMES)
def test_force_is_for_what_was_left_before_and_for_nothing_else(
    name: str, change: Callable[[Wish], None], reason: Reason
) -> None:
    wish = Wish(force=True)
    change(wish)
    found = wish.answer()
    if reason is Reason.RELEASE_WAS_ABORTED:
        assert found is None, name
    else:
        assert found is not None, name
        assert found[0] == reason


def test_what_happened_to_a_deleted_deployment_of_that_name_is_not_in_the_way() -> None:
    wish = Wish()
    for change in (
        _alerting("ours", "uid-of-an-earlier-one"),
        _alerting("theirs", "uid-of-an-earlier-one"),
    ):
        change(wish)
    code = ro.code_of(wish.start.template)
    wish.ours = replace(wish.ours, aborted=(("uid-of-an-earlier-one", code),))
    assert wish.answer() is None


def test_gitops_that_lets_us_and_an_alert_that_is_over_or_asks_for_nothing_are_not_in_the_way() -> (
    None
):
    wish = Wish(policy={"gitops": "act"})
    _of_gitops(STABLE_UID)(wish)
    over = episode(uid=STABLE_UID, ends=-1)
    asks_nothing = episode(uid=STABLE_UID, asks=False, fingerprint="00000000000000a2")
    wish.ours = replace(wish.ours, episodes=(over, asks_nothing))
    assert wish.answer() is None
