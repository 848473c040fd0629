"""What every test gets: the profile of Hypothesis, and a control plane if it asks for one."""

import asyncio
import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane.plane import Connection, ControlPlane, control_plane, programs

# looptime asks for the loop of a synchronous test; until 3.14, asking makes one, which nobody
# closes. Once somebody has said that there is none, asking is an error, which looptime expects.
asyncio.set_event_loop(None)

# Examples are derived from the test itself, so that a run repeats; a busy machine is no failure.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

SEEN = "on a real kube-apiserver"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kube-context",
        help="run the tests of a real API server on this context of the kubeconfig, "
        "instead of a control plane of their own",
    )


@pytest.fixture(scope="session")
def plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """Run a control plane of the tests' own for the whole session."""
    if request.config.getoption("--kube-context"):
        pytest.skip("this needs a control plane of the tests' own")
    folder = programs()
    if folder is None:
        said = "the control plane is not built: make control-plane"
        # In CI its absence is a failure: there it is built first.
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    with control_plane(folder, tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def kubernetes(request: pytest.FixtureRequest) -> Connection:
    """Return how the cluster of the contract tests is reached."""
    context: str | None = request.config.getoption("--kube-context")
    if context is None:
        running: ControlPlane = request.getfixturevalue("plane")
        return running.connection
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("--kube-context needs kubectl on the PATH")
    return Connection(kubectl, None, context)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of it was true on a real API server: CI asks for this line."""
    passed = terminalreporter.getreports("passed")
    count = sum("controlplane" in report.keywords for report in passed)
    if count:
        terminalreporter.write_line(f"{count} tests passed {SEEN}")
