"""The staged plan on its stage: 10 %, 50 %, everybody; and every way in which it goes back."""

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from receiver import app
from receiver.controller.setup import Timing
from receiver.prometheus.api import CRITICAL
from receiver.sandbox import Fault, Token
from tests.prometheus.double import EXPRESSION, RULE, SIDE, Double
from tests.stage import NAME, NAMESPACE, OPTED_IN, Stage, crash, road, stage
from tests.virtual import virtual

US, LIMIT = "rollback-receiver", 0.05
CANARY = f"{NAME}-canary"
PATCH = f"PATCH /apis/apps/v1/namespaces/{NAMESPACE}/deployments/{CANARY}"
CHECK = "CanaryErrorRatioHigh"
DEV, LEAD, CTO = "dev-7f3a.zebra-1b2c.sig-9d8e", "lead-5e6f.zebra-7a8b.sig-0c1d", "cto-1.z.sig-2"
DAYS = Timing(beat=1800, lasts=9000, forget=90000, rights=90000, poll=1800, health=1800)
BRISK = replace(app.DEFAULT_TIMING, health=5)

PLAN: dict[str, Any] = {
    "name": "standard",
    "stages": [
        {"name": "canary", "percent": 10, "soak": "1m"},
        {"name": "beta", "percent": 50, "soak": "1m", "approvals": ["engineering-lead"]},
        {"name": "full", "percent": 100, "approvals": ["cto"]},
    ],
    "watch": "1m",
    "health_checks": [{"name": "error rate", "alert": CHECK}],
}
ROLES = {
    "engineering-lead": {"groups": ["leads"]},
    "cto": {"users": ["carol@example.com"]},
}


@dataclass(slots=True)
class Play:
    """A stage with nine stable pods, a canary without any, and a Prometheus that is asked."""

    on: Stage
    monitoring: Double

    def canary_errors(self, ratio: str) -> None:
        """Let the health check see that share of errors, of both."""
        labels = [{"namespace": NAMESPACE, "deployment": name} for name in (CANARY, NAME)]
        self.monitoring.vectors[SIDE] = [(each, ratio) for each in labels]
        firing = [(each, ratio) for each in labels if float(ratio) > LIMIT]
        self.monitoring.vectors[EXPRESSION] = firing

    async def ask(
        self,
        replica: app.Replica,
        method: str,
        path: str = "",
        token: str = DEV,
        **body: Any,
    ) -> tuple[int, Any]:
        """Ask something of the release."""
        url = f"{replica.url}/api/v1/deployments/{NAMESPACE}/{NAME}/release{path}"
        headers = {"Authorization": f"Bearer {token}"}
        sent = body or None
        async with self.on.session.request(method, url, json=sent, headers=headers) as answer:
            if answer.content_type == "text/markdown":
                return answer.status, await answer.text()
            return answer.status, await answer.json()

    async def begin(self, replica: app.Replica, tag: str = "v2", **more: Any) -> dict[str, Any]:
        """Begin the release of an image."""
        wish = {"reason": "ship it", "images": {"app": f"app:{tag}"}} | more
        status, answer = await self.ask(replica, "POST", **wish)
        assert status == 202, answer
        found: dict[str, Any] = answer
        return found

    async def steer(
        self, replica: app.Replica, what: str, token: str = DEV, reason: str = "as agreed"
    ) -> tuple[int, Any]:
        """Steer the release."""
        return await self.ask(replica, "POST", f"/{what}", token, reason=reason)

    async def now(self, replica: app.Replica) -> dict[str, Any]:
        """Return the release as it is."""
        status, found = await self.ask(replica, "GET")
        assert status == 200, found
        shown: dict[str, Any] = found
        return shown

    async def until(self, replica: app.Replica, step: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until the release is in a step; return it."""
        found: dict[str, Any] = {}
        for _ in range(60):
            if (found := await self.now(replica))["step"] == step:
                return found
            await asyncio.sleep(seconds / 60)
        raise AssertionError(found)

    def pods(self) -> tuple[int, int]:
        """Return how many pods the stable one and the canary are to have."""
        return self._of(NAME)["replicas"], self._of(CANARY)["replicas"]

    def tags(self) -> tuple[str, str]:
        """Return the tags that both have."""
        stable, canary = (self._of(name)["template"]["spec"] for name in (NAME, CANARY))
        return tuple(s["containers"][0]["image"].rpartition(":")[2] for s in (stable, canary))

    def _of(self, name: str) -> dict[str, Any]:
        found = self.on.sandbox.get("Deployment", NAMESPACE, name)
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec

    def scaled(self) -> list[int]:
        """Return what the service gave the canary, one after another."""
        return [
            w.after["spec"]["replicas"]
            for w in self.on.sandbox.writes
            if w.name == CANARY and w.by == US and w.after is not None
        ]


@contextlib.asynccontextmanager
async def playing(home: Path, timing: Timing = BRISK, **plan: Any) -> AsyncIterator[Play]:
    """Set the stage; `plan` changes the usual one."""
    monitoring = Double(rules=[RULE | {"name": CHECK}])
    async with stage(home, timing=timing) as on, monitoring.serve() as url:
        on.sandbox.reviews.tokens |= {
            DEV: Token("dave@example.com", ["devs"], [US]),
            LEAD: Token("bob@example.com", ["leads", "devs"], [US]),
            CTO: Token("carol@example.com", ["board"], [US]),
        }

        def released(document: dict[str, Any]) -> None:
            document["prometheus"] = {"url": url}
            document["auth"]["people"]["kubernetes"] = {"audience": US}
            document["release"] = {"roles": ROLES, "plans": [PLAN | plan]}

        on.changes.append(released)
        for name, track, replicas in ((NAME, "stable", 9), (CANARY, "canary", 0)):
            labels = OPTED_IN | {"track": track}
            on.sandbox.deploy(
                NAMESPACE, name, "app:v1", replicas=replicas, labels=labels, track=track
            )
        await asyncio.sleep(60)
        play = Play(on, monitoring)
        play.canary_errors("0.01")
        yield play


# --- the plan as it is


@pytest.mark.timeout(180)  # more than two days, and each look at them is real traffic
@virtual
async def test_the_plan_takes_two_days_and_two_approvals(tmp_path: Path) -> None:
    stages = [dict(s) for s in PLAN["stages"]]
    stages[0]["soak"] = stages[1]["soak"] = "24h"
    async with (
        playing(tmp_path, DAYS, stages=stages, watch="4h") as play,
        play.on.replica() as replica,
    ):
        clock = play.on.clock
        began = clock.now()
        answer = await play.begin(replica)
        assert [(s["canary_replicas"], s["share_percent"]) for s in answer["stages"]] == [
            (1, 10.0),
            (9, 50.0),
            (0, 100.0),
        ]
        await asyncio.sleep(3600)
        assert (await play.now(replica))["step"] == "soaking"
        assert (play.pods(), play.tags()) == ((9, 1), ("v1", "v2"))
        await asyncio.sleep(22 * 3600)
        assert (await play.now(replica))["step"] == "soaking"
        assert (await play.steer(replica, "approve", LEAD))[0] == 409
        await play.until(replica, "waiting", 3 * 3600)
        assert (clock.now() - began).total_seconds() >= 24 * 3600
        assert (await play.steer(replica, "approve", CTO))[0] == 403
        status, found = await play.steer(replica, "approve", LEAD)
        assert status == 200, found
        await asyncio.sleep(3600)
        assert play.pods() == (9, 9)
        await play.until(replica, "waiting", 25 * 3600)
        assert (clock.now() - began).total_seconds() >= 48 * 3600
        assert play.tags() == ("v1", "v2")
        assert (await play.steer(replica, "approve", CTO))[0] == 200
        await play.until(replica, "watching", 3600)
        assert play.tags() == ("v2", "v2")
        done = await play.until(replica, "completed", 5 * 3600)
        assert (clock.now() - began).total_seconds() >= 52 * 3600
        assert play.pods() == (9, 0)
        assert [(a["stage"], a["by"]) for a in done["approvals"]] == [
            ("beta", "bob@example.com"),
            ("full", "carol@example.com"),
        ]
        # One write for each share, one for everybody, one at the end.
        assert play.scaled() == [1, 9, 0]
        assert len(play.on.template_writes()) == 2
        assert not play.on.people.pages
        status, log = await play.ask(replica, "GET", "/log.md")
        assert status == 200
        for line in ("**Deployed By:** dave", "**Rollback:** No", "error rate: ok"):
            assert line in log


# --- it goes back


@virtual
@pytest.mark.parametrize("target", [NAME, CANARY])
async def test_an_alert_on_either_takes_the_canary_back_at_once(
    tmp_path: Path, target: str
) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        await play.begin(replica)
        await play.until(replica, "soaking")
        began = play.on.clock.now()
        assert await play.on.fires(replica, began, deployment=target) == "release_aborted"
        await asyncio.sleep(6)
        assert play.pods() == (9, 0)
        assert (await play.now(replica))["step"] == "aborted"
        # It was no rollback of anything: the stable template has never moved.
        assert play.tags() == ("v1", "v2")
        again = await play.on.fires(replica, began, deployment=target)
        assert again != "release_aborted"
        assert play.on.people.pages[0]["event_action"] == "trigger"
        assert play.on.people.pages[-1]["event_action"] == "resolve"
        status, answer = await play.ask(replica, "POST", reason="again", images={"app": "app:v2"})
        assert status == 409, answer


@virtual
async def test_an_alert_posted_to_the_other_replica_takes_it_back_too(tmp_path: Path) -> None:
    async with (
        playing(tmp_path) as play,
        play.on.replica() as one,
        play.on.replica(seed=2) as two,
    ):
        await play.begin(one)
        await play.until(one, "soaking")
        assert await play.on.fires(two, deployment=CANARY) == "release_aborted"
        await asyncio.sleep(10)
        assert (play.pods(), (await play.now(two))["step"]) == ((9, 0), "aborted")


@virtual
async def test_once_everybody_has_it_an_alert_is_a_rollback_like_any_other(tmp_path: Path) -> None:
    stages = [PLAN["stages"][0], {"name": "full", "percent": 100}]
    async with playing(tmp_path, stages=stages) as play, play.on.replica() as replica:
        await play.begin(replica)
        await play.until(replica, "watching")
        await asyncio.sleep(10)
        assert (play.tags(), play.pods()) == (("v2", "v2"), (9, 0))
        assert await play.on.fires(replica, play.on.clock.now()) == "rolled_back"
        await asyncio.sleep(30)
        assert play.tags() == ("v1", "v2")
        assert (await play.now(replica))["step"] == "aborted"


@virtual
async def test_a_person_ends_it_in_the_middle_of_a_promotion(tmp_path: Path) -> None:
    stages = [PLAN["stages"][0], {"name": "full", "percent": 100}]
    async with playing(tmp_path, stages=stages) as play, play.on.replica() as replica:
        await play.begin(replica)
        await play.until(replica, "watching")
        assert (await play.steer(replica, "abort", DEV, "it looks wrong"))[0] == 200
        await asyncio.sleep(60)
        assert (play.tags(), play.pods()) == (("v1", "v2"), (9, 0))
        incident = await play.on.incident(replica)
        assert incident["by"].startswith("release rel-")


@virtual
async def test_a_canary_that_never_gets_ready_is_taken_back_and_told(tmp_path: Path) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        await play.begin(replica, "bad")
        await play.until(replica, "aborted", 1200)
        assert play.pods() == (9, 0)
        assert (await play.now(replica))["reason"] == "canary_not_ready"


# --- it stands still


@virtual
@pytest.mark.parametrize("how", ["failing", "no data", "prometheus is gone", "critical"])
async def test_what_is_not_known_to_be_healthy_does_not_count(tmp_path: Path, how: str) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        await play.begin(replica)
        await play.until(replica, "soaking")
        await asyncio.sleep(30)
        match how:
            case "failing":
                play.canary_errors("0.5")
            case "no data":
                play.monitoring.no_data()
            case "prometheus is gone":
                play.monitoring.status = 500
            case "critical":
                labels = {"alertname": "Meltdown", "namespace": NAMESPACE, "deployment": NAME}
                play.monitoring.vectors[CRITICAL] = [(labels, "1")]
            case _:
                raise AssertionError(how)
        await asyncio.sleep(330)
        found = await play.now(replica)
        assert (found["step"], found["healthy"]) == ("soaking", False)
        assert (found["soaked_seconds"] == 0) if how == "critical" else found["soaked_seconds"] < 45
        assert [channel for channel, _ in play.on.people.slack].count("engineering") == 1
        play.monitoring.status = 200
        play.monitoring.vectors.clear()
        play.canary_errors("0.01")
        # A critical alert makes the stage begin anew; the others let it stand still.
        await asyncio.sleep(50)
        assert (await play.now(replica))["step"] == ("soaking" if how == "critical" else "waiting")
        await asyncio.sleep(30)
        assert (await play.now(replica))["step"] == "waiting"


@virtual
async def test_a_hotfix_of_the_stable_one_holds_it_and_is_never_undone(tmp_path: Path) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        await play.begin(replica)
        await play.until(replica, "soaking")
        play.on.sandbox.deploy(NAMESPACE, NAME, "app:hotfix")
        await asyncio.sleep(120)
        found = await play.now(replica)
        assert found["held"]["reason"] == "release_drifted"
        assert play.tags() == ("hotfix", "v2")
        status, answer = await play.steer(replica, "resume")
        assert (status, answer["error"]["reason"]) == (409, "release_drifted")
        assert (await play.steer(replica, "abort"))[0] == 200
        await asyncio.sleep(10)
        assert (play.pods(), play.tags()) == ((9, 0), ("hotfix", "v2"))


@virtual
async def test_the_share_follows_when_the_stable_one_is_scaled(tmp_path: Path) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        await play.begin(replica)
        await play.until(replica, "soaking")
        play.on.sandbox.scale(NAMESPACE, NAME, 27)
        await asyncio.sleep(30)
        assert play.pods() == (27, 3)
        play.on.sandbox.scale(NAMESPACE, CANARY, 8)
        await asyncio.sleep(30)
        assert (await play.now(replica))["held"][
            "detail"
        ] == f"{CANARY} was scaled from 3 to 8 pods"
        assert (await play.steer(replica, "resume"))[0] == 200
        await asyncio.sleep(30)
        assert play.pods() == (27, 3)


# --- people


@virtual
async def test_nobody_approves_what_he_began_nor_without_the_role(tmp_path: Path) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        status, answer = await play.ask(
            replica, "POST", token=LEAD, reason="ship it", images={"app": "app:v2"}
        )
        assert status == 202, answer
        await play.until(replica, "waiting")
        refusals = [
            (await play.steer(replica, "approve", token))[1]["error"]["reason"]
            for token in (LEAD, DEV, CTO)
        ]
        assert refusals == ["another_person", "not_an_approver", "not_an_approver"]
        assert play.pods() == (9, 1)


@virtual
async def test_it_does_not_begin_before_its_checklist_is_ticked(tmp_path: Path) -> None:
    before = [{"id": "ci", "text": "All tests passing in CI"}]
    async with playing(tmp_path, before=before) as play, play.on.replica() as replica:
        await play.begin(replica)
        await asyncio.sleep(60)
        assert (await play.now(replica))["waits_for"] == ["ci"]
        assert play.scaled() == []
        status, answer = await play.ask(replica, "POST", "/checks/ci", note="run 42", done=True)
        assert status == 200, answer
        await play.until(replica, "soaking")
        assert play.pods() == (9, 1)


@virtual
async def test_a_dry_run_says_what_would_be_and_writes_nothing(tmp_path: Path) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        before = len(play.on.sandbox.writes)
        status, answer = await play.ask(
            replica, "POST", reason="look", images={"app": "app:v2"}, dry_run=True
        )
        assert (status, answer["dry_run"], answer["differs"]) == (200, True, [])
        assert [w for w in play.on.sandbox.writes[before:] if w.kind == "Deployment"] == []
        assert (await play.ask(replica, "GET"))[0] == 404


# --- replicas that die


@virtual
async def test_another_replica_goes_on_where_one_died(tmp_path: Path) -> None:
    async with (
        playing(tmp_path) as play,
        play.on.replica() as one,
        play.on.replica(seed=2) as two,
    ):
        await play.begin(one)
        await play.until(one, "soaking")
        crash(one)
        await play.until(two, "waiting")
        assert (await play.steer(two, "approve", LEAD))[0] == 200
        await play.until(two, "soaking")
        assert play.scaled() == [1, 9]


@virtual
async def test_a_patch_that_was_held_up_does_not_bring_an_aborted_canary_back(
    tmp_path: Path,
) -> None:
    async with (
        playing(tmp_path) as play,
        road(play.on) as way,
        way.replica() as slow,
        play.on.replica(seed=2) as two,
    ):
        way.hold(PATCH, then_all=True)
        await play.begin(slow)
        await asyncio.sleep(30)
        assert way.held
        assert (await play.steer(two, "abort"))[0] == 200
        await play.until(two, "aborted")
        assert play.pods() == (9, 0)
        way.clear()
        await asyncio.sleep(60)
        assert [status for what, status in way.arrived_late if "PATCH" in what][:1] == [422]
        assert play.pods() == (9, 0)


@virtual
async def test_an_answer_that_was_lost_is_no_drift(tmp_path: Path) -> None:
    async with playing(tmp_path) as play, play.on.replica() as replica:
        play.on.sandbox.faults.append(
            Fault(f"PATCH /apis/apps/v1/namespaces/{NAMESPACE}/deployments/{CANARY}", "reset_after")
        )
        await play.begin(replica)
        await play.until(replica, "soaking")
        assert play.scaled() == [1]


# --- what metrics say of it


async def _measured(play: Play, replica: app.Replica) -> dict[str, float]:
    """Return what is told of releases in progress: a step that nobody is in is left out."""
    async with play.on.session.get(f"{replica.url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    return {
        "_".join((s.name.removeprefix("rollback_receiver_"), *s.labels.values())): s.value
        for family in families
        for s in family.samples
        if re.search("releases_(open|held)|release_step", s.name) and s.value
    }


@virtual
async def test_metrics_say_where_it_is_for_how_long_and_whether_it_is_held(tmp_path: Path) -> None:
    stages = [PLAN["stages"][0] | {"soak": "1h"}, PLAN["stages"][2]]
    async with playing(tmp_path, stages=stages) as play, play.on.replica() as replica:
        assert math.isnan((await _measured(play, replica))["releases_held"])
        await asyncio.sleep(60)
        assert await _measured(play, replica) == {}
        await play.begin(replica)
        since = datetime.fromisoformat((await play.until(replica, "soaking"))["step_at"])
        await asyncio.sleep(120)
        found = await _measured(play, replica)
        long = (play.on.clock.now() - since).total_seconds()
        # The last look at all journals is not long ago.
        assert found.pop("oldest_release_step_seconds_soaking") == pytest.approx(long, abs=30)
        assert found == {"releases_open_soaking": 1}
        assert (await play.steer(replica, "pause"))[0] == 200
        await asyncio.sleep(60)
        found = await _measured(play, replica)
        assert (found["releases_open_soaking"], found["releases_held"]) == (1, 1)
        assert (await play.steer(replica, "abort"))[0] == 200
        await play.until(replica, "aborted")
        await asyncio.sleep(90)
        assert await _measured(play, replica) == {}
