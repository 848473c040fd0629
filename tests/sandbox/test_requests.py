"""Requests in general: bodies, methods, options, identity, faults on order, the log."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.sandbox import Fault, Sandbox
from tests.kube.http import JSON_PATCH, MERGE, STRATEGIC, add, image_of, set_image
from tests.sandbox.api import (
    API,
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACE,
    Api,
    configmap,
    on_sandbox,
    serving,
)
from tests.virtual import START, LoopClock, run

# --- bodies, methods, options


@on_sandbox
@pytest.mark.parametrize(
    "body",
    ["", "{", "nonsense", b"\xff\xfe", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000],
    ids=["empty", "open", "no JSON", "no UTF-8", "NaN", "Infinity", "deep"],
)
async def test_a_body_that_is_no_json_is_400(api: Api, body: str | bytes) -> None:
    await api.deployed(replicas=0)
    for method, path, kind in (
        ("POST", CONFIGMAPS, "application/json"),
        ("PUT", API, "application/json"),
        ("PATCH", API, JSON_PATCH),
        ("PATCH", API, MERGE),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "application/json"),
    ):
        answer = await api.send(method, path, body, kind=kind)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


@on_sandbox
async def test_a_patch_of_the_wrong_shape_is_400(api: Api) -> None:
    await api.deployed(replicas=0)
    for kind, body in ((JSON_PATCH, {"op": "add"}), (MERGE, []), (MERGE, "text"), (STRATEGIC, 5)):
        answer = await api.send("PATCH", API, json.dumps(body), kind=kind)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


@on_sandbox
async def test_nesting_that_goes_too_deep_is_400(api: Api) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"x": deep}
    await api.deployed(replicas=0)
    answer = await api.merge(API, {"spec": {"template": {"spec": {"affinity": deep}}}})
    assert answer.status == 400


@on_sandbox
async def test_a_body_of_more_than_3_mib_is_413(api: Api) -> None:
    large = configmap("large", k="x" * (3 * 1024 * 1024))
    answer = await api.post(CONFIGMAPS, large)
    assert (answer.status, answer.body["reason"]) == (413, "RequestEntityTooLarge")
    assert (await api.get(CONFIGMAPS)).status == 200


@on_sandbox
async def test_protobuf_and_yaml_are_not_read(api: Api) -> None:
    for kind in ("application/vnd.kubernetes.protobuf", "application/yaml"):
        answer = await api.send("POST", CONFIGMAPS, configmap("x"), kind=kind)
        assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


@on_sandbox
async def test_half_of_a_surrogate_pair_is_replaced_as_go_does(api: Api) -> None:
    sent = '{"metadata": {"name": "x"}, "data": {"k": "a\\ud800b", "e": "\\ud83d\\ude00"}}'
    answer = await api.send("POST", CONFIGMAPS, sent)
    assert answer.body["data"] == {"k": "a\ufffdb", "e": "\U0001f600"}


@on_sandbox
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", API),
        ("PUT", DEPLOYMENTS),
        ("PATCH", DEPLOYMENTS),
        ("DELETE", DEPLOYMENTS),
        ("POST", "/apis/apps/v1/deployments"),
        ("DELETE", f"{API}/status"),
        ("OPTIONS", API),
    ],
)
async def test_what_a_path_does_not_do_is_405(api: Api, method: str, path: str) -> None:
    await api.deployed(replicas=0)
    answer = await api.send(method, path, {})
    assert answer.status == 405


@on_sandbox
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"dryRun": "Some"}, "dryRun"),
        ({"fieldValidation": "Very"}, "fieldValidation"),
        ({"fieldManager": "x" * 129}, "fieldManager"),
    ],
)
async def test_options_of_a_write_are_validated(
    api: Api, query: dict[str, str], field: str
) -> None:
    await api.deployed(replicas=0)
    answer = await api.patch(API, set_image("app:v2"), **query)
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (422, field)
    assert image_of(api.api()) == "app:v1"


@on_sandbox
@pytest.mark.parametrize("options", [[], "text", {"preconditions": 5}], ids=str)
async def test_options_of_a_deletion_must_be_some(api: Api, options: Any) -> None:
    await api.deployed(replicas=0)
    assert (await api.send("DELETE", API, json.dumps(options))).status == 400
    assert api.api()


# --- the log, the identity


@on_sandbox
async def test_every_request_is_noted(api: Api) -> None:
    await api.clock.sleep(5)
    await api.get(CONFIGMAPS, limit=2)
    await api.get(API)
    first, second = api.sandbox.requests
    assert (first.method, first.path, first.query) == ("GET", CONFIGMAPS, {"limit": "2"})
    assert (first.status, second.status) == (200, 404)
    assert first.at == START + timedelta(seconds=5)
    assert (first.user_agent, first.authorization_present) == ("tests/1", False)
    api.sandbox.clear_log()
    assert (api.sandbox.requests, api.sandbox.writes) == ([], [])


@on_sandbox
async def test_an_open_watch_is_noted_as_answered(api: Api) -> None:
    async with api.watch(CONFIGMAPS):
        assert [request.status for request in api.sandbox.requests] == [200]


@on_sandbox
async def test_a_kubeconfig_leads_here(api: Api) -> None:
    config = api.sandbox.kubeconfig(api.url, token="secret", namespace=NAMESPACE)
    (context,) = config["contexts"]
    assert config["current-context"] == context["name"]
    assert context["context"]["namespace"] == NAMESPACE
    assert config["clusters"][0]["cluster"] == {"server": api.url}
    assert config["users"][0]["user"] == {"token": "secret"}
    assert api.sandbox.kubeconfig(api.url)["users"][0]["user"] == {}


def test_a_sandbox_that_nobody_serves_still_keeps_objects() -> None:
    async def story() -> None:
        sandbox = Sandbox(LoopClock())
        sandbox.deploy(NAMESPACE, "api", "app:v1")
        found = sandbox.get("Deployment", NAMESPACE, "api")
        assert found is not None
        assert found["status"] == {}
        async with sandbox.serve():
            await sandbox.settled()
        assert len(sandbox.list("Pod")) == 3

    run(story)


def test_a_controller_that_fails_is_not_overlooked() -> None:
    class Broken(LoopClock):
        """A clock that breaks the controllers, once they run."""

        broken = False

        def now(self) -> datetime:
            if self.broken:
                raise ZeroDivisionError
            return super().now()

    async def story() -> None:
        clock = Broken()
        sandbox = Sandbox(clock)
        sandbox.deploy(NAMESPACE, "api", "app:v1")
        async with sandbox.serve():
            clock.broken = True
            await sandbox.settled()

    with pytest.raises(ZeroDivisionError):
        run(story)


# --- faults on order


@on_sandbox
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (403, "Forbidden"),
        (418, "InternalError"),
    ],
)
async def test_a_status_is_answered_on_order_and_nothing_is_done(
    api: Api, status: int, reason: str
) -> None:
    await api.deployed()
    api.sandbox.faults.append(Fault("PATCH", "status", status=status, retry_after=7))
    answer = await api.patch(API, set_image("app:v2"))
    assert (answer.status, answer.body["reason"]) == (status, reason)
    assert answer.headers["Retry-After"] == "7"
    assert image_of(api.api()) == "app:v1"
    assert (await api.patch(API, set_image("app:v2"))).status == 200


@on_sandbox
async def test_a_fault_may_say_what_is_answered(api: Api) -> None:
    api.sandbox.faults.append(Fault("GET", "status", status=422, body={"any": "thing"}))
    answer = await api.get(API)
    assert (answer.status, answer.body) == (422, {"any": "thing"})
    assert "Retry-After" not in answer.headers


@on_sandbox
@pytest.mark.parametrize(("kind", "image"), [("reset_before", "app:v1"), ("reset_after", "app:v2")])
async def test_a_connection_is_closed_before_or_after_the_commit(
    api: Api, kind: Any, image: str
) -> None:
    await api.deployed()
    api.sandbox.clear_log()
    api.sandbox.faults.append(Fault(f"PATCH {API}", kind))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.patch(API, set_image("app:v2"))
    assert image_of(api.api()) == image
    assert [request.status for request in api.sandbox.requests] == [None]


@on_sandbox
async def test_what_is_refused_is_no_commit_before_a_reset_either(api: Api) -> None:
    await api.deployed()
    api.sandbox.faults.append(Fault("PATCH", "reset_after"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.patch(API, {"op": "test", "path": "/x", "value": 1}, set_image("app:v2"))
    assert image_of(api.api()) == "app:v1"


@on_sandbox
async def test_a_watch_that_is_reset_has_told_what_it_had(api: Api) -> None:
    await api.post(CONFIGMAPS, configmap("one"))
    api.sandbox.faults.append(Fault("watch=true", "reset_after"))
    async with api.watch(CONFIGMAPS) as events:
        event = await events.next()
        assert event is not None
        assert event["type"] == "ADDED"
        with pytest.raises(aiohttp.ClientPayloadError):
            await events.next()
    assert api.clock.monotonic() < 1


@on_sandbox
async def test_what_hangs_is_never_answered(api: Api) -> None:
    await api.deployed()
    api.sandbox.faults.append(Fault("PATCH", "hang"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000):
            await api.patch(API, set_image("app:v2"))
    assert image_of(api.api()) == "app:v1"


def test_what_hangs_does_not_keep_the_server_from_ending() -> None:
    async def story() -> float:
        async with aiohttp.ClientSession() as http:
            sandbox = Sandbox(LoopClock())
            sandbox.faults.append(Fault("GET", "hang", times=None))
            async with sandbox.serve() as url:
                asking = [asyncio.create_task(ask(http, url)) for _ in range(3)]
                await asyncio.sleep(1)
            assert await asyncio.gather(*asking) == [None] * 3
        return sandbox.clock.monotonic()

    async def ask(http: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(url)

    assert run(story) < 2


@on_sandbox
async def test_a_delay_passes_on_the_clock_and_then_all_goes_on(api: Api) -> None:
    await api.deployed()
    api.sandbox.faults.append(Fault("PATCH", "delay", seconds=12))
    began = api.clock.monotonic()
    answer = await api.patch(API, set_image("app:v2"))
    assert (answer.status, image_of(api.api())) == (200, "app:v2")
    assert api.clock.monotonic() - began == pytest.approx(12, abs=0.01)


@on_sandbox
async def test_faults_hit_as_often_as_they_are_told(api: Api) -> None:
    def is_list(method: str, path: str) -> bool:
        return method == "GET" and "limit" in path

    api.sandbox.faults += [
        Fault(is_list, "status", status=503, times=2),
        Fault("configmaps/x", "status", status=500, times=None),
        Fault("configmaps", "status", status=429, times=0),
    ]
    assert [(await api.get(CONFIGMAPS, limit=1)).status for _ in range(3)] == [503, 503, 200]
    assert [(await api.get(f"{CONFIGMAPS}/x")).status for _ in range(3)] == [500] * 3
    assert len(api.sandbox.faults) == 3
    api.sandbox.faults = []
    assert (await api.get(f"{CONFIGMAPS}/x")).status == 404


# --- nothing breaks it

WORDS = ["metadata", "spec", "status", "template", "containers", "replicas", "strategy", "labels"]
WORDS += ["selector", "conditions", "annotations", "name", "matchExpressions", "rollingUpdate"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "50%", "In"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from([*WORDS, "0", "-"]), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
OPERATIONS = st.builds(
    lambda op, path, value, origin: {"op": op, "path": path, "value": value, "from": origin},
    st.sampled_from(["add", "replace", "remove", "test", "move", "copy"]),
    PATHS,
    VALUES,
    PATHS,
)
SENT = st.one_of(
    st.tuples(st.just("PATCH"), st.just(JSON_PATCH), st.lists(OPERATIONS, max_size=3)),
    st.tuples(st.just("PATCH"), st.sampled_from([MERGE, STRATEGIC]), VALUES),
    st.tuples(st.sampled_from(["PUT", "POST", "DELETE"]), st.just("application/json"), VALUES),
)
TARGETS = st.sampled_from([API, f"{API}/status", f"{API}/scale", DEPLOYMENTS, CONFIGMAPS])


@settings(max_examples=25)
@given(st.lists(st.tuples(TARGETS, SENT), min_size=1, max_size=8))
def test_no_request_makes_a_server_error_or_stops_a_controller(sent: list[Any]) -> None:
    async def story() -> None:
        async with serving() as api:
            await api.deployed()
            for path, (method, kind, body) in sent:
                answer = await api.send(method, path, json.dumps(body), kind=kind)
                assert answer.status < 500, answer.body
                await api.sandbox.settled()
            api.sandbox.deploy(NAMESPACE, "other", "app:v1")
            await api.sandbox.settled()
            other = api.sandbox.get("Deployment", NAMESPACE, "other")
            assert other is not None
            assert other["status"]["availableReplicas"] == 3

    run(story)


@on_sandbox
async def test_a_status_that_says_little_stops_no_controller(api: Api) -> None:
    await api.deployed()
    little = [{}, {"type": "Ready", "status": "True"}, {"type": "Progressing"}]
    await api.patch(f"{API}/status", add("/status", {"conditions": little}))
    (pod, *_) = api.sandbox.list("Pod", NAMESPACE)
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/status"
    status = {"conditions": little, "containerStatuses": [{}]}
    assert (await api.patch(path, add("/status", status))).status == 200
    await api.deployed("app:v2")
    assert api.api()["status"]["updatedReplicas"] == 3
