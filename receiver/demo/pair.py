"""A real Prometheus and a real Alertmanager, as plain processes on loopback."""

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

HOST = "127.0.0.1"
INSTALL = "apt-get install prometheus prometheus-alertmanager"
_ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")
READY_WITHIN, STOP_WITHIN = 20.0, 5.0


class NotStartedError(Exception):
    """A process did not come up; the message holds what it last said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the two are on this machine."""

    prometheus: str
    alertmanager: str


def programs() -> Programs | None:
    """Find both programs on PATH; None when one of them is missing."""
    prometheus = shutil.which("prometheus")
    alertmanager = next(filter(None, map(shutil.which, _ALERTMANAGERS)), None)
    if prometheus is None or alertmanager is None:
        return None
    return Programs(prometheus=prometheus, alertmanager=alertmanager)


def free_port() -> int:
    """Return a TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where Alertmanager posts to, and the file with the token that it shows there."""

    url: str
    token_file: Path


@contextlib.asynccontextmanager
async def alertmanagers(
    program: str, folder: Path, webhooks: Sequence[Webhook], count: int = 1
) -> AsyncIterator[tuple[str, ...]]:
    """Run Alertmanagers, joined to a cluster when there are several; yield their URLs."""
    web = [free_port() for _ in range(count)]
    gossip = [free_port() for _ in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        for index in range(count):
            home = folder / f"alertmanager-{index}"
            home.mkdir(parents=True)
            config = home / "alertmanager.yml"
            config.write_text(yaml.safe_dump(alertmanager_config(webhooks)))
            cluster = [
                f"--cluster.listen-address={HOST}:{gossip[index]}"
                if count > 1
                else "--cluster.listen-address="
            ]
            cluster += [f"--cluster.peer={HOST}:{gossip[0]}"] if index else []
            cluster += ["--cluster.settle-timeout=1s", "--cluster.peer-timeout=2s"]
            await stack.enter_async_context(
                process(
                    [
                        program,
                        f"--config.file={config}",
                        f"--storage.path={home / 'data'}",
                        f"--web.listen-address={HOST}:{web[index]}",
                        *cluster,
                    ],
                    ready=f"http://{HOST}:{web[index]}/-/ready",
                    log=home / "log",
                )
            )
        yield tuple(f"http://{HOST}:{port}" for port in web)


def alertmanager_config(webhooks: Sequence[Webhook]) -> dict[str, object]:
    """Return the wiring that the README recommends, with short timers."""
    return {
        "route": {
            "receiver": "rollback-receiver",
            "group_by": ["alertname", "namespace", "deployment"],
            "group_wait": "1s",
            "group_interval": "2s",
            "repeat_interval": "10s",
        },
        "receivers": [
            {
                "name": "rollback-receiver",
                "webhook_configs": [
                    {
                        "url": webhook.url,
                        "send_resolved": True,
                        "http_config": {
                            "follow_redirects": False,
                            "authorization": {"credentials_file": str(webhook.token_file)},
                        },
                    }
                    for webhook in webhooks
                ],
            }
        ],
    }


@contextlib.asynccontextmanager
async def prometheus(
    program: str,
    folder: Path,
    *,
    scrape: dict[str, str],
    alertmanagers: Sequence[str],
    rules: Path,
) -> AsyncIterator[str]:
    """Run a Prometheus that scrapes `scrape` (job: host:port) and yield its URL."""
    home = folder / "prometheus"
    home.mkdir(parents=True)
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}], "honor_labels": True}
            for job, target in scrape.items()
        ],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [url.removeprefix("http://")]}]}
                for url in alertmanagers
            ]
        },
    }
    file = home / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--rules.alert.resend-delay=2s",
    ]
    url = f"http://{HOST}:{port}"
    async with process(command, ready=f"{url}/-/ready", log=home / "log"):
        yield url


@contextlib.asynccontextmanager
async def process(command: Sequence[str], *, ready: str, log: Path) -> AsyncIterator[None]:
    """Run a program until the end of the block; it is up when `ready` answers 200."""
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        await _ready(child, ready, log)
        yield
    finally:
        await _stop(child)


async def _ready(child: asyncio.subprocess.Process, url: str, log: Path) -> None:
    timeout = aiohttp.ClientTimeout(total=1)
    try:
        async with (
            asyncio.timeout(READY_WITHIN),
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        ):
            while child.returncode is None:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as answer:
                        if answer.ok:
                            return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    said = log.read_text(errors="replace")[-1000:]  # noqa: ASYNC240 - it has failed anyway
    raise NotStartedError(f"{url} is not ready; the process said:\n{said}")


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_WITHIN):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
