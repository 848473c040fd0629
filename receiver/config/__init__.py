"""The configuration: one YAML file, checked whole; all problems are reported at once."""

from receiver.config.check import parse, read
from receiver.config.secrets import Secrets
from receiver.config.settings import Settings
from receiver.config.table import described
from receiver.document import Problem

__all__ = ["Problem", "Secrets", "Settings", "described", "parse", "read"]
