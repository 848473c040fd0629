"""The configuration: one YAML file, checked whole; all problems are reported at once."""

from receiver.config.document import Problem, read
from receiver.config.settings import Settings, described

__all__ = ["Problem", "Settings", "described", "read"]
