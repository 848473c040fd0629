"""Where the API server is and who we are: in-cluster configuration or a kubeconfig."""

from pathlib import Path

import aiohttp
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
from receiver.kube.calls import Calls, Obj, Observe
from receiver.kube.cluster import KubernetesCluster

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
# One watch event holds a whole object; etcd takes at most 1.5 MiB.
LINE = 2**21
CONNECTIONS = 64


def unobserved(verb: str, status: int | None, seconds: float) -> None:
    """Take no note of a call."""
    del verb, status, seconds


async def connect(
    *,
    state_namespace: str,
    clock: Clock,
    observe: Observe = unobserved,
    context: str | None = None,
    kubeconfig_file: str | None = None,
    kubeconfig: Obj | None = None,
) -> KubernetesCluster:
    """Return the cluster of a kubeconfig (document, file or default place), else our own.

    In a pod without a kubeconfig named it is the pod's cluster; its token is read again as it
    rotates. Raises `Rejected` when none of these can be read.
    """
    configuration = Configuration()
    try:
        if kubeconfig is not None:
            await load_kube_config_from_dict(
                kubeconfig, context=context, client_configuration=configuration
            )
        elif kubeconfig_file is None and context is None and SERVICE_ACCOUNT.exists():  # noqa: ASYNC240 - at start
            load_incluster_config(configuration)  # type: ignore[no-untyped-call] # theirs
        else:
            await load_kube_config(
                config_file=kubeconfig_file, context=context, client_configuration=configuration
            )
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        text = f"no usable Kubernetes configuration: {type(error).__name__}: {str(error)[:200]}"
        raise Rejected(text, reason="kubeconfig") from None
    configuration.connection_pool_maxsize = CONNECTIONS
    api = ApiClient(configuration)
    await _own_session(api)
    api.user_agent = f"rollback-receiver/{__version__}"
    return KubernetesCluster(
        Calls(api, clock, observe), state_namespace=state_namespace, clock=clock, close=api.close
    )


async def _own_session(api: ApiClient) -> None:
    """Replace the library's session, which trusts the proxies and `.netrc` of the environment."""
    theirs = api.rest_client.pool_manager
    connector = theirs.connector
    theirs.detach()
    api.rest_client.pool_manager = aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        read_bufsize=LINE,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
