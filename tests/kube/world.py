"""What the contract tests need besides the adapter: a person with kubectl, and a place to run in.

A contract test takes a `world` and knows nothing else, so the same test runs wherever there is a
`Place`: on the sandbox in virtual time, or on a kube-apiserver in real time.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

from receiver.kube import KubernetesCluster

Obj: TypeAlias = dict[str, Any]


class Call(NamedTuple):
    """One call of the adapter, as `observe_call` was told of it."""

    verb: str
    resource: str
    code: int | None
    seconds: float


class World(Protocol):
    """One namespace for targets, one for our state, and what a person does in them."""

    @property
    def cluster(self) -> KubernetesCluster:
        """The adapter under test; it may do all it needs."""
        ...

    @property
    def calls(self) -> list[Call]:
        """What `cluster` has called so far; may be cleared."""
        ...

    @property
    def namespace(self) -> str:
        """Where the targets are."""
        ...

    @property
    def state_namespace(self) -> str:
        """Where our ConfigMaps are."""
        ...

    async def deploy(self, name: str, image: str, **spec: Any) -> None:
        """Create a Deployment with the label `app: NAME`, or give it another image."""
        ...

    async def rolled_out(self, name: str) -> None:
        """Return when the controller has made the ReplicaSet of the current template."""
        ...

    async def create(self, kind: str, namespace: str, obj: Obj) -> None:
        """Create an object."""
        ...

    async def merge(self, kind: str, namespace: str, name: str, patch: Obj) -> None:
        """Apply a merge patch."""
        ...

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """Read an object."""
        ...

    async def list(self, kind: str, namespace: str) -> list[Obj]:
        """Read all objects."""
        ...

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object, and what it owns."""
        ...

    def lacking(self, *rights: tuple[str, str]) -> AbstractAsyncContextManager[KubernetesCluster]:
        """Connect as somebody who may do everything but these (verb, plural)."""
        ...


class Place(Protocol):
    """Where worlds are made."""

    def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        """Make a new world and run a story in it to its end."""
        ...


def contract(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of `async def test(world, ...)`: it asks for the fixture `place` instead."""

    @functools.wraps(test)
    def wrapper(place: Place, **more: Any) -> None:
        place.run(lambda world: test(world, **more))

    return _asking_for("place", test, wrapper)


def _asking_for(
    fixture: str, test: Callable[..., Awaitable[None]], wrapper: Callable[..., None]
) -> Callable[..., None]:
    """Show pytest the parameters of `test`, with the fixture in place of the world."""
    asked = inspect.signature(test)
    first, *others = asked.parameters.values()
    assert first.name == "world", "the first parameter of a contract test is its world"
    shown = [first.replace(name=fixture, annotation=Place), *others]
    wrapper.__signature__ = asked.replace(  # type: ignore[attr-defined] # inspect looks for it
        parameters=shown, return_annotation=None
    )
    return wrapper
