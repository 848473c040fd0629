"""The commands that ask something and end, as processes, on a cluster with some history."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.sandbox import Sandbox
from tests.e2e.processes import COMMAND, served
from tests.stage import firing, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


async def _run(*arguments: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode(), complained.decode()


async def test_scorecard_and_state_say_what_is_remembered(tmp_path: Path) -> None:
    sandbox = Sandbox(SystemClock())
    async with sandbox.serve() as kubernetes:
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        config = demo.write_config(
            tmp_path, sandbox.kubeconfig(kubernetes), "http://127.0.0.1:9", mode="shadow"
        )
        options = ("--config", str(config))
        code, said, _ = await _run("scorecard", *options)
        assert (code, said) == (0, "Shadow mode has held nothing back yet.\n")
        code, _, complained = await _run("state", "show", "shop/checkout", *options)
        assert (code, complained) == (1, "nothing is remembered of shop/checkout\n")
        code, _, complained = await _run("state", "show", "checkout", *options)
        assert (code, complained) == (2, "checkout: is not NAMESPACE/NAME\n")

        labels = {"rollback-receiver/enabled": "true"}
        for tag in ("v1", "v2"):
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=labels)
            await sandbox.settled()
        port = pair.free_port()
        async with (
            served(config, port, tmp_path / "log") as url,
            aiohttp.ClientSession() as session,
        ):
            body = webhook(firing(SystemClock().now(), for_="0s"))
            headers = {"Authorization": f"Bearer {demo.TOKEN}"}
            async with session.post(f"{url}/api/v1/alerts", json=body, headers=headers) as answer:
                assert (await answer.json())["alerts"][0]["reason"] == "shadow"

        code, said, _ = await _run("scorecard", *options)
        assert code == 0
        assert "would have rolled back 1 time(s)" in said
        assert "shop/checkout" in said
        code, said, _ = await _run("state", "show", "shop/checkout", *options)
        assert code == 0
        assert '"rehearsals"' in said
        code, said, _ = await _run("state", "export", *options)
        assert code == 0
        exported = json.loads(said)
        assert {"rollback-receiver-ledger"} < set(exported)
        (journal,) = [text for name, text in exported.items() if name.startswith("journal-shop")]
        assert json.loads(journal)["version"] == 2
