"""The service understands what the shipped rules fire: whom it means, and since when."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from receiver import alerts as al
from receiver.promql import comparisons
from tests.rules.promtool import Rule, name_of, shipped
from tests.stage import NAMESPACE, OPTED_IN, Stage, firing, stage, webhook
from tests.virtual import virtual

ALERTS = {name_of(rule): rule for name in ("release", "receiver") for rule in shipped(name)}
TRIGGERS = ("HighLatency", "HighErrorRate", "WhatsappFailures")
CANARY = {"labels": OPTED_IN | {"track": "canary"}}


def fired(rule: Rule, starts_at: datetime, **labels: str) -> dict[str, Any]:
    """Return a recorded alert with the labels and annotations that Prometheus gives to this one."""
    alert = firing(starts_at)
    alert["labels"] = {"alertname": name_of(rule)} | labels | rule["labels"]
    alert["annotations"] = dict(rule["annotations"])
    alert["fingerprint"] = al.fingerprint(alert["labels"])
    return alert


def revision(on: Stage, name: str, tag: str) -> dict[str, str]:
    """Return the labels that say whose a pod of this image is."""
    (found,) = [
        rs["metadata"]["name"]
        for rs in on.sandbox.list("ReplicaSet", NAMESPACE)
        if rs["metadata"]["ownerReferences"][0]["name"] == name
        and rs["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":{tag}")
    ]
    track = "canary" if name.endswith("-canary") else "stable"
    app = name.removesuffix("-canary")
    about = {"namespace": NAMESPACE, "app": app, "deployment": name}
    return about | {"replicaset": found, "track": track}


@pytest.mark.parametrize(
    ("alert", "name"),
    [
        ("HighLatency", "api-deployment-canary"),
        ("WhatsappFailures", "api-deployment-canary"),
        ("HighErrorRate", "api-deployment"),
    ],
)
@virtual
async def test_a_condition_of_the_plan_rolls_the_bad_revision_back(
    alert: str, name: str, tmp_path: Path
) -> None:
    rule = ALERTS[alert]
    more: dict[str, Any] = CANARY if name.endswith("-canary") else {}
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", name=name, **more)
        # It becomes bad a minute after the release, and fires when that has lasted.
        await asyncio.sleep(60 + al.duration(rule["for"]).total_seconds())
        alerts = fired(rule, on.clock.now(), **revision(on, name, "v2"))
        status, answer = await on.post(replica, webhook(alerts))
        (said,) = answer["alerts"]
        assert (status, said["reason"], said["deployment"]) == (200, "rolled_back", name)
        await asyncio.sleep(15)
        (write,) = on.template_writes()
        assert write.name == name
        assert (await on.incident(replica))["deployment"] == name


@virtual
async def test_the_trouble_of_the_revision_before_is_not_blamed_on_the_new_one(
    tmp_path: Path,
) -> None:
    rule = ALERTS["HighErrorRate"]
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", "v3", name="api-deployment")
        await asyncio.sleep(400)
        old = revision(on, "api-deployment", "v2")
        _, answer = await on.post(replica, webhook(fired(rule, on.clock.now(), **old)))
        assert answer["alerts"][0]["reason"] == "revision_not_current"


@virtual
async def test_trouble_older_than_the_release_is_not_blamed_on_it(tmp_path: Path) -> None:
    rule = ALERTS["HighErrorRate"]
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", name="api-deployment")
        # It fires a minute after the release, and so its five minutes began before.
        await asyncio.sleep(60)
        new = revision(on, "api-deployment", "v2")
        _, answer = await on.post(replica, webhook(fired(rule, on.clock.now(), **new)))
        assert answer["alerts"][0]["reason"] == "predates_release"


@virtual
async def test_all_the_other_alerts_are_only_passed_on(tmp_path: Path) -> None:
    others = [rule for name, rule in ALERTS.items() if "alert" in rule and name not in TRIGGERS]
    async with stage(tmp_path) as on, on.replica() as replica:
        await on.release("v1", "v2", name="api-deployment")
        new = revision(on, "api-deployment", "v2")
        body = webhook(*(fired(rule, on.clock.now(), **new) for rule in others))
        _, answer = await on.post(replica, body)
        assert {said["reason"] for said in answer["alerts"]} == {"notify_only"}
        assert len(answer["alerts"]) == len(others)
        assert not on.template_writes()


@pytest.mark.parametrize("alert", TRIGGERS)
def test_the_service_can_ask_whether_it_helped(alert: str) -> None:
    found = comparisons(ALERTS[alert]["expr"])
    assert found is not None
    records = {name_of(rule) for rule in shipped("release") if "record" in rule}
    # The metric and its traffic; what takes the canary out of it does not count.
    assert len(found) == 2
    assert {side for comparison in found for side in comparison} <= records
