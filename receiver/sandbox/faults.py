"""What goes wrong between a client and the API server, on order; and the log of requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from receiver.sandbox.objects import Obj

Kind = Literal["status", "reset_before", "reset_after", "hang", "delay"]


@dataclass
class Fault:
    """One fault, for requests whose `VERB path?query` contains `match` (or for which it is true).

    `status` answers at once, with `body` or a Status document; `reset_before` closes the connection
    with nothing done, `reset_after` with everything done (a watch: with what it had to tell at
    once); `hang` never answers; `delay` waits `seconds` and goes on. `times` None: for ever.
    """

    match: str | Callable[[str, str], bool]
    kind: Kind
    status: int = 500
    retry_after: int | None = None
    seconds: float = 0.0
    times: int | None = 1
    body: Obj | None = None

    def takes(self, method: str, path: str) -> bool:
        """Say whether this request is hit, and count it."""
        hit = (
            self.match in f"{method} {path}"
            if isinstance(self.match, str)
            else self.match(method, path)
        )
        if not hit or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Request:
    """One request as it came in, and the status it was answered with (None: not, or not yet)."""

    at: datetime
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    by: str = ""
    user_agent: str = ""
    authorization_present: bool = False
    status: int | None = None
