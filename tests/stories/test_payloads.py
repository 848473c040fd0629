"""One webhook is many alerts: each is judged on its own, whatever the group around it says."""

import asyncio
from pathlib import Path
from typing import Any

from receiver import app
from receiver.sandbox import Fault
from tests.stage import NAME, NAMESPACE, Stage, firing, resolved, stage, webhook
from tests.virtual import virtual

OTHERS = ("cart", "search", "mail", "stock")


async def _answers(on: Stage, replica: app.Replica, body: Any, query: str = "") -> list[Any]:
    status, answer = await on.post(replica, body, query)
    assert status == 200, answer
    found: list[Any] = answer["alerts"]
    return found


def _tag(on: Stage, name: str) -> str:
    found = on.sandbox.get("Deployment", NAMESPACE, name)
    assert found is not None
    image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


async def _count(on: Stage, replica: app.Replica, series: str) -> float:
    async with on.session.get(f"{replica.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (found,) = (line for line in lines if line.startswith(f"rollback_receiver_{series} "))
    return float(found.split()[-1])


@virtual
async def test_in_a_mixed_group_each_alert_is_judged_by_its_own_labels_and_status(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", wait=5)
        for name in ("cart", "search"):
            await on.release("v1", "v2", name=name, wait=5)
        now = on.clock.now()
        on.sandbox.deploy(NAMESPACE, "stranger", "app:v1")
        alerts = [
            firing(now),
            resolved(now, now, deployment="cart"),
            firing(now, deployment="search", rollback="never"),
            firing(now, deployment="stranger"),
            firing(now, deployment="nobody"),
            firing(now, deployment="../cart"),
            firing(now, deployment=""),
        ]
        # What stands around them speaks of another Deployment, and says that all is over.
        group: dict[str, Any] = {
            "status": "resolved",
            "commonLabels": {"namespace": NAMESPACE, "deployment": "cart", "rollback": "auto"},
            "groupLabels": {"deployment": "cart"},
            "truncatedAlerts": 7,
        }
        answers = await _answers(on, replica, webhook(*alerts) | group)
        assert [answer["reason"] for answer in answers] == [
            "rolled_back",
            "resolved",
            "notify_only",
            "not_opted_in",
            "target_not_found",
            "invalid_target",
            "no_target",
        ]
        assert await _count(on, replica, "truncated_alerts_total") == 7
        await asyncio.sleep(60)
        tags = {name: _tag(on, name) for name in (NAME, "cart", "search", "stranger")}
        assert tags == {NAME: "v1", "cart": "v2", "search": "v2", "stranger": "v1"}
        assert [write.name for write in on.template_writes()] == [NAME]


@virtual
async def test_several_deployments_of_one_group_are_each_rolled_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica(breaker={"enabled": False}) as replica:
        for name in (NAME, *OTHERS[:2]):
            await on.release("v1", "v2", name=name, wait=5)
        now = on.clock.now()
        body = webhook(*(firing(now, deployment=name) for name in (NAME, *OTHERS[:2])))
        answers = await _answers(on, replica, body | {"status": "resolved"})
        assert [answer["reason"] for answer in answers] == ["rolled_back"] * 3
        assert [answer["deployment"] for answer in answers] == [NAME, *OTHERS[:2]]
        await asyncio.sleep(60)
        assert sorted(write.name for write in on.template_writes()) == sorted((NAME, *OTHERS[:2]))


@virtual
async def test_the_targets_of_a_payload_do_not_wait_for_each_other(tmp_path: Path) -> None:
    policy: dict[str, Any] = {"mode": "shadow", "breaker": {"enabled": False}}
    async with stage(tmp_path) as on, on.replica(**policy) as replica:
        for name in (NAME, *OTHERS):
            await on.release("v1", "v2", name=name, wait=5)

        def is_look(verb: str, path: str) -> bool:
            return verb == "GET" and "/replicasets" in path

        on.sandbox.faults.append(Fault(match=is_look, kind="delay", seconds=2.0, times=None))
        began = on.clock.monotonic()
        body = webhook(*(firing(on.clock.now(), deployment=name) for name in (NAME, *OTHERS)))
        answers = await _answers(on, replica, body)
        assert {answer["reason"] for answer in answers} == {"shadow"}
        # One look of two seconds each, or two where the first is not trusted: not five in a row.
        assert 2.0 <= on.clock.monotonic() - began < 5.0


@virtual
async def test_of_one_target_one_payload_is_judged_at_a_time(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2")
        now = on.clock.now()
        bodies = [webhook(firing(now, alertname=f"Alert-{n}")) for n in range(8)]
        found = await asyncio.gather(*(_answers(on, replica, body) for body in bodies))
        reasons = sorted(answer["reason"] for (answer,) in found)
        assert reasons == ["already_handled"] * 7 + ["rolled_back"]
        # Side by side they would have lost journal writes to each other, and tried again.
        assert await _count(on, replica, "conflicts_total") == 0
