"""A bad release, one alert, and an API server that goes wrong during it.

Whatever it does, when it is well again the rollback has been done exactly once or refused with a
reason that was told, and a webhook that was not acknowledged is accepted on its next delivery.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from receiver import journal as jn
from receiver.sandbox import Fault
from tests.stage import (
    NAME,
    NAMESPACE,
    OPTED_IN,
    PATIENT,
    PRODUCTION,
    Stage,
    firing,
    road,
    stage,
    webhook,
)
from tests.virtual import virtual

# Seconds that the API server is ill, and between two deliveries of Alertmanager.
ILL, AGAIN = 20.0, 5.0
# More requests than any of these stories needs: whoever hammers the API server is through with it.
MOST = 200
DEPLOYMENT = f"/namespaces/{NAMESPACE}/deployments/{NAME}"
JOURNAL = jn.name_of(NAMESPACE, NAME)

Match = Callable[[str, str], bool]


def _call(verb: str, part: str, without: str = "watch=true") -> Match:
    return lambda method, path: method == verb and part in path and without not in path


CALLS: dict[str, Match] = {
    "read deployment": _call("GET", DEPLOYMENT),
    "list replicasets": _call("GET", "/replicasets?"),
    "read replicaset": _call("GET", "/replicasets/"),
    "read journal": _call("GET", f"/configmaps/{JOURNAL}"),
    "make journal": _call("POST", "/configmaps"),
    "write journal": _call("PUT", f"/configmaps/{JOURNAL}"),
    "read switch": _call("GET", "/configmaps/rollback-receiver-switch"),
    "patch": _call("PATCH", DEPLOYMENT),
    "watch": _call("GET", "watch=true", without="-"),
}
READS = ("read deployment", "list replicasets", "read replicaset", "read journal", "read switch")
WRITES = ("make journal", "write journal", "patch")

KINDS: dict[str, dict[str, Any]] = {
    "reset": {"kind": "reset_before"},
    "lost reply": {"kind": "reset_after"},
    "hang": {"kind": "hang"},
    "429": {"kind": "status", "status": 429, "retry_after": 7},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "401": {"kind": "status", "status": 401},
    "410": {"kind": "status", "status": 410},
}
TABLE = [
    *((call, kind) for call in READS for kind in ("reset", "hang", "429", "503", "401")),
    *(
        (call, kind)
        for call in WRITES
        for kind in ("reset", "lost reply", "hang", "429", "500", "503", "401")
    ),
    *(("watch", kind) for kind in ("reset", "lost reply", "hang", "429", "500", "401", "410")),
]
# Uncertain is no: these end with a page and no write, until the alert fires anew.
REFUSED = {(call, "401"): "forbidden" for call in (*READS[:2], "read journal", "patch")} | {
    ("read switch", kind): "stopped" for kind in KINDS
}


async def _delivered(on: Stage, replica: app.Replica, alert: dict[str, Any]) -> str:
    """Post as Alertmanager does, until it is accepted; return the reason in the answer."""
    while True:
        status, answer = await on.post(replica, webhook(alert))
        if status == 200:
            reason: str = answer["alerts"][0]["reason"]
            return reason
        assert status == 503, answer
        await asyncio.sleep(AGAIN)


async def _ends_well(on: Stage, replica: app.Replica, began: Any) -> None:
    """See the one rollback through to its end."""
    assert (on.image, len(on.template_writes())) == ("v2", 1)
    await on.resolves(replica, began)
    await asyncio.sleep(60)
    assert (await on.incident(replica))["phase"] == "recovered"
    assert (on.image, len(on.template_writes())) == ("v2", 1)
    assert on.people.pages[-1]["event_action"] == "resolve"
    assert any("RECOVERED" in message["text"] for _, message in on.people.slack)


def _patches(on: Stage, name: str = NAME) -> int:
    path = f"/deployments/{name}"
    return sum(r.method == "PATCH" and r.path.endswith(path) for r in on.sandbox.requests)


@pytest.mark.parametrize(("call", "kind"), TABLE, ids=[f"{c}, {k}" for c, k in TABLE])
@virtual
async def test_after_the_fault_the_rollback_was_done_once_or_refused_and_told(
    tmp_path: Path, call: str, kind: str
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.faults.append(Fault(match=CALLS[call], times=MOST, **KINDS[kind]))
        asyncio.get_running_loop().call_later(ILL, on.sandbox.faults.clear)
        began = on.clock.now()
        reason = await _delivered(on, replica, firing(began))
        assert (on.clock.now() - began).total_seconds() <= ILL + 3 * AGAIN
        assert reason in ("rolled_back", REFUSED.get((call, kind)))
        await asyncio.sleep(ILL + 40)
        if (call, kind) in REFUSED:
            assert (on.image, on.template_writes()) == ("v3", [])
            assert any(REFUSED[call, kind] in str(page) for page in on.people.pages)
            began = on.clock.now()
            assert await on.fires(replica, began) == "rolled_back"
            await asyncio.sleep(20)
        await _ends_well(on, replica, began)


# --- slow, short, old


@pytest.mark.parametrize("call", ["deployments", "replicasets", "configmaps"])
@virtual
async def test_answers_that_trickle_delay_the_rollback_and_lose_nothing(
    tmp_path: Path, call: str
) -> None:
    async with stage(tmp_path) as on, road(on) as way, way.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        way.slow(f"/{call}")
        asyncio.get_running_loop().call_later(ILL, way.slow, "")
        began = on.clock.now()
        # A switch that is not read in time is no leave to act, so that alert is refused.
        reason = await _delivered(on, replica, firing(began))
        assert reason in ("rolled_back", "stopped")
        await asyncio.sleep(ILL + 40)
        if reason == "stopped":
            assert on.template_writes() == []
            began = on.clock.now()
            await on.fires(replica, began)
            await asyncio.sleep(20)
        await _ends_well(on, replica, began)


@virtual
async def test_a_watch_broken_off_in_the_middle_of_a_line_is_looked_after(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, road(on) as way, way.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        way.cut("watch=true")
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(30)
        watches = sum(r.query.get("watch") == "true" for r in on.sandbox.requests)
        assert watches > 1
        await _ends_well(on, replica, began)


@virtual
async def test_a_rollout_is_followed_although_its_watches_break(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.pod_ready_after = 4
        began = on.clock.now()
        await on.fires(replica, began)
        for _ in range(10):
            await asyncio.sleep(1)
            on.sandbox.drop_watches()
        await asyncio.sleep(30)
        await _ends_well(on, replica, began)


@virtual
async def test_a_list_that_is_behind_leads_to_no_older_revision(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", wait=5)
        assert (await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}"))[0] == 200
        with on.sandbox.frozen_lists():
            await on.release("v3", wait=5)
            began = on.clock.now()
            await on.fires(replica, began)
            await asyncio.sleep(20)
            await _ends_well(on, replica, began)


@pytest.mark.parametrize("kind", ["lost reply", "410", "compaction"])
@virtual
async def test_an_api_whose_watches_all_end_at_once_is_not_hammered(
    tmp_path: Path, kind: str
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.pod_ready_after = 20
        began = on.clock.now()
        await on.fires(replica, began)
        await asyncio.sleep(4)
        assert on.image == "v2"
        on.sandbox.clear_log()

        def is_one_too_many(verb: str, path: str) -> bool:
            """Hold up who hammers: it would take for ever, for no time passes meanwhile."""
            return "watch=true" in path and len(on.sandbox.requests) > MOST

        on.sandbox.faults.append(Fault(match=is_one_too_many, kind="hang", times=None))
        if kind == "compaction":
            on.sandbox.compact()
            on.sandbox.drop_watches()
        else:
            on.sandbox.faults.append(Fault(match=CALLS["watch"], times=None, **KINDS[kind]))
            on.sandbox.drop_watches()
        await asyncio.sleep(10)
        watches = sum(r.query.get("watch") == "true" for r in on.sandbox.requests)
        assert watches < 30


# --- who we are, and what we may


@virtual
async def test_an_expired_token_loses_no_alert_and_nothing_begun(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.require_token("the next one")
        loop = asyncio.get_running_loop()
        loop.call_later(ILL, on.sandbox.require_token, None)
        began = on.clock.now()
        assert await _delivered(on, replica, firing(began)) == "rolled_back"
        # It expires once more between the acknowledgement and the patch.
        on.sandbox.require_token("the one after that")
        loop.call_later(ILL, on.sandbox.require_token, None)
        await asyncio.sleep(ILL - 1)
        assert on.template_writes() == []
        await asyncio.sleep(60)
        await _ends_well(on, replica, began)


@virtual
async def test_an_api_that_is_gone_for_minutes_loses_no_alert(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        on.sandbox.faults.append(Fault(match="/", kind="status", status=503, times=None))
        asyncio.get_running_loop().call_later(180, on.sandbox.faults.clear)
        began = on.clock.now()
        assert await _delivered(on, replica, firing(began)) == "rolled_back"
        assert (on.clock.now() - began).total_seconds() >= 180
        await asyncio.sleep(20)
        await _ends_well(on, replica, began)


@pytest.mark.parametrize("by_hand", [False, True], ids=["alert", "by hand"])
@virtual
async def test_while_others_keep_changing_the_journal_it_is_503_and_nothing_is_done(
    tmp_path: Path, *, by_hand: bool
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        # It is there already.
        long_ago = on.clock.now() - timedelta(hours=2)
        assert await on.fires(replica, long_ago, alertname="Old") == "predates_release"
        taken = Fault(match=CALLS["write journal"], kind="status", status=409, times=None)
        on.sandbox.faults.append(taken)
        asked = len(on.sandbox.requests)
        began = on.clock.now()
        if by_hand:
            status, answer = await on.rollback(replica)
        else:
            status, answer = await on.post(replica, webhook(firing(began)))
        assert (status, answer["error"]["reason"]) == (503, "try_again")
        tried = [r for r in on.sandbox.requests[asked:] if r.method == "PUT" and JOURNAL in r.path]
        assert 2 <= len(tried) < MOST / 4
        await asyncio.sleep(30)
        assert (on.image, on.template_writes()) == ("v3", [])
        on.sandbox.faults.clear()
        assert await _delivered(on, replica, firing(began)) == "rolled_back"
        await asyncio.sleep(30)
        await _ends_well(on, replica, began)


@virtual
async def test_a_right_that_is_missing_in_one_namespace_stops_no_other(tmp_path: Path) -> None:
    other = "warehouse"
    async with stage(tmp_path, timing=PRODUCTION) as on:
        on.changes.append(lambda d: d["kubernetes"].update(namespaces=[NAMESPACE, other]))
        async with on.replica() as replica:
            await on.release("v1", "v2", "v3", wait=5)
            for tag in ("v1", "v2"):
                on.sandbox.deploy(other, NAME, f"app:{tag}", labels=OPTED_IN)
                await asyncio.sleep(10)
            may_not = ("patch", "apps", "deployments", "", other)
            on.sandbox.authorize = lambda *asked: asked[:5] != may_not
            await asyncio.sleep(90)
            async with on.session.get(f"{replica.url}/ready") as answer:
                ready = await answer.json()
            assert answer.status == 200
            assert f"{other}: patch deployments.apps" in ready["checks"]["rights"]
            began = on.clock.now()
            both = webhook(firing(began), firing(began, namespace=other))
            status, told = await on.post(replica, both)
            assert (status, {a["reason"] for a in told["alerts"]}) == (200, {"rolled_back"})
            await asyncio.sleep(30)
            assert (on.image, len(on.template_writes())) == ("v2", 1)
            paged = [str(page) for page in on.people.pages if "forbidden" in str(page)]
            assert len(paged) == 1
            assert other in paged[0]
            # The right is given back: the next episode is a new decision.
            on.sandbox.authorize = None
            assert await on.fires(replica, namespace=other) == "rolled_back"
            await asyncio.sleep(30)
            assert len(on.template_writes()) == 2


# --- admission


CAUSELESS: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": 'admission webhook "policy.example" denied the request: not today',
}


@pytest.mark.parametrize("status", [400, 409, 422])
@virtual
async def test_an_admission_webhook_that_denies_us_is_told_and_not_besieged(
    tmp_path: Path, status: int
) -> None:
    async with stage(tmp_path, timing=PATIENT) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        denial = Fault(
            match=CALLS["patch"],
            kind="status",
            status=status,
            times=None,
            body=CAUSELESS | {"code": status},
        )
        on.sandbox.faults.append(denial)
        began = on.clock.now()
        for _ in range(30):
            await on.fires(replica, began)
            await asyncio.sleep(120)
        assert _patches(on) == 1
        incident = await on.incident(replica)
        assert (incident["phase"], incident["reason"]) == ("refused", "rejected")
        assert [page["event_action"] for page in on.people.pages] == ["trigger"]
        assert "rejected" in str(on.people.pages[0])
        assert on.template_writes() == []


@virtual
async def test_a_deployment_that_never_stands_still_is_given_up_after_a_few_attempts(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", wait=5)
        count = 0

        def touch(verb: str, path: str, stored: object) -> None:
            nonlocal count
            if verb == "patch" and path.endswith(f"/deployments/{NAME}"):
                count += 1
                note = {"metadata": {"annotations": {"touched": str(count)}}}
                on.sandbox.merge_patch("Deployment", NAMESPACE, NAME, note)

        on.sandbox.before_commit = touch
        await on.fires(replica)
        await asyncio.sleep(600)
        assert 2 <= count <= 6
        assert (await on.incident(replica))["reason"] == "rejected"
        assert [page["event_action"] for page in on.people.pages] == ["trigger"]
        assert (on.image, on.template_writes()) == ("v3", [])


# --- a controller that is behind


async def _behind(on: Stage) -> None:
    """Let the Deployment controller stop, and the Deployment move on without it."""
    await on.release("v1", "v2", "v3", wait=5)
    on.sandbox.controller_running = False
    on.sandbox.scale(NAMESPACE, NAME, 4)


@virtual
async def test_a_controller_that_catches_up_in_time_is_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await _behind(on)
        began = on.clock.now()
        assert await on.fires(replica, began) == "not_observed"
        await asyncio.sleep(25)
        assert (on.template_writes(), on.people.pages) == ([], [])
        on.sandbox.controller_running = True
        await asyncio.sleep(30)
        await _ends_well(on, replica, began)


@virtual
async def test_a_controller_that_does_not_catch_up_is_told_and_nothing_is_done(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await _behind(on)
        began = on.clock.now()
        for _ in range(20):
            assert await on.fires(replica, began) == "not_observed"
            await asyncio.sleep(30)
        assert (on.image, on.template_writes()) == ("v3", [])
        assert [page["event_action"] for page in on.people.pages] == ["trigger"]
        assert "not_observed" in str(on.people.pages[0])
