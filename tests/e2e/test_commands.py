"""The commands that ask something and end, as processes, on a cluster with some history."""

import asyncio
import json
import socket
from pathlib import Path

import aiohttp
import pytest
import yaml

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.sandbox import Sandbox
from tests.e2e.processes import COMMAND, served
from tests.stage import firing, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


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


@pytest.fixture
def config(tmp_path: Path) -> Path:
    sandbox = Sandbox(SystemClock())
    # Nobody listens there: `check` asks nobody.
    return demo.write_config(
        tmp_path, sandbox.kubeconfig("http://127.0.0.1:9"), "http://127.0.0.1:9"
    )


async def test_check_says_that_a_configuration_is_well_and_starts_nothing(config: Path) -> None:
    code, said, complained = await _run("check", "--config", str(config))
    sinks = "prod-alerts, engineering, deployments, pagerduty"
    assert (code, complained) == (0, "")
    assert said == f"{config}: well; mode act, tells {sinks}\n"


@pytest.mark.parametrize("command", [("check",), ("serve",), ("explain", "-")], ids=lambda c: c[0])
async def test_a_broken_configuration_is_refused_with_every_problem_at_once(
    config: Path, command: tuple[str, ...]
) -> None:
    document = yaml.safe_load(config.read_text())
    document["polcy"] = document.pop("policy")
    document["server"]["port"] = "eighty"
    document["kubernetes"]["namespaces"] = []
    config.write_text(yaml.safe_dump(document))
    code, said, complained = await _run(*command, "--config", str(config))
    assert (code, said) == (2, "")
    first, *problems = complained.splitlines()
    assert first == f"{config}: 3 problems"
    assert [problem.split()[0] for problem in problems] == [
        "kubernetes.namespaces",
        "polcy",
        "server.port",
    ]
    assert problems[1].endswith("is no setting; did you mean policy?")


async def test_a_configuration_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    for command in ("check", "serve"):
        code, said, complained = await _run(command, "--config", str(path))
        assert (code, said) == (2, "")
        assert "cannot be read (FileNotFoundError)" in complained


async def test_a_port_that_is_taken_is_said_in_one_line(config: Path) -> None:
    with socket.socket() as taken:
        taken.bind((pair.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("port: 0", f"port: {port}"))
        code, said, complained = await _run("serve", "--config", str(config))
    assert (code, said) == (1, "")
    line = f"rollback-receiver: cannot listen on {pair.HOST}, port {port}: Address already in use"
    assert complained.splitlines()[-1] == line
    assert "Traceback" not in complained


async def test_explain_says_for_each_alert_what_would_be_decided_and_writes_nothing(
    tmp_path: Path,
) -> None:
    sandbox = Sandbox(SystemClock())
    async with sandbox.serve() as kubernetes:
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        for tag in ("v1", "v2"):
            labels = {"rollback-receiver/enabled": "true"}
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=labels)
            await sandbox.settled()
        config = demo.write_config(tmp_path, sandbox.kubeconfig(kubernetes), "http://127.0.0.1:9")
        now = SystemClock().now()
        alerts = [firing(now, for_="0s"), firing(now, deployment="nobody")]
        file = tmp_path / "alerts.json"
        file.write_text(json.dumps(webhook(*alerts)))
        sandbox.clear_log()
        code, said, _ = await _run("explain", str(file), "--config", str(config))
        name = alerts[0]["labels"]["alertname"]
        assert (code, said.splitlines()) == (
            0,
            [
                f"{name} ({alerts[0]['fingerprint']}), shop/checkout:",
                "  roll_back: rolled_back. It is to be rolled back to revision 1.",
                f"{name} ({alerts[1]['fingerprint']}), shop/nobody:",
                "  refuse: target_not_found. There is no such Deployment.",
            ],
        )
        assert [w for w in sandbox.writes if w.by == "rollback-receiver"] == []

        file.write_text('{"text": "no webhook"}')
        code, said, complained = await _run("explain", str(file), "--config", str(config))
        assert (code, said) == (1, "")
        assert complained.startswith("rollback-receiver: the body is no Alertmanager webhook")
        code, _, complained = await _run("explain", "nowhere.json", "--config", str(config))
        assert (code, complained) == (2, "nowhere.json: FileNotFoundError\n")
