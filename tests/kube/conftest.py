"""Where the contract tests run: on the sandbox in virtual time, and on a real API server."""

import pytest

from tests.controlplane.world import REAL, RealPlace
from tests.kube.sandbox_world import SandboxPlace
from tests.kube.world import Place


@pytest.fixture(params=["sandbox", pytest.param("kubernetes", marks=REAL)])
def place(request: pytest.FixtureRequest) -> Place:
    """Return the place that the worlds of contract tests are made in."""
    if request.param == "sandbox":
        return SandboxPlace()
    return RealPlace(request.getfixturevalue("kubernetes"))
