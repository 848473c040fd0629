"""What every test gets: the profile of Hypothesis, and a control plane if it asks for one."""

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # it has no types

from tests.controlplane.plane import Connection, ControlPlane, control_plane, programs

# Examples are derived from the test itself, so that a run repeats; a busy machine is no failure.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

SEEN = "on a real kube-apiserver"
# One worker runs all that needs the control plane, so that there is one. (xdist's own grouping by
# marks does not know the node ids of this pytest; `plane` fails if these are not all.)
ON_THE_PLANE = re.compile(
    r"^tests/(controlplane/|docs/test_cluster|e2e/test_(real_kubernetes|crashes)\.py)|[\[-]kubernetes[\]-]"
)


# The same for all that looks at the image, which is built once.
ON_THE_IMAGE = "tests/image/test_image.py"


class OnePlane(LoadScopeScheduling):  # type: ignore[misc] # the same
    """Hands out the tests one by one, but those of the control plane to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ON_THE_IMAGE):
            return "image"
        return "control-plane" if ON_THE_PLANE.search(nodeid) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OnePlane:
    return OnePlane(config, log)


# What takes seconds of a core each.
LONG = re.compile(r"^tests/(crash|image|properties|stories)/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers wait for real processes while others compute; what is short fills up the end."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    waiting = [item for item in items if item.get_closest_marker("e2e")]
    long = [item for item in items if item not in waiting and LONG.search(item.nodeid)]
    at = {item: number / len(some) for some in (waiting, long) for number, item in enumerate(some)}
    items.sort(key=lambda item: at.get(item, 1.0))


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
    home = tmp_path_factory.mktemp("control-plane")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Made by one of the workers: another one that wants it has tests it should not have.
        (home.parent.parent / "one-control-plane").mkdir()
    with control_plane(folder, home) as running:
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
