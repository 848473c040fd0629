"""Watches: from where, what is seen, bookmarks, and how they end."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.kube.http import Events
from tests.sandbox.api import API, CONFIGMAPS, DEPLOYMENTS, NAMESPACE, Api, configmap, on_sandbox


async def version(api: Api) -> str:
    found: str = (await api.get(CONFIGMAPS)).body["metadata"]["resourceVersion"]
    return found


def named(events: list[tuple[str, str]]) -> list[str]:
    return [f"{kind} {name}" for kind, name in events]


async def change(api: Api, name: str, **data: str) -> None:
    assert (await api.merge(f"{CONFIGMAPS}/{name}", {"data": data})).status == 200


@on_sandbox
@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}], ids=["none", "0"])
async def test_without_a_version_a_watch_begins_with_what_is_there(
    api: Api, query: dict[str, str]
) -> None:
    await api.post(CONFIGMAPS, configmap("old"))
    async with api.watch(CONFIGMAPS, timeoutSeconds=5, **query) as events:
        await api.post(CONFIGMAPS, configmap("new"))
        await change(api, "old", k="v")
        await api.send("DELETE", f"{CONFIGMAPS}/new")
        assert named(await events.rest()) == [
            "ADDED old",
            "ADDED new",
            "MODIFIED old",
            "DELETED new",
        ]


@on_sandbox
async def test_from_a_version_a_watch_tells_all_that_came_after(api: Api) -> None:
    await api.post(CONFIGMAPS, configmap("before"))
    since = await version(api)
    await api.post(CONFIGMAPS, configmap("one"))
    await change(api, "before", k="v")
    await api.deployed(replicas=0)
    async with api.watch(CONFIGMAPS, timeoutSeconds=1, resourceVersion=since) as events:
        await api.post(CONFIGMAPS, configmap("two"))
        assert named(await events.rest()) == ["ADDED one", "MODIFIED before", "ADDED two"]


@on_sandbox
async def test_a_list_and_a_watch_from_its_version_miss_nothing(api: Api) -> None:
    await api.deployed()
    answer = await api.get(DEPLOYMENTS)
    since = answer.body["metadata"]["resourceVersion"]
    async with api.watch(DEPLOYMENTS, resourceVersion=since, timeoutSeconds=30) as events:
        api.sandbox.deploy(NAMESPACE, "api", "app:v2")
        await api.sandbox.settled()
        versions = [int(since)]
        while event := await events.next():
            versions.append(int(event["object"]["metadata"]["resourceVersion"]))
    assert versions == sorted(set(versions))
    assert versions[-1] == int(api.api()["metadata"]["resourceVersion"])


@on_sandbox
async def test_what_is_deleted_is_shown_as_it_was_at_the_version_of_its_end(api: Api) -> None:
    made = await api.post(CONFIGMAPS, configmap("one", k="v"))
    async with api.watch(CONFIGMAPS, resourceVersion=await version(api)) as events:
        await api.send("DELETE", f"{CONFIGMAPS}/one")
        event = await events.next()
    assert event is not None
    assert (event["type"], event["object"]["data"]) == ("DELETED", {"k": "v"})
    assert event["object"]["metadata"]["resourceVersion"] == await version(api)
    assert event["object"]["metadata"]["uid"] == made.body["metadata"]["uid"]


@on_sandbox
async def test_what_leaves_a_selector_is_deleted_for_this_watch(api: Api) -> None:
    query = {"labelSelector": "in=yes", "timeoutSeconds": 1}
    async with api.watch(CONFIGMAPS, **query) as events:
        await api.post(CONFIGMAPS, {"metadata": {"name": "a", "labels": {"in": "yes"}}})
        await api.post(CONFIGMAPS, {"metadata": {"name": "b"}})
        await api.merge(f"{CONFIGMAPS}/b", {"metadata": {"labels": {"in": "yes"}}})
        await change(api, "a", k="v")
        await api.merge(f"{CONFIGMAPS}/a", {"metadata": {"labels": {"in": "no"}}})
        await change(api, "a", k="w")
        assert named(await events.rest()) == ["ADDED a", "ADDED b", "MODIFIED a", "DELETED a"]


@on_sandbox
async def test_a_watch_may_be_of_one_name_or_of_all_namespaces(api: Api) -> None:
    api.sandbox.create_namespace("other")
    one = {"fieldSelector": "metadata.name=one", "timeoutSeconds": 1}
    async with (
        api.watch(CONFIGMAPS, **one) as here,
        api.watch("/api/v1/configmaps", timeoutSeconds=1) as everywhere,
    ):
        for name in ("one", "two"):
            await api.post(CONFIGMAPS, configmap(name))
        await api.post("/api/v1/namespaces/other/configmaps", configmap("one"))
        assert named(await here.rest()) == ["ADDED one"]
        assert named(await everywhere.rest()) == ["ADDED one", "ADDED two", "ADDED one"]


@on_sandbox
async def test_bookmarks_come_each_minute_and_before_the_end(api: Api) -> None:
    query = {"allowWatchBookmarks": "true", "timeoutSeconds": 150}
    seen, newest = [], ""
    async with api.watch(CONFIGMAPS, resourceVersion=await version(api), **query) as events:
        began = api.clock.monotonic()
        # Other resources never keep bookmarks from coming.
        api.sandbox.deploy(NAMESPACE, "api", "app:slow-70s")
        while event := await events.next():
            assert event["object"]["kind"] == "ConfigMap"
            newest = event["object"]["metadata"]["resourceVersion"]
            seen.append((event["type"], round(api.clock.monotonic() - began)))
    assert seen == [("BOOKMARK", 60), ("BOOKMARK", 120), ("BOOKMARK", 148)]
    assert newest == await version(api)


@on_sandbox
async def test_without_being_asked_for_no_bookmarks_come(api: Api) -> None:
    began = api.clock.monotonic()
    async with api.watch(CONFIGMAPS, resourceVersion=await version(api)) as events:
        assert await events.rest() == []
    assert api.clock.monotonic() - began == pytest.approx(1800, abs=1)


@on_sandbox
async def test_a_watch_of_a_forgotten_version_is_answered_by_an_error_event(api: Api) -> None:
    since = await version(api)
    await api.post(CONFIGMAPS, configmap("one"))
    api.sandbox.compact()
    async with api.watch(CONFIGMAPS, resourceVersion=since) as events:
        assert events.status == 200
        event = await events.next()
        assert await events.next() is None
    assert event is not None
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: ")


@on_sandbox
async def test_the_window_of_the_past_is_bounded(api: Api) -> None:
    since = await version(api)
    for number in range(1001):
        api.sandbox.create("ConfigMap", configmap(f"n{number}") | {
            "metadata": {"name": f"n{number}", "namespace": NAMESPACE}
        })  # fmt: skip
    async with api.watch(CONFIGMAPS, resourceVersion=since, timeoutSeconds=1) as events:
        event = await events.next()
    assert event is not None
    assert event["type"] == "ERROR"
    older = str(int(since) + 1)
    async with api.watch(CONFIGMAPS, resourceVersion=older, timeoutSeconds=1) as events:
        assert len(await events.rest()) == 1000


@on_sandbox
async def test_a_watch_from_the_future_waits_for_it(api: Api) -> None:
    ahead = str(int(await version(api)) + 1)
    async with api.watch(CONFIGMAPS, resourceVersion=ahead, timeoutSeconds=1) as events:
        await api.post(CONFIGMAPS, configmap("one"))
        await api.post(CONFIGMAPS, configmap("two"))
        assert named(await events.rest()) == ["ADDED two"]


@on_sandbox
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"resourceVersion": "abc"}, 400),
        ({"timeoutSeconds": "abc"}, 400),
        ({"labelSelector": "a b c"}, 400),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, 422),
    ],
    ids=str,
)
async def test_what_a_watch_cannot_understand_is_refused_by_a_status(
    api: Api, query: dict[str, str], status: int
) -> None:
    answer = await api.get(CONFIGMAPS, watch="true", **query)
    assert (answer.status, answer.body["kind"]) == (status, "Status")


@on_sandbox
async def test_a_watch_ends_with_its_client(api: Api) -> None:
    async with api.watch(CONFIGMAPS) as events:
        assert events.status == 200
        assert len(api.sandbox._server.watches._open) == 1
    await api.clock.sleep(0.01)
    assert api.sandbox._server.watches._open == {}


@on_sandbox
async def test_open_watches_can_be_cut(api: Api) -> None:
    async def read(events: Events) -> Any:
        return await events.rest()

    async with api.watch(CONFIGMAPS) as events:
        reading = asyncio.create_task(read(events))
        await api.clock.sleep(1)
        api.sandbox.drop_watches()
        with pytest.raises(aiohttp.ClientPayloadError):
            await reading
    assert (await api.get(CONFIGMAPS)).status == 200


@on_sandbox
async def test_a_watcher_sees_a_rollout_step_by_step(api: Api) -> None:
    await api.deployed(replicas=4)
    api.sandbox.deploy(NAMESPACE, "api", "app:v2")
    since = api.api()["metadata"]["resourceVersion"]
    updated = []
    query = {"fieldSelector": "metadata.name=api", "timeoutSeconds": 20}
    async with api.watch(DEPLOYMENTS, resourceVersion=since, **query) as events:
        while event := await events.next():
            assert event["type"] == "MODIFIED"
            status = event["object"]["status"]
            updated.append(status.get("updatedReplicas", 0))
            assert status["replicas"] <= 5
            assert status["availableReplicas"] >= 3
    # The first event names the new ReplicaSet and still has the old count.
    assert updated[0] == 4
    assert updated[1:] == sorted(updated[1:])
    assert set(updated) == {0, 1, 2, 3, 4}
    assert (await api.get(API)).body["status"]["updatedReplicas"] == 4
