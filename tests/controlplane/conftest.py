"""What the tests of the manifests need on the API server."""

import subprocess
import time

import pytest

from tests.controlplane.manifests import tools
from tests.controlplane.plane import Connection

SERVED_WITHIN = 30.0


@pytest.fixture(scope="session")
def operator(kubernetes: Connection) -> None:
    """Give the API server the kinds of the Prometheus operator, as its own schemas say them."""
    schemas = sorted(tools().glob("*.yaml"))
    kubectl = [kubernetes.kubectl]
    if kubernetes.kubeconfig is not None:
        kubectl.append(f"--kubeconfig={kubernetes.kubeconfig}")
    if kubernetes.context is not None:
        kubectl.append(f"--context={kubernetes.context}")
    files = [f"--filename={path}" for path in schemas]
    subprocess.run([*kubectl, "apply", "--server-side", *files], check=True, capture_output=True)
    end = time.monotonic() + SERVED_WITHIN
    while not all(_served(kubectl, path.stem) for path in schemas):
        assert time.monotonic() < end, "the API server does not serve the kinds of the operator"
        time.sleep(0.1)


def _served(kubectl: list[str], plural: str) -> bool:
    kind = f"{plural}.monitoring.coreos.com"
    return subprocess.run([*kubectl, "get", kind], check=False, capture_output=True).returncode == 0
