"""Our ConfigMaps: compare-and-set, lists, and the heartbeat without a test."""

import asyncio
from dataclasses import replace

import pytest

from receiver.controller.ports import State
from receiver.errors import Conflict, Denied, Forbidden
from tests.kube.world import World, contract


def _state(name: str = "journal", text: str = "1", **labels: str) -> State:
    return State(name=name, data={"journal.json": text}, labels=labels)


@contract
async def test_a_state_is_written_and_read_with_its_labels(world: World) -> None:
    written = await world.cluster.write_state(_state(kind="journal", open="true"))
    assert written.version is not None
    assert dict(written.data) == {"journal.json": "1"}
    assert dict(written.labels) == {"kind": "journal", "open": "true"}
    assert await world.cluster.read_state("journal") == written
    stored = await world.get("ConfigMap", world.state_namespace, "journal")
    assert stored is not None
    assert stored["data"] == {"journal.json": "1"}


@contract
async def test_a_write_of_the_version_read_replaces_data_and_labels(world: World) -> None:
    first = await world.cluster.write_state(_state(open="true"))
    second = await world.cluster.write_state(
        replace(first, data={"other.json": "2"}, labels={"open": "false"})
    )
    assert second.version != first.version
    assert dict(second.data) == {"other.json": "2"}
    assert dict(second.labels) == {"open": "false"}
    assert await world.cluster.read_state("journal") == second


@contract
async def test_a_second_creation_is_a_conflict(world: World) -> None:
    first = await world.cluster.write_state(_state(text="1"))
    with pytest.raises(Conflict):
        await world.cluster.write_state(_state(text="2"))
    assert await world.cluster.read_state("journal") == first


@contract
async def test_a_write_of_a_stale_version_is_a_conflict(world: World) -> None:
    first = await world.cluster.write_state(_state(text="1"))
    second = await world.cluster.write_state(replace(first, data={"journal.json": "2"}))
    with pytest.raises(Conflict):
        await world.cluster.write_state(replace(first, data={"journal.json": "3"}))
    assert await world.cluster.read_state("journal") == second


@contract
async def test_a_write_of_a_state_that_is_gone_is_a_conflict(world: World) -> None:
    first = await world.cluster.write_state(_state())
    await world.delete("ConfigMap", world.state_namespace, "journal")
    with pytest.raises(Conflict):
        await world.cluster.write_state(first)
    assert await world.cluster.read_state("journal") is None


@contract
async def test_of_fifty_racing_writes_of_one_version_exactly_one_wins(world: World) -> None:
    first = await world.cluster.write_state(_state())
    racers = [
        world.cluster.write_state(replace(first, data={"journal.json": f"by {number}"}))
        for number in range(50)
    ]
    ends = await asyncio.gather(*racers, return_exceptions=True)
    won = [end for end in ends if isinstance(end, State)]
    assert len(won) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 49
    assert await world.cluster.read_state("journal") == won[0]


@contract
async def test_of_twenty_racing_creations_exactly_one_wins(world: World) -> None:
    racers = [world.cluster.write_state(_state(text=f"by {number}")) for number in range(20)]
    ends = await asyncio.gather(*racers, return_exceptions=True)
    won = [end for end in ends if isinstance(end, State)]
    assert len(won) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 19
    assert await world.cluster.read_state("journal") == won[0]


@contract
async def test_states_are_listed_by_label(world: World) -> None:
    one = await world.cluster.write_state(_state("one", kind="journal", open="true"))
    two = await world.cluster.write_state(_state("two", kind="journal", open="false"))
    await world.cluster.write_state(_state("three", kind="ledger"))
    assert await world.cluster.list_states(labels="kind=journal") == [one, two]
    assert await world.cluster.list_states(labels="kind=journal,open=true") == [one]
    assert await world.cluster.list_states(labels="kind=nothing") == []


@contract
async def test_a_state_that_validation_refuses_is_denied_and_not_relayed(world: World) -> None:
    data = {"no key": "do-not-relay"}
    with pytest.raises(Denied) as caught:
        await world.cluster.write_state(State(name="journal", data=data))
    assert "data[no key]" in str(caught.value)
    assert "do-not-relay" not in str(caught.value)


@contract
async def test_a_missing_right_to_the_state_is_named(world: World) -> None:
    async with world.lacking(("update", "configmaps"), ("get", "configmaps")) as cluster:
        first = await cluster.write_state(_state())
        with pytest.raises(Forbidden) as caught:
            await cluster.write_state(first)
        assert "update" in str(caught.value)
        with pytest.raises(Forbidden) as caught:
            await cluster.read_state("journal")
    assert "get" in str(caught.value)
    assert "configmaps" in str(caught.value)


@contract
async def test_a_state_is_deleted_as_it_was_read_or_not_at_all(world: World) -> None:
    old = await world.cluster.write_state(_state())
    new = await world.cluster.write_state(replace(old, data={"k": "newer"}))
    with pytest.raises(Conflict):
        await world.cluster.delete_state(old)
    assert await world.cluster.read_state("journal") is not None
    await world.cluster.delete_state(new)
    assert await world.cluster.read_state("journal") is None
    await world.cluster.delete_state(new)


@contract
async def test_the_first_beat_makes_the_configmap(world: World) -> None:
    assert await world.cluster.beat("beats", {"replica-a": "1"}) == {"replica-a": "1"}
    state = await world.cluster.read_state("beats")
    assert state is not None
    assert dict(state.data) == {"replica-a": "1"}


@contract
async def test_a_beat_changes_its_own_key_and_shows_all(world: World) -> None:
    await world.cluster.beat("beats", {"replica-a": "1"})
    await world.cluster.beat("beats", {"replica-b": "1"})
    found = await world.cluster.beat("beats", {"replica-a": "2"})
    assert found == {"replica-a": "2", "replica-b": "1"}


@contract
async def test_a_beat_of_none_removes_its_key(world: World) -> None:
    await world.cluster.beat("beats", {"replica-a": "1"})
    await world.cluster.beat("beats", {"replica-b": "1"})
    assert await world.cluster.beat("beats", {"replica-a": None}) == {"replica-b": "1"}
    assert await world.cluster.beat("beats", {"replica-b": None}) == {}


@contract
async def test_a_last_beat_where_there_is_nothing_makes_nothing(world: World) -> None:
    assert await world.cluster.beat("beats", {"replica-a": None}) == {}
    assert await world.cluster.read_state("beats") is None


@contract
async def test_no_beat_is_lost_when_all_find_no_configmap(world: World) -> None:
    names = [f"replica-{number}" for number in range(12)]
    await asyncio.gather(*(world.cluster.beat("beats", {name: "1"}) for name in names))
    state = await world.cluster.read_state("beats")
    assert state is not None
    assert dict(state.data) == dict.fromkeys(names, "1")
