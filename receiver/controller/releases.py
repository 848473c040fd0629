"""What people ask of a staged release: to begin it, and to steer it. The driver does the rest."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from receiver import release as rl
from receiver.controller import views
from receiver.controller.answers import (
    Json,
    Outcome,
    Person,
    ReleaseWish,
    Steering,
    refusal,
    rejected,
)
from receiver.controller.driving import told, with_release
from receiver.controller.look import look, rollout_of
from receiver.controller.memory import Memory
from receiver.controller.setup import Ref, Setup
from receiver.controller.work import Work
from receiver.decisions import Decision
from receiver.errors import Rejected
from receiver.journal import Journal, Plan, Release, Step, subject_of
from receiver.reasons import Reason, sentence
from receiver.rollout import CANARY_SUFFIX, Rollout

_FORBIDDEN = frozenset({Reason.NOT_AN_APPROVER, Reason.ANOTHER_PERSON, Reason.NOT_OPTED_IN})
_NOT_FOUND = frozenset({Reason.NO_RELEASE, Reason.NO_PLAN, Reason.NO_SUCH_CHECK})


class Releases:
    """The staged releases, for people."""

    def __init__(self, setup: Setup, memory: Memory, work: Work) -> None:
        self._setup = setup
        self._memory = memory
        self._work = work

    async def begin(self, namespace: str, name: str, wish: ReleaseWish, person: Person) -> Outcome:
        """Begin a release: 202, or why not. Nothing but the journal is written before that."""
        plan = self._plan(wish.plan)
        if plan is None:
            return _refused(Decision(reason=Reason.NO_PLAN, detail=wish.plan))
        ref = self._allowed(namespace, name)
        return await self._memory.in_turn(ref, lambda: self._begin(ref, plan, wish, person))

    def _plan(self, name: str) -> Plan | None:
        plans = self._setup.plans
        return plans.get(name) if name else next(iter(plans.values()), None)

    def _allowed(self, namespace: str, name: str) -> Ref:
        if self._setup.namespaces and namespace not in self._setup.namespaces:
            raise rejected(Reason.NAMESPACE_NOT_ALLOWED, 403)
        return Ref(namespace, name)

    async def _begin(self, ref: Ref, plan: Plan, wish: ReleaseWish, person: Person) -> Outcome:
        setup, other = self._setup, Ref(ref.namespace, ref.deployment + CANARY_SUFFIX)
        seen = await look(setup, self._memory, self._work.guards, ref)
        canary = await rollout_of(setup, other)
        theirs = (await self._memory.read(other)).journal
        stable, journal = seen.look.rollout, seen.look.journal
        if stable is None:
            raise rejected(Reason.TARGET_NOT_FOUND, 404)
        start = rl.Start(
            plan=plan,
            template=_template(canary, wish),
            by=person.name,
            why=wish.reason,
            version=wish.version,
            force=wish.force,
        )
        refused = rl.why_not(start, seen.look, stable, canary, theirs)
        if refused is not None or canary is None:
            return _refused(refused or Decision(reason=Reason.NO_CANARY), begun=journal.released)
        now = seen.look.now
        release = rl.begin(start, subject_of("rel", setup.ids()), stable, canary, now)
        shown = views.of_release(release, now) | {
            "stages": views.of_stages(release, stable.desired),
            "differs": list(rl.differences(stable.template, start.template)),
        }
        if wish.dry_run:
            return Outcome(status=200, body={"dry_run": True} | shown)
        journal = told(with_release(journal, release), setup, now)
        await self._memory.write(ref, replace(journal, claim=setup.replica), seen.entry)
        setup.log.info("release_begun", target=str(ref), release=release.id, person=person.name)
        self._work.start(ref)
        return Outcome(status=202, body=shown)

    async def show(self, namespace: str, name: str) -> Json | None:
        """Return the release in progress, or the last one; None: there was none."""
        ref = self._allowed(namespace, name)
        release = (await self._memory.read(ref)).journal.release
        return None if release is None else views.of_release(release, self._setup.clock.now())

    async def log(self, namespace: str, name: str) -> str | None:
        """Return the deployment log of that release."""
        release = (await self._memory.read(self._allowed(namespace, name))).journal.release
        if release is None:
            return None
        return rl.log(release, namespace, name, self._setup.clock.now())

    async def steer(
        self, namespace: str, name: str, what: Steering, person: Person, why: str
    ) -> Outcome:
        """Do what a person wants with the release in progress, if that may be."""
        ref = self._allowed(namespace, name)
        drifted = await self._drifted(ref) if what == "resume" else ""

        def change(release: Release, now: datetime) -> Release | Decision:
            if not release.open:
                return Decision(reason=Reason.NO_RELEASE)
            if release.step is Step.ABORTING:
                return Decision(reason=Reason.NOT_WAITING, detail=release.step.value)
            match what:
                case "approve":
                    return rl.approve(release, person.name, person.roles, why, now)
                case "promote":
                    return rl.promote(release, person.name, person.roles, why, now)
                case "pause":
                    return rl.hold(release, person.name, why, now)
                case "resume":
                    return rl.resume(release, person.name, why, now, drifted=drifted)
                case "reject" | "abort":
                    text = f"{person.name} {what}ed it: {why}"
                    return rl.abort(release, Reason.RELEASE_REJECTED, text, now, undo=True)

        tells = what in ("pause", "resume", "reject", "abort")
        return await self._change(ref, change, tell=tells, by=person, what=what)

    async def tick(
        self, namespace: str, name: str, item: str, person: Person, note: str, *, done: bool
    ) -> Outcome:
        """Tick a line of the checklists, also after the end: it is about what to look at then."""

        def change(release: Release, now: datetime) -> Release | Decision:
            return rl.tick(release, item, person.name, note, now, done=done)

        ref = self._allowed(namespace, name)
        return await self._change(ref, change, tell=False, by=person, what=f"check {item}")

    async def _drifted(self, ref: Ref) -> str:
        """Return what is still not as the release left it, but for the number of its pods."""
        release = (await self._memory.read(ref)).journal.released
        if release is None:
            return ""
        stable = await rollout_of(self._setup, ref)
        canary = await rollout_of(self._setup, Ref(ref.namespace, release.canary))
        if stable is None or canary is None:
            return ""  # the driver ends it for that
        return rl.drift(replace(release, replicas=canary.desired), stable, canary)

    async def _change(
        self,
        ref: Ref,
        how: Callable[[Release, datetime], Release | Decision],
        *,
        tell: bool,
        by: Person,
        what: str,
    ) -> Outcome:
        setup = self._setup
        found: Release | Decision = Decision(reason=Reason.NO_RELEASE)

        def change(journal: Journal) -> Journal | None:
            nonlocal found
            if journal.release is None:
                found = Decision(reason=Reason.NO_RELEASE)
                return None
            now = setup.clock.now()
            found = how(journal.release, now)
            if isinstance(found, Decision):
                return None
            journal = with_release(journal, found)
            return self._work.claims.claimed(told(journal, setup, now) if tell else journal)

        # What was read before may be old: a refusal is only good for what is there now.
        async with self._memory.lock(ref):
            await self._memory.read(ref)
        journal = await self._memory.amend(ref, change)
        if isinstance(found, Decision):
            return _refused(found)
        setup.log.info("release_steered", target=str(ref), what=what, person=by.name)
        self._work.ensure(ref, journal)
        return Outcome(status=200, body=views.of_release(found, setup.clock.now()))


def _template(canary: Rollout | None, wish: ReleaseWish) -> rl.Obj:
    if canary is None:
        return {}
    try:
        return rl.templates(canary.template, dict(wish.images))
    except KeyError as error:
        text = f"{canary.name} has no container {error.args[0]}"
        raise Rejected(text, reason="bad_field") from None


def _refused(decision: Decision, begun: Release | None = None) -> Outcome:
    reason = decision.reason
    status = 403 if reason in _FORBIDDEN else 404 if reason in _NOT_FOUND else 409
    body = refusal(reason, sentence(reason, decision.detail))
    if begun is not None:
        body["release"] = begun.id
    return Outcome(status=status, body=body)
