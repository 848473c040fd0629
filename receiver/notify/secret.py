"""A secret in a file or the environment: read again when it is used, shown never."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is. Its value is read at each use, so that rotation needs no restart."""

    file: str = ""
    environment: str = field(default="", repr=True)

    def read(self) -> str:
        """Return the secret without surrounding white space, "" when it is not there."""
        if not self.file:
            return os.environ.get(self.environment, "").strip()
        try:
            return Path(self.file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
