"""The commands of the pages on a real API server, beside an installed and running service.

All that name this file are typed into one shell, page by page, as somebody would who begins with
the installation and then reads on. The pages call the namespace of the service `rollback-receiver`;
here it has another name, so a kubectl of ours stands before the real one and puts that in its
place. There are no nodes: what `kubectl exec` would run in the service's pod runs beside it.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver import app, demo
from tests.controlplane.conftest import operator
from tests.controlplane.manifests import in_force, installed, run, somebody
from tests.controlplane.plane import Connection
from tests.controlplane.scene import Scene
from tests.controlplane.world import REAL
from tests.docs.pages import DOCS, Block, blocks, read, tool
from tests.stage import NAME

__all__ = ["operator"]  # a fixture

pytestmark = REAL

HERE = "tests/docs/test_cluster.py"
FIRST = (DOCS / "installation.md", DOCS / "runbooks" / "README.md")
# It stops, repairs and rotates.
LAST = DOCS / "operations.md"

KUBECTL = """\
#!/usr/bin/env bash
# Usage: as kubectl.
set -eu
arguments=() before=""
while [ $# -gt 0 ]; do
  [ "$1" != -- ] || break
  if [ "$before" = -n ] && [ "$1" = rollback-receiver ]; then arguments+=("$STATE_NAMESPACE")
  else arguments+=("$1"); fi
  before=$1
  shift
done
if [[ " ${arguments[*]} " == *" exec "* ]]; then
  shift
  # The pod would have it there.
  exec "${@//\\/etc\\/rollback-receiver\\/config\\/receiver.yaml/$CONFIGURATION}"
fi
exec "$REAL_KUBECTL" "${arguments[@]}" "$@"
"""


def in_order() -> Iterator[Block]:
    """Yield the blocks to be typed: each text once, and who is let in opens a session at once."""
    found = blocks("sh", HERE)
    (session,) = (block for block in found if "rr() {" in block.text)
    rest = sorted(found, key=lambda b: (b.page not in FIRST, b.page == LAST, b.page, b.line))
    said: set[str] = set()
    for block in rest:
        if block.text in said:
            continue
        said.add(block.text)
        yield block
        if "auth can-i" in block.text:
            said.add(session.text)
            yield session


def script() -> str:
    """Return what is typed. Before each block stands its place, and a right takes a moment."""
    lines = ["set -eu -o pipefail"]
    for block in in_order():
        text = block.text
        if "auth can-i" in text:
            text = "".join(f"until {line}; do sleep 0.1; done\n" for line in text.splitlines())
        lines += [f"echo '@ {block.place}' >&2", text]
    return "\n".join(lines)


async def prepared(on: Scene, folder: Path, where: Connection) -> dict[str, str]:
    """Do what the installation did before; return the environment of the shell."""
    (folder / "bin").mkdir()
    kubectl = folder / "bin" / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    for namespace, name, key in (
        (on.state_namespace, "rollback-receiver", "webhook-token"),
        (on.namespace, "rollback-receiver-webhook", "token"),
    ):
        body = {"metadata": {"name": name}, "stringData": {key: demo.TOKEN}}
        answer = await on.world.http.post(f"/api/v1/namespaces/{namespace}/secrets", body)
        assert answer.status == 201, answer
    python = Path(sys.executable).parent
    kubeconfig = {"KUBECONFIG": str(where.kubeconfig)} if where.kubeconfig else {}
    return {
        "PATH": f"{folder / 'bin'}:{python}:{os.environ['PATH']}",
        "REAL_KUBECTL": where.kubectl,
        "STATE_NAMESPACE": on.state_namespace,
        "CONFIGURATION": str(folder / "receiver.yaml"),
        "NS": on.namespace,
        "NAME": NAME,
        "HOME": str(folder),
    } | kubeconfig


async def something_happened(on: Scene, replica: app.Replica) -> None:
    """Hear a Watchdog, and roll a bad release back, so that there is something to be looked at."""
    assert await on.fires(replica, alertname="Watchdog") == "watchdog"
    await on.release("v1", "v2", "v3-bad", replicas=1)
    async with somebody(on.world) as me:
        await in_force(on, me, NAME)
    began = on.clock.now()
    assert await on.fires(replica, began) == "rolled_back"
    await on.ended(replica, "verifying")
    await on.resolves(replica, began)
    await on.ended(replica, "recovered")

    async def cooled_down() -> bool:
        # By hand, "the last good one" twice within the cooldown is refused.
        return (await on.rollback(replica, dry_run=True))[0] == 200

    await on.world.until(cooled_down)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("operator")
async def test_the_commands_of_the_pages_work_on_a_cluster(
    tmp_path: Path, kubernetes: Connection
) -> None:
    for program in ("curl", "jq", "openssl"):
        tool(program)
    async with installed(tmp_path, kubernetes) as on:
        environment = await prepared(on, tmp_path, kubernetes)
        async with on.quick() as replica:
            await on.ready(replica)
            await something_happened(on, replica)
            environment["RR"] = replica.url
            text = f"cd '{tmp_path}'\n{script()}"
            process = await asyncio.create_subprocess_exec(
                "bash",
                "-c",
                text,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await process.communicate()
            said = out.decode()
            assert process.returncode == 0, f"...{said[-3000:]}"
            _as_the_pages_say(said)
        await _manifests(on, environment, tmp_path)


def _as_the_pages_say(said: str) -> None:
    """See that the commands found what they looked for, beyond ending well."""
    parts = dict(part.partition("\n")[::2] for part in said.split("@ docs/")[1:])

    def part(page: str, holding: str) -> str:
        (found,) = (
            text
            for place, text in parts.items()
            for block in read(DOCS / page).blocks
            if place == f"{page}:{block.line}" and holding in block.text
        )
        return found

    assert '"enabled": true' in part("installation.md", "api/v1/deployments")
    assert '"reason": "' in part("installation.md", "dry_run=true")
    assert '"phase": "recovered"' in part("runbooks/README.md", ".incidents[] | {id")
    assert '"stopped": true' in part("operations.md", "PUT")
    assert "false" in part("operations.md", "-X DELETE")
    assert "configmap/rollback-receiver-replicas patched" in part("operations.md", "KEY=")
    assert "pagerduty: delivered" in part("installation.md", "test-notify")
    assert "ByHand (0123456789abcdef)" in part("installation.md", "explain")
    first, second = part("runbooks/WebhooksRefused.md", "sha256sum").split("\n")[:2]
    assert first == second


async def _manifests(on: Scene, environment: dict[str, str], folder: Path) -> None:
    """Apply the manifests of the pages, as far as the API server judges them."""
    found = blocks("yaml", HERE)
    assert {block.name for block in found} == {"kube-prometheus.yaml", "watchdog.yaml"}
    for block in found:
        text = block.text
        for namespace in ("rollback-receiver", "monitoring"):
            text = text.replace(f"namespace: {namespace}", f"namespace: {on.state_namespace}")
        file = folder / block.name
        file.write_text(text)
        kubectl = shutil.which("kubectl", path=environment["PATH"])
        assert kubectl is not None
        said = await run(kubectl, "apply", "--dry-run=server", "-f", file, **environment)
        assert said.count("(server dry run)") == text.count("\nkind: ")
