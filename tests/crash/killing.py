"""Replicas in one process that can be killed or stopped one by one, as by SIGKILL and SIGSTOP.

Every task remembers by its context which replica made it, so that all of a replica's tasks end or
stand still at once: the workers, the senders, the beat, and its web server with what it was about
to answer.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from weakref import WeakSet

import aiohttp

from receiver import app
from tests.stage import Stage, firing, resolved, webhook

# Seconds: how soon a dead process is started again, and how soon Alertmanager comes again.
RESTARTED_AFTER, COMES_AGAIN = 1.0, 2.0
TRIES = 10

_REPLICA: ContextVar[str] = ContextVar("replica", default="")


@dataclass(frozen=True, slots=True)
class Process:
    """A replica, and the name of its tasks."""

    name: str
    replica: app.Replica


class _Steps(Coroutine[Any, Any, Any]):
    """A coroutine that takes no step while `stopped` is on; what came for it meanwhile waits."""

    def __init__(self, inner: Coroutine[Any, Any, Any], stopped: "Stopped") -> None:
        self._inner = inner
        self._stopped = stopped
        self._thrown: tuple[Any, ...] | None = None

    def send(self, value: Any) -> Any:
        if self._stopped.on:
            return self._stopped.wait()
        thrown, self._thrown = self._thrown, None
        return self._inner.send(value) if thrown is None else self._inner.throw(*thrown)

    def throw(self, *thrown: Any) -> Any:
        if self._stopped.on:
            # A timeout that ran out while we slept: it is noticed first of all on waking.
            self._thrown = thrown
            return self._stopped.wait()
        self._thrown = None
        return self._inner.throw(*thrown)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


class Stopped:
    """Whether a replica stands still. Nothing is stepped then; sockets and timers go on."""

    def __init__(self) -> None:
        self.on = False
        self._waiting: list[asyncio.Future[None]] = []

    def wait(self) -> asyncio.Future[None]:
        """Return what a task is to wait for, as `await` would hand it over."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        handed: asyncio.Future[None] = future.__await__().send(None)
        return handed

    def end(self) -> None:
        """Let everything go on."""
        self.on = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


@dataclass
class Cast:
    """The replicas of a story. `restarts`: a killed one is started again, with a new name."""

    on: Stage
    stack: contextlib.AsyncExitStack
    restarts: bool = False
    living: list[Process] = field(default_factory=list)
    _tasks: defaultdict[str, WeakSet[asyncio.Task[Any]]] = field(
        default_factory=lambda: defaultdict(WeakSet)
    )
    _dead: set[str] = field(default_factory=set)
    _stopped: defaultdict[str, Stopped] = field(default_factory=lambda: defaultdict(Stopped))
    _killed: asyncio.Event = field(default_factory=asyncio.Event)
    _started: int = 0

    def __post_init__(self) -> None:
        asyncio.get_running_loop().set_task_factory(self._make)

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        name = _REPLICA.get()
        if not name:
            return asyncio.Task(coro, loop=loop, **more)
        task = asyncio.Task(_Steps(coro, self._stopped[name]), loop=loop, **more)
        self._tasks[name].add(task)
        if name in self._dead:
            task.cancel()  # only its socket still listens
        return task

    async def start(self) -> Process:
        """Start one more replica."""
        name = str(self._started)
        self._started += 1
        token = _REPLICA.set(name)
        try:
            replica = await self.stack.enter_async_context(self.on.replica(self._started))
        finally:
            _REPLICA.reset(token)
        process = Process(name, replica)
        self.living.append(process)
        return process

    def kill(self, process: Process) -> None:
        """End every task of a replica; nothing is released or said."""
        self.living.remove(process)
        self._dead.add(process.name)
        for task in list(self._tasks[process.name]):
            task.cancel()
        self._killed.set()

    def stop(self, process: Process, seconds: float) -> None:
        """Let a replica stand still for so long; nobody posts to it as long as there is another."""
        self._stopped[process.name].on = True
        self.living.remove(process)
        self.living.append(process)
        asyncio.get_running_loop().call_later(seconds, self._stopped[process.name].end)

    async def passes(self, seconds: float) -> None:
        """Let time pass; a replica that is killed meanwhile is started again if that is played."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self._killed.wait()
        if self._killed.is_set():
            await self._revive()
        await asyncio.sleep(end - loop.time())

    async def _revive(self) -> None:
        if self.restarts and not self.living:
            await asyncio.sleep(RESTARTED_AFTER)
            await self.start()

    # --- Alertmanager

    async def fires(self) -> datetime:
        """Post an alert that fires from now on; return when it began."""
        began = self.on.clock.now()
        await self._deliver(webhook(firing(began)))
        return began

    async def resolves(self, began: datetime) -> None:
        """Post that the alert resolved."""
        await self._deliver(webhook(resolved(began, self.on.clock.now())))

    async def _deliver(self, body: dict[str, Any]) -> None:
        """Deliver as Alertmanager does, which comes again until it reads a 200."""
        for _ in range(TRIES):
            await self._revive()
            with contextlib.suppress(aiohttp.ClientError):
                status, answer = await self.on.post(self.living[0].replica, body)
                if status == 200:
                    return
                assert status == 503, answer
            await self._revive()
            await asyncio.sleep(COMES_AGAIN)
        raise AssertionError("not delivered")
