"""Tokens that Kubernetes issues let people and Alertmanager in, as the README says it."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

from receiver import app
from tests.controlplane.plane import Connection, ControlPlane
from tests.controlplane.scene import Scene, scene
from tests.controlplane.tokens import expired
from tests.controlplane.world import REAL
from tests.kube.http import Obj
from tests.stage import NAME, firing, webhook

pytestmark = REAL
README = Path(__file__).parents[2] / "README.md"
MAY_PATCH = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]
US = "rollback-receiver"


def _example(on: Scene, replica: app.Replica) -> str:
    """Return the README's lines for this cluster: its names, and nothing else, are replaced."""
    text = README.read_text().split("## Roll back by hand")[1]
    block = re.search(r"```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = block[1]
    assert "kubectl -n shop create token alice --audience=rollback-receiver" in lines
    for old, new in (
        ("-n shop", f"-n {on.state_namespace}"),
        ("http://rollback-receiver:8080", replica.url),
        ("/shop/checkout/", f"/{on.namespace}/{NAME}/"),
        ("$(uuidgen)", "once"),
    ):
        assert old in lines
        lines = lines.replace(old, new)
    return lines


async def _run(on: Scene, script: str) -> str:
    kubeconfig = on.home / "kubeconfig-of-a-person"
    kubeconfig.write_text(json.dumps(await on.world.kubeconfig()))
    environment = os.environ | {
        "PATH": f"{Path(on.world.where.kubectl).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(kubeconfig),
    }
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, stdout=asyncio.subprocess.PIPE, env=environment
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def _rollback(on: Scene, replica: app.Replica, token: str) -> tuple[int, Obj]:
    path = f"deployments/{on.namespace}/{NAME}/rollback"
    headers = {"Authorization": f"Bearer {token}"}
    status, body = await on.ask(replica, "POST", path, {"reason": "by hand"}, **headers)
    return status, body


async def test_the_example_of_the_readme_rolls_back(tmp_path: Path, kubernetes: Connection) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.ready(replica)
        await on.release("v1", "v2", replicas=1)
        await on.world.account("alice")
        refused = await _run(on, _example(on, replica))
        assert '"forbidden"' in refused
        assert await on.image() == "v2"
        async with on.world.granted("alice", MAY_PATCH, on.namespace):

            async def done() -> bool:
                # Each run makes a token of its own; the binding takes a moment to hold.
                return '"error"' not in await _run(on, _example(on, replica))

            await on.world.until(done)
            await on.ended(replica, "recovered")
            assert await on.image() == "v1"
            incident = await on.incident(replica)
            assert incident["by"] == f"system:serviceaccount:{on.state_namespace}:alice"


async def test_no_other_token_is_let_in(tmp_path: Path, plane: ControlPlane) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick() as replica:
        await on.ready(replica)
        await on.release("v1", "v2", replicas=1)
        await on.world.account("alice")
        async with on.world.granted("alice", MAY_PATCH, on.namespace):
            good = await on.world.token("alice", US)
            for token in (
                await on.world.token("alice"),
                await on.world.token("alice", "somebody-else"),
                expired(good, plane.key),
                good[:-8] + "tampered",
            ):
                status, body = await _rollback(on, replica, token)
                assert (status, body["error"]["reason"]) == (401, "unauthorized")
            assert await on.image() == "v2"


async def test_while_the_api_server_is_away_a_token_is_503_and_then_good_again(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with scene(tmp_path, plane.connection) as on, on.quick() as replica:
        await on.ready(replica)
        await on.release("v1", "v2", replicas=1)
        await on.world.account("alice")
        async with on.world.granted("alice", MAY_PATCH, on.namespace):
            token = await on.world.token("alice", US)
            plane.stop_api_server()
            status, body = await _rollback(on, replica, token)
            await asyncio.to_thread(plane.start_api_server)
            assert (status, body["error"]["reason"]) == (503, "auth_unavailable")

            async def done() -> bool:
                return (await _rollback(on, replica, token))[0] in (200, 202)

            await on.world.until(done)
            assert await on.image() == "v1"


async def test_alertmanager_posts_with_a_token_of_its_own_service_account(
    tmp_path: Path, kubernetes: Connection
) -> None:
    async with scene(tmp_path, kubernetes) as on, on.quick() as replica:
        await on.ready(replica)
        await on.release("v1", "v2", replicas=1)
        body = webhook(firing(on.clock.now(), namespace=on.namespace, for_="0s"))

        async def post(account: str) -> tuple[int, Any]:
            await on.world.account(account)
            token = await on.world.token(account, US)
            url = f"{replica.url}/api/v1/alerts"
            headers = {"Authorization": f"Bearer {token}"}
            async with on.session.post(url, json=body, headers=headers) as answer:
                return answer.status, await answer.json()

        status, answer = await post("somebody")
        assert (status, answer["error"]["reason"]) == (403, "forbidden")
        status, answer = await post("alertmanager")
        assert (status, answer["alerts"][0]["reason"]) == (200, "rolled_back")
        await on.ended(replica, "verifying")
        assert await on.image() == "v1"
