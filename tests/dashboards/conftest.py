"""Which programs there are: as for the other tests that start some."""

from tests.e2e.conftest import programs

__all__ = ["programs"]
