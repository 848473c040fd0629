"""Faults planted into the service: each is found by a story, which passes without it.

What finds nothing when the code is wrong proves nothing when it is right.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import rollout as ro
from receiver.controller import look as looking
from receiver.controller import proof, reconcile, remember
from receiver.controller.claims import Claims
from receiver.controller.guards import Guards
from receiver.controller.memory import Entry, Memory
from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard, Receipt
from receiver.controller.receiving import Receiving
from receiver.controller.setup import Ref, Setup
from receiver.decisions import again, cases, destinations, table
from receiver.journal import Episode, Journal, Phase
from receiver.kube import KubernetesCluster
from receiver.kube import cluster as kube_cluster
from receiver.ledger import Ledger
from receiver.messages import Story
from receiver.notify import Sinks
from receiver.rollout import Revision, Rollout
from receiver.sandbox import Fault
from tests.properties.plays import Step, play
from tests.stage import NAME, NAMESPACE, OPTED_IN, crash, firing, stage, webhook
from tests.stories import test_bad_api as bad_api
from tests.stories import test_counter_examples as model
from tests.stories import test_elsewhere as elsewhere
from tests.stories import test_guards as guards
from tests.stories import test_traps as traps
from tests.stories import test_verification as verification
from tests.virtual import virtual


def _journal_without_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    write = Memory.write

    async def over(self: Memory, ref: Ref, journal: Journal, known: Entry) -> Entry:
        newest = await self.read(ref)
        return await write(self, ref, journal, replace(known, version=newest.version))

    patch.setattr(Memory, "write", over)


def _patch_without_tests(patch: pytest.MonkeyPatch) -> None:
    undo = ro.undo

    def unguarded(*args: Any, **more: Any) -> list[ro.Obj]:
        return [op for op in undo(*args, **more) if op["op"] != "test"]

    patch.setattr(ro, "undo", unguarded)


def _without_rule(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        kept = tuple(row for row in table.TABLE if row[1].__name__ != name)
        assert len(kept) == len(table.TABLE) - 1
        patch.setattr(table, "TABLE", kept)

    return plant


def _nothing_excluded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(destinations, "excluded", lambda rollout, journal, now: frozenset())


def _record_not_looked_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ro, "fate", lambda rollout, intent: "unknown")


def _acknowledged_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    async def later(self: Memory, ref: Ref, journal: Journal, known: Entry) -> Entry:
        return self._keep(ref, Entry(journal=journal, version=known.version))

    patch.setattr(Memory, "write", later)


def _a_patch_that_tests_no_uid(patch: pytest.MonkeyPatch) -> None:
    undo = ro.undo

    def of_anybody(*args: Any, **more: Any) -> list[ro.Obj]:
        return [op for op in undo(*args, **more) if op["path"] != "/metadata/uid"]

    patch.setattr(ro, "undo", of_anybody)


def _a_budget_of_each_replica(patch: pytest.MonkeyPatch) -> None:
    own: dict[int, Ledger] = {}

    async def amend(self: Guards, change: Callable[[Ledger], Ledger]) -> Ledger:
        own[id(self)] = change(own.get(id(self), Ledger()))
        return own[id(self)]

    async def read(self: Guards) -> Ledger:
        return own.get(id(self), Ledger())

    patch.setattr(Guards, "_amend", amend)
    patch.setattr(Guards, "read", read)


def _the_switch_is_read_once(patch: pytest.MonkeyPatch) -> None:
    async def never(setup: Setup) -> str:
        del setup
        return ""

    patch.setattr(looking, "why_stopped", never)
    patch.setattr(reconcile, "why_stopped", never)


def _back_by_the_number_below(patch: pytest.MonkeyPatch) -> None:
    def below(rollout: Rollout, *_: Any) -> Revision | None:
        current = rollout.current
        return None if current is None else ro.numbered(rollout, current.number - 1)

    patch.setattr(table, "goal", below)


def _suspects_are_not_fenced(patch: pytest.MonkeyPatch) -> None:
    async def no_fence(*_: Any) -> None:
        pass

    patch.setattr(Receiving, "_fence", no_fence)


def _claims_by_the_clock_on_the_wall(patch: pytest.MonkeyPatch) -> None:
    """Say with each beat what time it is, and take for dead who is late by that."""
    beat = KubernetesCluster.beat

    async def timed(
        self: KubernetesCluster, name: str, keys: Mapping[str, str | None]
    ) -> Mapping[str, str]:
        now = self._clock.now().timestamp()
        said = {key: None if beat is None else f"{beat}@{now}" for key, beat in keys.items()}
        found = await beat(self, name, said)
        self.late = {  # type: ignore[attr-defined] # where the fault keeps it
            who: now - float(said.partition("@")[2]) for who, said in found.items() if "@" in said
        }
        return {who: said.partition("@")[0] for who, said in found.items()}

    def lives(self: Claims, replica: str) -> bool:
        late: float = getattr(self._setup.cluster, "late", {}).get(replica, 0.0)
        return abs(late) < self._setup.timing.lasts

    patch.setattr(KubernetesCluster, "beat", timed)
    patch.setattr(Claims, "lives", lives)


def _no_refusal_is_final(patch: pytest.MonkeyPatch) -> None:
    for module in (cases, table, again, remember):
        patch.setattr(module, "FINAL", frozenset())


def _ticked_before_it_is_accepted(patch: pytest.MonkeyPatch) -> None:
    async def deliver(
        self: Sinks, sink: str, story: Story, heard: Heard = NOTHING_HEARD
    ) -> Receipt:
        await transported(self, sink, story)
        return Receipt(delivery=Delivery.DELIVERED)

    transported = Sinks.deliver
    patch.setattr(Sinks, "deliver", deliver)


def _a_list_of_any_age_is_trusted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kube_cluster, "is_fresh", lambda deployment, replicasets: True)


def _resolved_is_taken_for_health(patch: pytest.MonkeyPatch) -> None:
    def well(asked: tuple[Episode, ...], findings: Any) -> proof.Outcome | None:
        del findings
        if any(e.firing for e in asked):
            return None
        return proof.Outcome(phase=Phase.RECOVERED, detail="resolved")

    patch.setattr(proof, "well", well)


def _the_breaker_forgets_who_began(patch: pytest.MonkeyPatch) -> None:
    def began(self: Ledger, *_: Any) -> Ledger:
        return self

    patch.setattr(Ledger, "began", began)


@virtual
async def _the_replica_that_answered_dies(home: Path) -> None:
    async with stage(home) as on, on.replica(1) as first, on.replica(2):
        await on.release("v1", "v2")
        assert await on.fires(first) == "rolled_back"
        crash(first)
        await asyncio.sleep(60)
        assert on.image == "v1"


@virtual
async def _made_anew_between_read_and_write(home: Path) -> None:
    """Make a namesake of the same generation: only its UID is another."""
    async with stage(home) as on, on.replica() as replica:
        await on.release("v1", "v2")

        def anew(verb: str, path: str, stored: object) -> None:
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                on.sandbox.before_commit = None
                before = on.sandbox.get("Deployment", NAMESPACE, NAME)
                on.sandbox.delete("Deployment", NAMESPACE, NAME)
                notes = {"labels": OPTED_IN, "annotations": {"team": "shop"}}
                for tag in ("v1", "other"):
                    on.sandbox.deploy(NAMESPACE, NAME, f"app:{tag}", **notes)
                after = on.sandbox.get("Deployment", NAMESPACE, NAME)
                assert before is not None
                assert after is not None
                generations = [obj["metadata"]["generation"] for obj in (before, after)]
                assert generations[0] == generations[1]

        on.sandbox.before_commit = anew
        await on.fires(replica)
        await asyncio.sleep(60)
        assert on.image == "other"
        assert on.template_writes() == []


@virtual
async def _slack_is_down_for_a_minute(home: Path) -> None:
    async with stage(home) as on, on.replica() as replica:
        await on.release("v1", "v2")
        (home / "slack-prod-alerts").write_text("http://127.0.0.1:9/services/prod-alerts")
        began = on.clock.now()
        assert await on.fires(replica, began) == "rolled_back"
        await asyncio.sleep(15)
        await on.resolves(replica, began)
        await asyncio.sleep(45)
        (home / "slack-prod-alerts").write_text(f"{on.people_url}/services/prod-alerts")
        await asyncio.sleep(600)
        assert any("RECOVERED" in message["text"] for _, message in on.people.slack)


@virtual
async def _two_replicas_decide_at_once(home: Path) -> None:
    """One has read the journal and is slow; the other writes it meanwhile."""
    async with stage(home) as on, on.replica(1) as first, on.replica(2) as second:
        await on.release("v1", "v2", "v3")
        body = webhook(firing(on.clock.now()))
        slow = Fault(
            match=lambda verb, path: verb == "GET" and "/replicasets" in path,
            kind="delay",
            seconds=0.5,
        )
        on.sandbox.faults.append(slow)
        late = asyncio.create_task(on.post(second, body))
        await asyncio.sleep(0.1)
        answers = [await on.post(first, body), await late]
        assert slow.times == 0
        assert [status for status, _ in answers] == [200, 200]
        reasons = [answer["alerts"][0]["reason"] for _, answer in answers]
        assert reasons == ["rolled_back", "already_handled"]


@virtual
async def _a_hotfix_between_read_and_write(home: Path) -> None:
    async with stage(home) as on, on.replica() as replica:
        await on.release("v1", "v2")

        def hotfix(verb: str, path: str, stored: object) -> None:
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                on.sandbox.before_commit = None
                on.sandbox.deploy(NAMESPACE, NAME, "app:hotfix")

        on.sandbox.before_commit = hotfix
        await on.fires(replica)
        await asyncio.sleep(60)
        assert on.image == "hotfix"
        assert on.template_writes() == []


def _a_bad_release_comes_back_after_its_revision_was_pruned(_: Path) -> None:
    """Only what is remembered tells that this code was left before."""
    steps = [
        Step("deploy", then=10),
        Step("fire", then=20),
        Step("resolve", then=150),
        Step("deploy", then=10),
        Step("redeploy", 2, then=10),
        Step("fire", then=60),
    ]
    assert len(play(steps, revisionHistoryLimit=1).automatic) == 1


def _a_hotfix_that_fails_as_well(_: Path) -> None:
    """Go past what the hotfix replaced, which had begun to alert."""
    steps = [
        Step("deploy", then=60),
        Step("fire", then=0.3),
        Step("deploy", then=60),
        Step("fire", 1, then=60),
    ]
    assert len(play(steps).automatic) == 1


def _the_destination_alerts_too(_: Path) -> None:
    """One step back helped nothing: a second one is for people."""
    steps = [
        Step("deploy", then=10),
        Step("fire", then=20),
        Step("resolve", then=150),
        Step("fire", then=60),
    ]
    assert len(play(steps).automatic) == 1


@pytest.mark.timeout(170)
@pytest.mark.parametrize(
    ("plant", "story"),
    [
        pytest.param(
            _journal_without_compare_and_set,
            _two_replicas_decide_at_once,
            id="the journal is written without compare-and-set",
        ),
        pytest.param(
            _patch_without_tests,
            _a_hotfix_between_read_and_write,
            id="the patch tests nothing",
        ),
        pytest.param(
            _without_rule("already_handled"),
            _a_bad_release_comes_back_after_its_revision_was_pruned,
            id="already_handled is dropped",
        ),
        pytest.param(
            _nothing_excluded,
            _a_hotfix_that_fails_as_well,
            id="quarantined and suspect revisions are destinations",
        ),
        pytest.param(
            _without_rule("not_a_new_release"),
            _the_destination_alerts_too,
            id="not_a_new_release is dropped",
        ),
        pytest.param(
            _record_not_looked_up,
            traps.test_a_reply_lost_after_the_patch_is_no_second_rollback,
            id="the record of an intent is not looked up",
        ),
        pytest.param(
            _acknowledged_before_it_is_written,
            _the_replica_that_answered_dies,
            id="200 is answered before anything is durable",
        ),
        pytest.param(
            _a_patch_that_tests_no_uid,
            _made_anew_between_read_and_write,
            id="the patch tests no uid",
        ),
        pytest.param(
            _a_budget_of_each_replica,
            guards.test_of_many_that_settle_at_once_no_more_than_the_budget_are_patched,
            id="each replica has a budget of its own",
        ),
        pytest.param(
            _the_breaker_forgets_who_began,
            guards.test_when_redis_dies_no_release_is_blamed,
            id="nobody is counted for the breaker",
        ),
        pytest.param(
            _the_switch_is_read_once,
            guards.test_the_switch_set_while_we_settle_holds,
            id="the switch is not read again",
        ),
        pytest.param(
            _back_by_the_number_below,
            traps.test_a_restart_of_a_bad_release_hides_it_not,
            id="the destination is chosen by its number",
        ),
        pytest.param(
            _suspects_are_not_fenced,
            model.test_a_destination_that_turns_suspect_is_fenced_off_at_the_next_delivery_at_last,
            id="suspects are not fenced",
        ),
        pytest.param(
            _claims_by_the_clock_on_the_wall,
            elsewhere.test_two_replicas_two_hours_apart_write_once_and_leave_each_other_alone,
            id="claims are judged by the clock on the wall",
        ),
        pytest.param(
            _no_refusal_is_final,
            guards.test_what_the_switch_refused_stays_refused,
            id="a refusal is not final",
        ),
        pytest.param(
            _ticked_before_it_is_accepted,
            _slack_is_down_for_a_minute,
            id="a notice is ticked before it is accepted",
        ),
        pytest.param(
            _a_list_of_any_age_is_trusted,
            bad_api.test_a_list_that_is_behind_leads_to_no_older_revision,
            id="a stale list is trusted",
        ),
        pytest.param(
            _resolved_is_taken_for_health,
            verification.test_a_prometheus_that_dies_is_no_recovery,
            id="resolved is taken for health",
        ),
    ],
)
def test_a_planted_fault_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    story: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story(tmp_path)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        story(tmp_path)
