"""The service as a process, and how a test waits for what processes do."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from receiver.demo import pair

COMMAND = [sys.executable, "-m", "receiver"]


@contextlib.asynccontextmanager
async def served(config: Path, port: int, log: Path) -> AsyncIterator[str]:
    """Run `rollback-receiver serve` as a process; yield its URL."""
    text = config.read_text().replace("port: 0", f"port: {port}")
    own = config.with_name(f"receiver-{port}.yaml")
    own.write_text(text)
    url = f"http://{pair.HOST}:{port}"
    command = [*COMMAND, "serve", "--config", str(own)]
    async with pair.process(command, ready=f"{url}/ready", log=log):
        yield url


async def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"did not happen: {what}")


async def get(url: str, **query: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as answer:
        return json.loads(await answer.text())
