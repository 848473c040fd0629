"""What goes wrong on the way to the API server, and what that means for a write."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from receiver.controller.ports import State
from receiver.errors import Denied, Forbidden, ReceiverError, Unavailable
from receiver.kube import KubernetesCluster, connect
from receiver.kube.calls import READ_WITHIN, ROLES_UNREAD, WRITE_WITHIN
from receiver.sandbox import Fault
from tests.kube.http import Obj
from tests.kube.raw_server import answer, kubeconfig, raw_cluster
from tests.kube.sandbox_world import NAMESPACE, SandboxWorld, on_sandbox
from tests.kube.wishes import annotate, deployed
from tests.virtual import LoopClock, virtual

LONG = "x" * 10_000


def _requests(world: SandboxWorld, method: str) -> int:
    return sum(request.method == method for request in world.sandbox.requests)


async def _patched(world: SandboxWorld) -> Unavailable:
    """Patch once, and return how that failed."""
    obj = await _deployed_quietly(world)
    with pytest.raises(Unavailable) as caught:
        await world.cluster.patch(NAMESPACE, "api", annotate(obj, "note", "hello"))
    return caught.value


async def _deployed_quietly(world: SandboxWorld) -> Obj:
    """Deploy, and forget what was written and asked so far."""
    obj = await deployed(world, replicas=0)
    world.sandbox.clear_log()
    world.calls.clear()
    return obj


async def _note(world: SandboxWorld) -> str | None:
    obj = world.sandbox.get("Deployment", NAMESPACE, "api")
    assert obj is not None
    note: str | None = (obj["metadata"].get("annotations") or {}).get("note")
    return note


# --- writes


@on_sandbox
async def test_a_reply_lost_after_the_commit_is_ambiguous_and_the_patch_is_there(
    world: SandboxWorld,
) -> None:
    world.sandbox.faults.append(Fault("PATCH", "reset_after"))
    error = await _patched(world)
    assert error.ambiguous
    assert await _note(world) == "hello"
    assert _requests(world, "PATCH") == 1


@on_sandbox
async def test_a_connection_reset_before_the_commit_is_ambiguous_too(world: SandboxWorld) -> None:
    world.sandbox.faults.append(Fault("PATCH", "reset_before"))
    error = await _patched(world)
    assert error.ambiguous
    assert await _note(world) is None
    assert _requests(world, "PATCH") == 1


@virtual
async def test_a_patch_that_hangs_is_given_up_in_time() -> None:
    began = asyncio.get_running_loop().time()
    async with raw_cluster(b"", holds=True) as (cluster, raw):
        with pytest.raises(Unavailable) as caught:
            await cluster.patch(NAMESPACE, "api", [])
    assert caught.value.ambiguous
    # A second more: aiohttp rounds deadlines up to whole seconds of the loop.
    assert WRITE_WITHIN <= asyncio.get_running_loop().time() - began <= WRITE_WITHIN + 1
    assert len(raw.heads) == 1


@on_sandbox
async def test_a_lost_answer_to_a_compare_and_set_is_ambiguous_and_never_a_conflict(
    world: SandboxWorld,
) -> None:
    first = await world.cluster.write_state(State(name="journal", data={"text": "1"}))
    world.sandbox.clear_log()
    world.sandbox.faults.append(Fault("PUT", "reset_after"))
    with pytest.raises(Unavailable) as caught:
        await world.cluster.write_state(replace(first, data={"text": "2"}))
    assert caught.value.ambiguous
    # Sent again by whoever, it would have met its own first write: 409.
    assert _requests(world, "PUT") == 1
    found = await world.cluster.read_state("journal")
    assert found is not None
    assert dict(found.data) == {"text": "2"}


@on_sandbox
async def test_too_many_requests_is_not_ambiguous_and_says_when_to_come_back(
    world: SandboxWorld,
) -> None:
    world.sandbox.faults.append(Fault("PATCH", "status", status=429, retry_after=7))
    error = await _patched(world)
    assert not error.ambiguous
    assert error.retry_after == 7.0
    assert _requests(world, "PATCH") == 1
    assert [call.code for call in world.calls] == [429]


@on_sandbox
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failing_server_may_have_written(world: SandboxWorld, status: int) -> None:
    world.sandbox.faults.append(Fault("PATCH", "status", status=status))
    error = await _patched(world)
    assert error.ambiguous
    assert str(status) in str(error)
    assert _requests(world, "PATCH") == 1


@on_sandbox
async def test_a_retry_after_of_an_overloaded_server_is_told(world: SandboxWorld) -> None:
    world.sandbox.faults.append(Fault("PATCH", "status", status=503, retry_after=2))
    assert (await _patched(world)).retry_after == 2.0


@virtual
async def test_a_server_that_is_not_there_cannot_have_written() -> None:
    # Port 1 of this machine: nobody listens, the connection is refused at once.
    cluster = await connect(
        context=None,
        kubeconfig=kubeconfig("http://127.0.0.1:1"),
        state_namespace="rollback-receiver",
        clock=LoopClock(),
    )
    with pytest.raises(Unavailable) as caught:
        await cluster.patch(NAMESPACE, "api", [])
    assert not caught.value.ambiguous
    await cluster.aclose()


@virtual
async def test_an_answer_to_a_write_that_is_no_json_is_ambiguous() -> None:
    async with raw_cluster(answer(b"<html>", kind="text/html")) as (cluster, _):
        with pytest.raises(Unavailable) as caught:
            await cluster.patch(NAMESPACE, "api", [])
    assert caught.value.ambiguous


@virtual
async def test_an_error_that_is_no_text_is_unavailable() -> None:
    async with raw_cluster(answer(b"\xff\xfe", status="403 Forbidden")) as (cluster, _):
        with pytest.raises(Unavailable) as caught:
            await cluster.deployment(NAMESPACE, "api")
    assert not caught.value.ambiguous


@virtual
async def test_half_an_answer_to_a_write_is_ambiguous() -> None:
    half = answer(b'{"kind": "Deployment"}')[:-5]
    async with raw_cluster(half) as (cluster, _):
        with pytest.raises(Unavailable) as caught:
            await cluster.patch(NAMESPACE, "api", [])
    assert caught.value.ambiguous


# --- reads


@on_sandbox
async def test_a_read_whose_connection_broke_is_asked_once_more(world: SandboxWorld) -> None:
    obj = await _deployed_quietly(world)
    world.sandbox.faults.append(Fault("GET", "reset_before"))
    assert await world.cluster.deployment(NAMESPACE, "api") == obj
    assert _requests(world, "GET") == 2


@on_sandbox
async def test_a_read_whose_connections_keep_breaking_is_unavailable(world: SandboxWorld) -> None:
    world.sandbox.faults.append(Fault("GET", "reset_before", times=None))
    with pytest.raises(Unavailable) as caught:
        await world.cluster.deployment(NAMESPACE, "api")
    assert not caught.value.ambiguous
    assert _requests(world, "GET") == 2


@virtual
async def test_a_read_that_hangs_is_given_up_in_time() -> None:
    began = asyncio.get_running_loop().time()
    async with raw_cluster(b"", holds=True) as (cluster, _):
        with pytest.raises(Unavailable) as caught:
            await cluster.deployment(NAMESPACE, "api")
    assert not caught.value.ambiguous
    assert READ_WITHIN <= asyncio.get_running_loop().time() - began <= READ_WITHIN + 1


@on_sandbox
@pytest.mark.parametrize("status", [500, 503])
async def test_a_failing_read_is_unavailable(world: SandboxWorld, status: int) -> None:
    world.sandbox.faults.append(Fault("GET", "status", status=status))
    with pytest.raises(Unavailable) as caught:
        await world.cluster.deployment(NAMESPACE, "api")
    assert not caught.value.ambiguous


@on_sandbox
async def test_a_look_of_which_one_half_fails_fails_as_that_half(world: SandboxWorld) -> None:
    await deployed(world, replicas=0)
    await world.cluster.observe(NAMESPACE, "api")
    world.sandbox.faults.append(Fault("replicasets?", "status", status=429, retry_after=3))
    with pytest.raises(Unavailable) as caught:
        await world.cluster.observe(NAMESPACE, "api")
    assert caught.value.retry_after == 3.0


@on_sandbox
async def test_an_unknown_token_is_forbidden(world: SandboxWorld) -> None:
    world.sandbox.require_token("the right one")
    with pytest.raises(Forbidden, match="401"):
        await world.cluster.ping()
    known = await world.connect("the right one")
    await known.ping()
    await known.aclose()


@on_sandbox
@pytest.mark.parametrize("status", [401, 403])
async def test_a_right_denied_just_after_an_outage_may_be_there_again(
    world: SandboxWorld, status: int
) -> None:
    """An API server that starts listens before it has read the roles, and refuses everybody."""
    fault = Fault("GET", "status", status=status, times=None)
    world.sandbox.faults += [Fault("GET", "reset_before", times=2), fault]
    with pytest.raises(Unavailable, match="did not answer"):
        await world.cluster.ping()
    with pytest.raises(Unavailable, match=f"just after an outage .* {status}"):
        await world.cluster.ping()
    await asyncio.sleep(ROLES_UNREAD)
    with pytest.raises(Forbidden, match=str(status)):
        await world.cluster.ping()


# --- what is told of it


@on_sandbox
@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 422, 429, 500, 503])
async def test_a_message_of_ten_kilobytes_is_bounded(world: SandboxWorld, status: int) -> None:
    cause = {"reason": "FieldValueInvalid", "field": f"spec.{LONG}", "message": LONG}
    body: Obj = {
        "kind": "Status",
        "reason": f"Any{LONG}",
        "message": LONG,
        "details": {"causes": [cause] * 50},
    }
    obj = await _deployed_quietly(world)
    world.sandbox.faults.append(Fault("PATCH", "status", status=status, body=body))
    with pytest.raises(ReceiverError) as caught:
        await world.cluster.patch(NAMESPACE, "api", annotate(obj, "note", "hello"))
    assert str(status) in str(caught.value)
    assert len(str(caught.value)) <= 300


@on_sandbox
async def test_no_control_character_of_a_refusal_reaches_a_log(world: SandboxWorld) -> None:
    message = 'User "x" cannot patch\n\x1b[31m{"level":"error"}\x00\u202e'
    body: Obj = {"kind": "Status", "reason": "Forbidden", "message": message}
    world.sandbox.faults.append(Fault("GET", "status", status=403, body=body))
    with pytest.raises(Forbidden) as caught:
        await world.cluster.deployment(NAMESPACE, "api")
    assert str(caught.value).isprintable()
    assert 'User "x" cannot patch' in str(caught.value)


@on_sandbox
async def test_the_object_in_an_admission_refusal_is_not_relayed(world: SandboxWorld) -> None:
    cause = {"message": "the image app:secret is not signed"}
    body: Obj = {
        "kind": "Status",
        "reason": "Invalid",
        "message": "denied request: the image app:secret is not signed",
        "details": {"causes": [cause]},
    }
    obj = await _deployed_quietly(world)
    world.sandbox.faults.append(Fault("PATCH", "status", status=422, body=body))
    with pytest.raises(Denied) as caught:
        await world.cluster.patch(NAMESPACE, "api", annotate(obj, "note", "hello"))
    assert str(caught.value) == "422 Invalid"


# --- every call is counted


@on_sandbox
async def test_every_call_is_observed_with_its_code_and_time(world: SandboxWorld) -> None:
    obj = await _deployed_quietly(world)
    cluster = world.cluster
    await cluster.deployments(NAMESPACE, labels="app")
    await cluster.deployment(NAMESPACE, "absent")
    await cluster.patch(NAMESPACE, "api", annotate(obj, "note", "hello"))
    first = await cluster.write_state(State(name="journal", data={}))
    await cluster.write_state(first)
    world.sandbox.faults.append(Fault("GET", "reset_before", times=2))
    with pytest.raises(Unavailable):
        await cluster.ping()
    assert [call[:3] for call in world.calls] == [
        ("list", "deployments.apps", 200),
        ("get", "deployments.apps", 404),
        ("patch", "deployments.apps", 200),
        ("create", "configmaps", 201),
        ("update", "configmaps", 200),
        ("get", "version", None),
    ]
    world.sandbox.faults.append(Fault("GET", "delay", seconds=3))
    await cluster.ping()
    assert 3 <= world.calls[-1].seconds < 3.1


Action = Callable[[KubernetesCluster], Awaitable[object]]


@virtual
@pytest.mark.parametrize(
    "action",
    [
        pytest.param(lambda c: c.deployment(NAMESPACE, "api"), id="deployment"),
        pytest.param(lambda c: c.deployments(NAMESPACE, labels=""), id="deployments"),
        pytest.param(lambda c: c.observe(NAMESPACE, "api"), id="observe"),
        pytest.param(lambda c: c.replicaset(NAMESPACE, "api"), id="replicaset"),
        pytest.param(lambda c: c.pod(NAMESPACE, "api"), id="pod"),
        pytest.param(lambda c: c.read_state("x"), id="read_state"),
        pytest.param(lambda c: c.list_states(labels=""), id="list_states"),
        pytest.param(lambda c: c.write_state(State(name="x", data={})), id="write_state"),
        pytest.param(lambda c: c.beat("x", {"a": "1"}), id="beat"),
        pytest.param(lambda c: c.ping(), id="ping"),
        pytest.param(lambda c: c.rights((NAMESPACE,)), id="rights"),
    ],
)
async def test_no_call_waits_for_ever(action: Action) -> None:
    began = asyncio.get_running_loop().time()
    async with raw_cluster(b"", holds=True) as (cluster, _):
        with pytest.raises(Unavailable):
            await action(cluster)
    assert asyncio.get_running_loop().time() - began <= WRITE_WITHIN + 1
