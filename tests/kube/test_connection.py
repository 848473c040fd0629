"""Where the adapter connects to, as whom, and what of its environment it ignores."""

from pathlib import Path

import pytest
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException

from receiver import __version__
from receiver.errors import Rejected
from receiver.kube import connect
from receiver.kube.connection import TOKEN_READ_EVERY, PodToken, in_pod, load_pod
from tests.kube.raw_server import answer, kubeconfig, raw_cluster
from tests.kube.sandbox_world import NAMESPACE, STATE_NAMESPACE, SandboxWorld, on_sandbox
from tests.kube.wishes import annotate, deployed
from tests.virtual import LoopClock, virtual

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a proxy that nobody could reach, for everything."""
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@on_sandbox
async def test_a_proxy_of_the_environment_is_not_used(world: SandboxWorld, proxied: None) -> None:
    cluster = await world.connect()
    await cluster.ping()
    await cluster.aclose()


@virtual
async def test_a_netrc_of_the_environment_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with raw_cluster(answer(b"{}")) as (cluster, raw):
        await cluster.ping()
    assert "authorization" not in raw.heads[0].lower()


@virtual
async def test_the_adapter_says_who_it_is() -> None:
    async with raw_cluster(answer(b"{}")) as (cluster, raw):
        await cluster.ping()
    assert f"User-Agent: rollback-receiver/{__version__}\r\n" in raw.heads[0]


@on_sandbox
async def test_every_write_names_its_field_manager_and_a_patch_is_strict(
    world: SandboxWorld,
) -> None:
    obj = await deployed(world, replicas=0)
    world.sandbox.clear_log()
    await world.cluster.patch(NAMESPACE, "api", annotate(obj, "note", "x"))
    await world.cluster.beat("beats", {"a": "1"})
    writes = [request for request in world.sandbox.requests if request.method != "GET"]
    assert {request.query["fieldManager"] for request in writes} == {"rollback-receiver"}
    assert writes[0].query["fieldValidation"] == "Strict"
    assert "dryRun" not in writes[0].query


@on_sandbox
async def test_a_kubeconfig_file_and_a_context_of_it_are_used(
    world: SandboxWorld, tmp_path: Path
) -> None:
    document = world.sandbox.kubeconfig(world.url)
    document["contexts"][0]["name"] = "second"
    document["current-context"] = "first"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    cluster = await connect(
        context="second",
        kubeconfig_path=str(path),
        state_namespace=STATE_NAMESPACE,
        clock=world.clock,
    )
    await cluster.ping()
    await cluster.aclose()


@virtual
async def test_a_context_that_is_not_there_is_rejected() -> None:
    with pytest.raises(Rejected) as caught:
        await connect(
            context="another",
            kubeconfig=kubeconfig("http://127.0.0.1:1"),
            state_namespace=STATE_NAMESPACE,
            clock=LoopClock(),
        )
    assert caught.value.reason == "kubeconfig"


@virtual
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param("[]", id="no_document"),
        pytest.param("{apiVersion: v1, kind: Config}", id="no_clusters"),
        pytest.param("a: [", id="no_yaml"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_rejected(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Rejected) as caught:
        await connect(
            context=None,
            kubeconfig_path=str(path),
            state_namespace=STATE_NAMESPACE,
            clock=LoopClock(),
        )
    assert caught.value.reason == "kubeconfig"
    assert len(str(caught.value)) <= 300


# --- in a pod


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Mount a ServiceAccount, and name the API server as the kubelet does."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("a certificate")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


async def _bearer(configuration: Configuration) -> object:
    """Return the header of the next call, as the library makes it."""
    settings = await configuration.auth_settings()
    return settings["BearerToken"]["value"]


@virtual
async def test_in_a_pod_its_own_api_server_and_token_are_used(mount: Path) -> None:
    configuration = Configuration()
    assert in_pod(mount)
    load_pod(configuration, mount, LoopClock())
    assert configuration.host == "https://10.0.0.1:443"
    assert configuration.ssl_ca_cert == str(mount / "ca.crt")
    # A final newline would be no valid header.
    assert await _bearer(configuration) == "Bearer first"


@virtual
async def test_a_token_that_rotates_is_read_again(mount: Path) -> None:
    clock, configuration = LoopClock(), Configuration()
    load_pod(configuration, mount, clock)
    (mount / "token").write_text("second")
    await clock.sleep(TOKEN_READ_EVERY - 1)
    assert await _bearer(configuration) == "Bearer first"
    await clock.sleep(1)
    assert await _bearer(configuration) == "Bearer second"


@virtual
@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
async def test_a_token_that_cannot_be_read_leaves_the_old_one(
    mount: Path, content: bytes | None
) -> None:
    clock, configuration = LoopClock(), Configuration()
    load_pod(configuration, mount, clock)
    await clock.sleep(TOKEN_READ_EVERY)
    (mount / "token").unlink()
    if content is not None:
        (mount / "token").write_bytes(content)
    assert await _bearer(configuration) == "Bearer first"
    # It is looked at again at the very next call.
    (mount / "token").write_text("third")
    assert await _bearer(configuration) == "Bearer third"


@virtual
async def test_a_mount_without_a_certificate_is_no_configuration(mount: Path) -> None:
    (mount / "ca.crt").unlink()
    with pytest.raises(ConfigException):
        load_pod(Configuration(), mount, LoopClock())


def test_without_a_mount_there_is_no_pod(tmp_path: Path) -> None:
    assert not in_pod(tmp_path)


@virtual
async def test_a_hook_puts_the_token_into_the_configuration_it_is_given(mount: Path) -> None:
    # The library copies configurations: a hook must not keep the first one.
    token, configuration = PodToken(mount / "token", LoopClock()), Configuration()
    token(configuration)
    assert configuration.api_key["BearerToken"] == "Bearer first"
