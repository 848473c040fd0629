"""Which programs there are."""

import os

import pytest

from receiver.demo import pair


@pytest.fixture
def programs() -> pair.Programs:
    found = pair.programs()
    # In CI their absence is a failure: there the packages are installed first.
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"Prometheus and Alertmanager are missing: {pair.INSTALL}")
    assert found is not None, pair.INSTALL
    return found
