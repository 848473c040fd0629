"""Where the contract tests run: here on the sandbox."""

import pytest

from tests.kube.sandbox_world import SandboxPlace
from tests.kube.world import Place


@pytest.fixture
def place() -> Place:
    """Return the place that the worlds of contract tests are made in."""
    return SandboxPlace()
