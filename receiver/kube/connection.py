"""Where the API server is and who we are: a kubeconfig, or the pod we run in."""

from pathlib import Path

import aiohttp
import yaml
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
    load_kube_config_from_dict,
)

from receiver import __version__
from receiver.clock import Clock
from receiver.errors import Rejected
from receiver.kube.answers import Obj, plain
from receiver.kube.calls import Calls, Observe, unobserved
from receiver.kube.cluster import KubernetesCluster

MOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Seconds. The kubelet renews a token when a fifth of its life (10 minutes at least) is left.
TOKEN_READ_EVERY = 60.0
# One line of a watch holds a whole object; etcd takes at most 1.5 MiB.
LONGEST_LINE = 2**21
# A bound, not a wish: each watch holds one, and a read must still find one when many rollouts run.
CONNECTIONS = 256
LONGEST_CAUSE = 200
# What the library lets through for a document that is none.
_UNUSABLE = (
    ConfigException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    yaml.YAMLError,
)


async def connect(
    *,
    context: str | None,
    kubeconfig_path: str | None = None,
    kubeconfig: Obj | None = None,
    state_namespace: str,
    clock: Clock,
    observe_call: Observe = unobserved,
    reviewing: bool = False,
) -> KubernetesCluster:
    """Return the cluster of a kubeconfig (document, file or the default place), or our own.

    With no kubeconfig and no context named, inside a pod, it is the pod's cluster; its token is
    read again as it rotates. `state_namespace` is where our ConfigMaps live. `observe_call(verb,
    resource, code, seconds)` is told of each call. `reviewing`: the rights to review tokens of
    others are needed, too. Nothing is sent yet. Raises `Rejected` (reason `kubeconfig`) when there
    is no usable configuration.
    """
    configuration = Configuration()
    try:
        if kubeconfig is not None:
            await load_kube_config_from_dict(
                kubeconfig, context=context, client_configuration=configuration
            )
        elif kubeconfig_path is None and context is None and in_pod(MOUNT):
            load_pod(configuration, MOUNT, clock)
        else:
            await load_kube_config(
                config_file=kubeconfig_path, context=context, client_configuration=configuration
            )
        configuration.connection_pool_maxsize = CONNECTIONS
        api = ApiClient(configuration)
    except _UNUSABLE as error:
        cause = plain(str(error), LONGEST_CAUSE)
        text = f"no usable Kubernetes configuration: {type(error).__name__}: {cause}"
        raise Rejected(text, reason="kubeconfig") from None
    use_own_session(api)
    api.user_agent = f"rollback-receiver/{__version__}"
    return KubernetesCluster(
        Calls(api, clock, observe_call),
        state_namespace=state_namespace,
        clock=clock,
        reviewing=reviewing,
    )


def in_pod(mount: Path) -> bool:
    """Return whether a ServiceAccount is mounted there."""
    return (mount / "token").exists()


def load_pod(configuration: Configuration, mount: Path, clock: Clock) -> None:
    """Point to the API server of the pod we run in, with the ServiceAccount mounted at `mount`.

    Raises `ConfigException` when the environment does not name the API server, or a file is absent.
    """
    load_incluster_config(  # type: ignore[no-untyped-call] # the library has no stub for it
        configuration,
        try_refresh_token=False,
        token_filename=str(mount / "token"),
        cert_filename=str(mount / "ca.crt"),
    )
    # The library would read the clock of the machine, keep a final newline (which is no valid
    # header), and fail a call whose moment of reading falls into the rotation.
    configuration.refresh_api_key_hook = PodToken(mount / "token", clock)
    configuration.refresh_api_key_hook(configuration)


class PodToken:
    """The token of the pod, read again now and then: a hook of `Configuration`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._read_at: float | None = None

    def __call__(self, configuration: Configuration) -> None:
        """Put the current token into the configuration; one that cannot be read changes nothing."""
        now = self._clock.monotonic()
        if self._read_at is not None and now - self._read_at < TOKEN_READ_EVERY:
            return
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return  # the old one holds for a while yet: tried again at the next call
        if token:
            configuration.api_key["BearerToken"] = f"Bearer {token}"
            self._read_at = now


def use_own_session(api: ApiClient) -> None:
    """Replace the library's session by one that obeys nothing but its configuration.

    The library's trusts the environment (HTTP_PROXY, .netrc). And aiohttp sends a PUT again when
    its connection breaks: the second one of a compare-and-set fails because the first one worked.
    """
    theirs = api.rest_client.pool_manager
    session = aiohttp.ClientSession(
        connector=theirs.connector,
        trust_env=False,
        read_bufsize=LONGEST_LINE,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    theirs.detach()
    # There is no public switch; tests/kube holds that a lost PUT is seen once.
    session._retry_connection = False  # noqa: SLF001 - see above
    api.rest_client.pool_manager = session
