"""A secret in a file or the environment: read again when it is used, shown never."""

import os
from dataclasses import dataclass
from pathlib import Path

LONGEST = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is: a file, or the name of an environment variable; exactly one of them.

    The value is read at each use and kept nowhere, so that a rotated file counts from the next
    message on, and no repr, log or traceback of this can show it.
    """

    file: str = ""
    environment: str = ""

    def __post_init__(self) -> None:
        """Raise `ValueError` unless exactly one place is named."""
        if bool(self.file) == bool(self.environment):
            raise ValueError("a secret has either a file or an environment variable")

    def read(self) -> str:
        """Return the secret without white space around it, "" when it is not there."""
        if self.environment:
            return os.environ.get(self.environment, "").strip()
        try:
            with Path(self.file).open("rb") as file:
                return file.read(LONGEST).decode("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def lines(self) -> tuple[str, ...]:
        """Return each line as a secret of its own: while one rotates, there are two."""
        return tuple(line.strip() for line in self.read().splitlines() if line.strip())
