"""The errors raised on purpose. Each class says whose move it is.

    ReceiverError
     + Rejected          the caller must change something              400 401 403 404 409 413
     + TryAgain          the same request may work later               503
     |  + Conflict       somebody else wrote first: look again
     |  + Unavailable    not reached, or fate unknown (`ambiguous`)
     + Broken            repeating will not help: a person must look   503, and a page
        + Forbidden      the Kubernetes API denies us a right
        + Denied         the Kubernetes API refuses this very change
        + StateUnreadable  what we remember cannot be read: never taken for "nothing"

An expected "no" is no error: it is a `Reason` (see `reasons`).
"""


class ReceiverError(Exception):
    """Base of all errors that this package raises on purpose."""


class Rejected(ReceiverError):
    """The caller must change something before it can work. Carries the HTTP status to answer."""

    def __init__(self, message: str, *, status: int = 400, reason: str = "bad_request") -> None:
        """`reason` is a short constant word for metrics and machines; `message` is for people."""
        super().__init__(message)
        self.status = status
        self.reason = reason


class TryAgain(ReceiverError):
    """The same request may work later."""


class Conflict(TryAgain):
    """A tested precondition no longer holds: somebody else wrote first."""


class Unavailable(TryAgain):
    """The other side could not be reached or did not answer in time."""

    def __init__(
        self, message: str, *, ambiguous: bool = False, retry_after: float | None = None
    ) -> None:
        """`ambiguous`: a write may have been applied. `retry_after`: seconds it asks us to wait."""
        super().__init__(message)
        self.ambiguous = ambiguous
        self.retry_after = retry_after


class Broken(ReceiverError):
    """Repeating will not help; a person must look."""


class Forbidden(Broken):
    """The Kubernetes API denies us a right (403), or does not know us (401)."""


class Denied(Broken):
    """The Kubernetes API refuses this very change: validation, or an admission policy."""


class StateUnreadable(Broken):
    """A journal cannot be read, or is of a newer version. It is kept, never overwritten."""
