"""What the controller needs of the world: the ports, and the values that cross them.

The edges (`kube`, `notify`) implement these Protocols; the controller knows nothing of theirs.
Kubernetes objects cross as the raw JSON the API sent: `rollout` reads it, nobody else.
Errors are those of `receiver.errors`: `Conflict`, `Unavailable`, `Forbidden`, `Denied`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from receiver.messages import Story

Obj: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One verified read: a Deployment, and the ReplicaSets whose controller it is (by UID).

    `deployment` is a quorum read. `replicasets` are as fresh as that Deployment: they hold the one
    whose `deployment.kubernetes.io/revision` and template are the Deployment's, or come from a
    consistent LIST.
    """

    deployment: Obj
    replicasets: tuple[Obj, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One ConfigMap of ours. `version` is its resourceVersion; None: it does not exist yet."""

    name: str
    data: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """A Kubernetes Event about a Deployment. The same `id` and `action` make the same Event."""

    namespace: str
    deployment: str
    uid: str
    id: str
    action: str
    reason: str
    note: str
    warning: bool = False


class Cluster(Protocol):
    """The Kubernetes API, as far as we use it. Every call has a deadline of its own."""

    async def deployment(self, namespace: str, name: str) -> Obj | None:
        """Read one Deployment (quorum); None: there is none."""
        ...

    async def deployments(self, namespace: str, *, labels: str) -> list[Obj]:
        """List the Deployments that a label selector fits."""
        ...

    async def observe(self, namespace: str, name: str) -> Observation | None:
        """Read a Deployment with its ReplicaSets, fast and fresh; None: there is none."""
        ...

    async def replicaset(self, namespace: str, name: str) -> Obj | None:
        """Read one ReplicaSet (quorum); None: there is none."""
        ...

    async def pod(self, namespace: str, name: str) -> Obj | None:
        """Read one pod (quorum); None: there is none."""
        ...

    async def patch(
        self, namespace: str, name: str, operations: list[Obj], *, dry_run: bool = False
    ) -> Obj:
        """Apply one JSON Patch to a Deployment and return what it became.

        `Conflict`: a tested value differs (409, or 422 without causes). `Denied`: the API refuses
        the change itself. `Unavailable` with `ambiguous`: it may have been applied. Never repeated.
        """
        ...

    def watch(
        self, namespace: str, name: str, version: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Obj | None]]:
        """Yield the Deployment after each change from `version` on; None: it was deleted.

        Ends without an error when the API ends it (timeout, 410, connection lost): the caller
        reads again.
        """
        ...

    async def read_state(self, name: str) -> State | None:
        """Read one of our ConfigMaps (quorum); None: there is none."""
        ...

    async def list_states(self, *, labels: str) -> list[State]:
        """List our ConfigMaps that a label selector fits (consistent)."""
        ...

    async def write_state(self, state: State) -> State:
        """Write by compare-and-set: create when `version` is None. `Conflict`: somebody was first.

        `Unavailable` with `ambiguous`: it may have been written.
        """
        ...

    async def delete_state(self, state: State) -> None:
        """Delete one of our ConfigMaps as it was read; one that is gone is no error.

        `Conflict`: somebody wrote it meanwhile.
        """
        ...

    async def beat(self, name: str, keys: Mapping[str, str | None]) -> Mapping[str, str]:
        """Set keys of a ConfigMap (None removes one) without a test; return all its data.

        Creates the ConfigMap when there is none.
        """
        ...

    async def emit(self, happening: Happening) -> None:
        """Write an Event; one that exists already is no error."""
        ...

    async def ping(self) -> None:
        """Ask the API server for its version: reached, authenticated, in time."""
        ...

    async def rights(self, namespaces: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        """Return what we must but may not do, by namespace (SelfSubjectAccessReview).

        What belongs to no namespace is under a key that is no namespace's name.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who somebody is to the Kubernetes API. `extra` is what its authorizers may ask for."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What somebody wants to do. `group` "" is the core group, `name` "" all of the namespace."""

    verb: str
    group: str = ""
    resource: str
    namespace: str
    name: str = ""


class Reviews(Protocol):
    """Who is who and who may what, judged by the Kubernetes API. Nothing is written by asking.

    `Unavailable`: no answer. `Forbidden`: we may not ask; it names the right that we lack.
    """

    async def identify(self, token: str, audience: str) -> Identity | None:
        """Return whose token it is; None: nobody's, or it was not made for this audience.

        The token stands in no error, log or metric (TokenReview).
        """
        ...

    async def permits(self, identity: Identity, act: Act) -> bool:
        """Return whether somebody may do this (SubjectAccessReview)."""
        ...


class Delivery(StrEnum):
    """How the delivery of one message ended. The whole list: retries are decided on it alone."""

    DELIVERED = "delivered"
    RATE_LIMITED = "rate_limited"  # not taken, ask again later: costs no attempt
    NOT_SENT = "not_sent"  # never reached the other side
    AMBIGUOUS = "ambiguous"  # may have been taken
    REJECTED = "rejected"  # this message will never be taken
    UNAUTHORIZED = "unauthorized"  # nor any other, until a person mends the secret
    GONE = "gone"  # the other end is no more


class Failure(StrEnum):
    """Why a delivery failed, for the metrics: what to look at first."""

    SECRET = "secret"  # noqa: S105 - missing, empty, or not of the shape it must have
    ADDRESS = "address"  # a private address that is not allowed
    CONNECT = "connect"  # DNS, TCP, or a proxy
    TLS = "tls"
    TIMEOUT = "timeout"
    BROKEN = "broken"  # the connection ended before the answer did
    SERVER = "server_error"  # an answer that says: it is my fault
    LIMITED = "rate_limited"
    REFUSED = "refused"  # an answer that says no
    ODD = "odd_answer"  # an answer that this service does not give
    OWN = "own"  # not even tried: we are shutting down, or there is nothing to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a sink said. `detail` is bounded and holds no secret; `retry_after` is in seconds.

    `mark` is what the sink wants to be given again with the next message about this subject, ""
    for nothing: where a Slack message is, for example. It is opaque, short, and no secret.
    `failure` says why, unless it was delivered.
    """

    delivery: Delivery
    detail: str = ""
    retry_after: float | None = None
    mark: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a sink has heard of a subject, as far as the journal knows.

    `state` is the state it took last, "" for none, and `mark` that of its receipts. Since `doubt` a
    message may have been taken of which nobody knows: its answer was lost, or whoever sent it died.
    """

    state: str = ""
    mark: str = ""
    doubt: datetime | None = None


NOTHING_HEARD = Heard()


class Outbox(Protocol):
    """The sinks of the configuration."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all sinks, in the order of the configuration."""
        ...

    def routes(self, severity: str) -> tuple[str, ...]:
        """Return the names of the sinks that a severity goes to (`default` for unknown ones)."""
        ...

    def pages(self, sink: str) -> bool:
        """Return whether this sink wakes people."""
        ...

    def fallbacks(self) -> tuple[str, ...]:
        """Return the sinks of a critical notice that no sink which pages has taken in time."""
        ...

    def status(self, sink: str) -> str:
        """Return how the last delivery ended: `ok`, `unauthorized`, `unreachable` or `unknown`."""
        ...

    def speaks_of(self, sink: str, story: Story, heard: Heard) -> bool:
        """Return whether this sink has anything to say about a story.

        There is nothing to resolve at a pager that was never triggered, and may not have been.
        """
        ...

    async def turn(self, sink: str) -> bool:
        """Return when a sink may be spoken to once more, and whether that took a wait.

        First come, first served. Each delivery takes a turn; one that is not used is lost.
        """
        ...

    async def deliver(self, sink: str, story: Story, heard: Heard = NOTHING_HEARD) -> Receipt:
        """Send the story as this sink says it, once. Never raises for what the other side does."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Condition(StrEnum):
    """What the expression of an alert says right now. Only `FALSE` is proof of anything good."""

    TRUE = "true"
    FALSE = "false"  # with data present
    NO_DATA = "no_data"  # empty, and so are its sides
    UNKNOWN = "unknown"  # nobody can tell false from no data, or there is no such rule
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What Prometheus said of one alert. `text` is bounded, and holds untrusted parts."""

    condition: Condition
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose alert it is, so that nobody else's series count. `track` "": any."""

    namespace: str
    deployment: str
    track: str = ""


class Prometheus(Protocol):
    """The Prometheus that evaluates the rules."""

    async def ask(self, alertname: str, subject: Subject) -> Finding:
        """Return what the expression of an alert says now. Has a deadline; raises nothing."""
        ...

    async def critical(self, subjects: tuple[Subject, ...]) -> tuple[str, ...] | None:
        """Return the names of the critical alerts that fire for any of these, at most 20.

        None: nobody can tell. An alert counts that names the namespace, and no other target.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
