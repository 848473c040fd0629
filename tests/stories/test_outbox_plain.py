"""Alerts that ask for no rollback, as people hear of them: once, and in a storm as one."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from receiver import app
from receiver import journal as jn
from receiver.controller.bundles import GATHERS
from receiver.controller.memory import KEY
from receiver.controller.passing_on import FOLLOWED
from tests.stage import NAMESPACE, UNHURRIED, Stage, crash, firing, resolved, stage, webhook
from tests.stories.unruly import PAGER, Unruly, unruly
from tests.virtual import virtual

MANY = 300


def _labels(number: int, severity: str) -> dict[str, str]:
    names = {"alertname": f"Rule{number % 3}", "instance": str(number)}
    return names | {"rollback": "", "severity": severity, "deployment": ""}


async def _posts(on: Stage, replica: app.Replica, *alerts: dict[str, Any]) -> None:
    status, answer = await on.post(replica, webhook(*alerts))
    assert status == 200, answer


def _said(people: Unruly, sink: str) -> list[str]:
    return [str(arrival.body) for arrival in people.wire if arrival.sink == sink]


@virtual
async def test_a_storm_is_one_message_and_one_more_when_it_is_over(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, unruly(on) as people:
        began = on.clock.now()
        storm = [firing(began, **_labels(n, "warning")) for n in range(MANY)]
        async with on.replica(1) as one, on.replica(2) as two:
            # Both of an HA pair send it, and the group once more.
            await asyncio.gather(_posts(on, one, *storm), _posts(on, two, *storm))
            await asyncio.sleep(30)
            await _posts(on, one, *storm)
            await asyncio.sleep(100)
            (message,) = _said(people, "engineering")
            assert f"{MANY} ALERTS" in message
            assert all(f"`Rule{n}` {MANY // 3}" in message for n in range(3))
            assert re.search(r"and \d+ more", message)
        async with on.replica(3) as three:
            await _posts(on, three, *storm)
            await asyncio.sleep(100)
            assert len(_said(people, "engineering")) == 1
            over = [resolved(began, on.clock.now(), **_labels(n, "warning")) for n in range(MANY)]
            await _posts(on, three, *over[1:])
            await asyncio.sleep(60)
            assert len(_said(people, "engineering")) == 1
            await _posts(on, three, over[0])
            await asyncio.sleep(60)
        assert len(_said(people, "engineering")) == 2
        assert "RESOLVED" in _said(people, "engineering")[1]
        assert _said(people, PAGER) == []


@pytest.mark.parametrize("severity", ["critical", "warning"])
@virtual
async def test_one_alert_is_told_once_and_closed_where_it_was_opened(
    tmp_path: Path, severity: str
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people, on.replica(1) as replica:
        began = on.clock.now()
        for _ in range(3):
            await _posts(on, replica, firing(began, **_labels(0, severity)))
            await asyncio.sleep(20)
        await _posts(on, replica, resolved(began, on.clock.now(), **_labels(0, severity)))
        await asyncio.sleep(20)
        paged = [arrival.said for arrival in people.wire if arrival.sink == PAGER]
        assert paged == (["trigger", "resolve"] if severity == "critical" else [])
        chat = "prod-alerts" if severity == "critical" else "engineering"
        assert [s.split("'text': '")[1].split(" ·")[0] for s in _said(people, chat)] == [
            "🔔 ALERT",
            "✅ RESOLVED",
        ]


@virtual
async def test_ten_thousand_in_one_body_are_answered_and_kept_within_bounds(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people, on.replica(1) as replica:
        began = on.clock.now()
        storm = [firing(began, **_labels(n, "info")) for n in range(10_000)]
        await _posts(on, replica, *storm)
        await asyncio.sleep(30)
        found = on.sandbox.get("ConfigMap", on.state_namespace, jn.OWN)
        assert found is not None
        assert len(found["data"][KEY].encode()) < jn.BYTES_KEPT
        (message,) = _said(people, "info")
        assert NAMESPACE in message
        assert "10000 ALERTS" in message
        assert re.search(r"and 99\d\d more", message)


# Thousands of messages over loopback: half of the usual limit, and all of it on a busy machine.
@pytest.mark.timeout(180)
@virtual
async def test_the_page_of_a_storm_is_closed_when_all_of_it_has_resolved(tmp_path: Path) -> None:
    async with (
        stage(tmp_path, timing=UNHURRIED) as on,
        unruly(on) as people,
        on.replica(1) as replica,
    ):
        began = on.clock.now()
        many = FOLLOWED + 20
        await _posts(on, replica, *(firing(began, **_labels(n, "critical")) for n in range(many)))
        await asyncio.sleep(120)
        assert len(people.open()) == FOLLOWED + 1
        ended = on.clock.now()
        over = [resolved(began, ended, **_labels(n, "critical")) for n in range(many)]
        await _posts(on, replica, *over)
        await asyncio.sleep(120)
        assert people.open() == set()


@virtual
async def test_a_bundle_that_may_have_been_told_says_so_when_another_replica_tells_it(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people, on.replica(1) as one, on.replica(2):
        people.moods["engineering"] += ["hangs"]
        began = on.clock.now()
        storm = [firing(began, **_labels(n, "warning")) for n in range(MANY)]
        await _posts(on, one, *storm)
        await asyncio.sleep(GATHERS.total_seconds() + 2)
        assert len(_said(people, "engineering")) == 1
        crash(one)
        await asyncio.sleep(20)
        first, second = _said(people, "engineering")
        assert "may be a duplicate" not in first
        assert "may be a duplicate" in second


@virtual
async def test_a_bundle_that_nobody_was_to_tell_yet_is_no_duplicate_when_another_replica_does(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on, unruly(on) as people, on.replica(1) as one, on.replica(2):
        began = on.clock.now()
        storm = [firing(began, **_labels(n, "warning")) for n in range(MANY)]
        await _posts(on, one, *storm)
        await one.controller.close()
        await asyncio.sleep(20)
        (said,) = _said(people, "engineering")
        assert "may be a duplicate" not in said


@virtual
async def test_what_ends_in_a_storm_and_fires_again_is_told_with_it_and_later_by_itself(
    tmp_path: Path,
) -> None:
    async with (
        stage(tmp_path, timing=UNHURRIED) as on,
        unruly(on) as people,
        on.replica(1) as replica,
    ):
        began, first = on.clock.now(), _labels(0, "warning")
        await _posts(on, replica, *(firing(began, **_labels(n, "warning")) for n in range(20)))
        await asyncio.sleep(20)
        await _posts(on, replica, resolved(began, on.clock.now(), **first))
        await asyncio.sleep(5)
        # It storms still, and nobody has heard of that end.
        again = on.clock.now()
        await _posts(on, replica, firing(again, **first))
        await asyncio.sleep(300)
        assert len(_said(people, "engineering")) == 1
        await _posts(on, replica, resolved(again, on.clock.now(), **first))
        await asyncio.sleep(60)
        # By now the storm is over, though not all of it.
        third = on.clock.now()
        for _ in range(2):
            await _posts(on, replica, firing(third, **first))
            await asyncio.sleep(60)
        assert "ALERT " in _said(people, "engineering")[1]
        ended = on.clock.now()
        over = [resolved(began, ended, **_labels(n, "warning")) for n in range(1, 20)]
        await _posts(on, replica, *over)
        await asyncio.sleep(60)
        assert "20 ALERTS RESOLVED" in _said(people, "engineering")[2]
        await _posts(on, replica, resolved(third, on.clock.now(), **first))
        await asyncio.sleep(60)
        assert "RESOLVED" in _said(people, "engineering")[3]
        assert len(_said(people, "engineering")) == 4


@virtual
async def test_a_storm_is_no_news_to_those_to_whom_only_other_alerts_are_routed(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, timing=UNHURRIED) as on, unruly(on) as people:
        routes = {"warning": ["engineering"], "default": [PAGER]}
        on.changes.append(lambda d: d["notify"].update(routes=routes))
        async with on.replica(1) as replica:
            began = on.clock.now()
            await _posts(on, replica, *(firing(began, **_labels(n, "warning")) for n in range(20)))
            # Its severity is none that we know.
            await _posts(on, replica, firing(began, **_labels(99, "weird")))
            await asyncio.sleep(120)
            (paged,) = _said(people, PAGER)
            assert "ALERTS" not in paged
            (told,) = _said(people, "engineering")
            assert "20 ALERTS" in told
            await _posts(on, replica, resolved(began, on.clock.now(), **_labels(99, "weird")))
            await asyncio.sleep(60)
            assert people.open() == set()
            assert len(_said(people, "engineering")) == 1


@virtual
async def test_refusals_in_a_storm_are_over_in_one_message(tmp_path: Path) -> None:
    async with (
        stage(tmp_path, timing=UNHURRIED) as on,
        unruly(on) as people,
        on.replica(1) as replica,
    ):
        began = on.clock.now()

        def labels(number: int) -> dict[str, str]:
            return {"severity": "warning", "namespace": f"not-ours-{number}"}

        await _posts(on, replica, *(firing(began, **labels(n)) for n in range(20)))
        await asyncio.sleep(120)
        (told,) = _said(people, "engineering")
        assert "20 ALERTS, NOT ROLLED BACK" in told
        ended = on.clock.now()
        await _posts(on, replica, *(resolved(began, ended, **labels(n)) for n in range(20)))
        await asyncio.sleep(120)
        assert "20 ALERTS RESOLVED" in _said(people, "engineering")[1]
        assert len(_said(people, "engineering")) == 2
