"""Real Prometheus, real Alertmanager, the service as a process: bad release, one rollback, told."""

import asyncio
import contextlib
import signal
import subprocess
from pathlib import Path

import pytest

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.demo.people import People
from receiver.sandbox import Sandbox
from tests.e2e.processes import COMMAND, get, served, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
LABELS = {"rollback-receiver/enabled": "true"}


@pytest.mark.parametrize("count", [1, 2], ids=["one of each", "two of each"])
async def test_a_bad_release_is_undone_once_verified_and_told(
    tmp_path: Path, programs: pair.Programs, count: int
) -> None:
    sandbox, people = Sandbox(SystemClock()), People()
    store = shop.Shop(lambda: sandbox.list("Pod"))
    senders: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(sandbox.serve())
        people_url = await stack.enter_async_context(people.serve())
        exporter = await stack.enter_async_context(store.serve())
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        config = demo.write_config(tmp_path, sandbox.kubeconfig(kubernetes), people_url)
        urls = [
            await stack.enter_async_context(
                served(config, pair.free_port(), tmp_path / f"service-{index}.log")
            )
            for index in range(count)
        ]
        webhooks = [
            pair.Webhook(url=f"{url}/api/v1/alerts", token_file=tmp_path / "webhook-token")
            for url in urls
        ]
        managers = await stack.enter_async_context(
            pair.alertmanagers(programs.alertmanager, tmp_path, webhooks, count)
        )
        rules = tmp_path / "rules.yml"
        rules.write_text(shop.RULES)
        scrape = {f"service-{i}": url.removeprefix("http://") for i, url in enumerate(urls)}
        prometheus = await stack.enter_async_context(
            pair.prometheus(
                programs.prometheus,
                tmp_path,
                scrape={"shop": exporter} | scrape,
                alertmanagers=managers,
                rules=rules,
            )
        )
        for tag in ("v1", "v2"):
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=LABELS)
            await until(lambda tag=tag: demo.serves(sandbox, tag), tag)  # type: ignore[misc] # mypy and defaults
        await asyncio.sleep(3)
        sandbox.clear_log()
        sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:v3-{shop.BROKEN_TAG}")
        await until(lambda: demo.serves(sandbox, "v2"), "v2 serves again")
        await until(
            lambda: any("RECOVERED" in message["text"] for _, message in people.slack), "Slack"
        )
        await until(
            lambda: [page["event_action"] for page in people.pages] == ["trigger", "resolve"],
            "PagerDuty",
        )
        await asyncio.sleep(5)  # time for whatever would be done twice
        ours = [w for w in sandbox.writes if w.template_changed and w.by == "rollback-receiver"]
        assert len(ours) == 1
        for manager in managers:
            status = await get(f"{manager}/api/v2/status")
            senders.append(status["versionInfo"]["version"])
            assert len(status["cluster"].get("peers") or [0]) == count
        assert len(senders) == count
        found = await get(
            f"{prometheus}/api/v1/query",
            query='sum(rollback_receiver_rollbacks_total{outcome="recovered"})',
        )
        assert found["data"]["result"][0]["value"][1] == "1"
        found = await get(
            f"{prometheus}/api/v1/query",
            query='sum(rollback_receiver_http_requests_total{route="/api/v1/alerts",code="200"})',
        )
        assert float(found["data"]["result"][0]["value"][1]) >= 2


def test_without_the_pair_the_demo_says_so_and_plays_recorded_webhooks(tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    ran = subprocess.run(
        [*COMMAND, "demo"], capture_output=True, text=True, timeout=140, check=False, env=bare
    )
    print(ran.stdout, ran.stderr)
    assert ran.returncode == 0
    assert pair.INSTALL in ran.stdout
    assert "recovered" in ran.stdout


async def test_sigterm_drains_and_ends_well(tmp_path: Path) -> None:
    sandbox = Sandbox(SystemClock())
    async with sandbox.serve() as kubernetes, People().serve() as people_url:
        sandbox.create_namespace(demo.STATE)
        config = demo.write_config(tmp_path, sandbox.kubeconfig(kubernetes), people_url)
        child = await asyncio.create_subprocess_exec(
            *COMMAND, "serve", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        assert child.stderr is not None
        while b"service_started" not in await child.stderr.readline():
            pass
        child.send_signal(signal.SIGTERM)
        said = await child.stderr.read()
        assert await child.wait() == 0
        assert b"service_stopped" in said
