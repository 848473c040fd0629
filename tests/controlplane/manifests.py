"""What `k8s/` comes to: rendered by the real kubectl and the real helm, and installed."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from receiver.demo.people import People
from tests.controlplane.plane import BUILD, Connection
from tests.controlplane.scene import ACCOUNT, Scene
from tests.controlplane.world import RealWorld, real_world
from tests.k8s.shipped import K8S
from tests.kube.http import Http, Obj

RELEASE = "rollback-receiver"
CHART = K8S / "chart"


class Loader(yaml.CSafeLoader):
    """Reads a bare `=` as text, as YAML 1.2 does; 1.1 takes it for a type of its own."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def tools() -> Path:
    """Return the folder with helm and the schemas of the Prometheus operator."""
    said = subprocess.run([BUILD, "--where-tools"], check=True, capture_output=True, text=True)
    folder = Path(said.stdout.strip())
    if not os.access(folder / "helm", os.X_OK):
        text = "helm is not built: make control-plane"
        # In CI its absence is a failure: there it is built first.
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return folder


async def run(*command: str | Path, **environment: str) -> str:
    """Run a program; return what it prints. Raises `CalledProcessError` with what it complains."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    said, complained = await process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(
            process.returncode, str(command[0]), said.decode(), complained.decode()
        )
    return said.decode()


def objects(text: str) -> dict[tuple[str, str, str], Obj]:
    """Return the objects of a manifest by kind, namespace and name."""
    found: list[Obj] = [obj for obj in yaml.load_all(text, Loader) if obj]
    named = {
        (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj
        for obj in found
    }
    assert len(named) == len(found)
    return named


async def kustomized(where: Connection, folder: str) -> dict[tuple[str, str, str], Obj]:
    """Return what `kubectl kustomize` makes of a folder of `k8s/`."""
    return objects(await run(where.kubectl, "kustomize", K8S / folder))


async def templated(
    *arguments: str | Path, namespace: str = RELEASE, chart: Path = CHART
) -> dict[tuple[str, str, str], Obj]:
    """Return what `helm template` makes of the chart."""
    command: list[str | Path] = [
        tools() / "helm",
        "template",
        RELEASE,
        chart,
        "--namespace",
        namespace,
    ]
    return objects(await run(*command, *arguments))


def configuration(folder: Path, **more: Any) -> Path:
    """Write a configuration for the chart; return its path."""
    path = folder / "installed.yaml"
    path.write_text(yaml.safe_dump(more))
    return path


@contextlib.asynccontextmanager
async def installed(home: Path, where: Connection) -> AsyncIterator[Scene]:
    """Set the scene by `helm install`: the service runs in this process, but as its account.

    Its own Deployment is installed, too; nobody schedules its pods.
    """
    people = People()
    async with (
        real_world(where) as world,
        people.serve() as people_url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        path = f"/api/v1/namespaces/{world.state_namespace}"
        answer = await world.http.merge(path, {"metadata": {"labels": restricted}})
        assert answer.status == 200, answer
        config = configuration(
            home,
            auth={"people": {"kubernetes": {}}},
            kubernetes={
                "namespaces": [world.namespace],
                "state_namespace": world.state_namespace,
            },
        )
        helm: list[str | Path] = [tools() / "helm", "--namespace", world.state_namespace]
        if where.kubeconfig is not None:
            helm += ["--kubeconfig", where.kubeconfig]
        if where.context is not None:
            helm += ["--kube-context", where.context]
        await run(*helm, "install", RELEASE, CHART, "--set-file", f"config={config}")
        try:
            token = await world.token(ACCOUNT)
            kubeconfig = await world.kubeconfig(token)
            yield Scene(world, kubeconfig, home, world.clock, people, people_url, session)
        finally:
            await run(*helm, "uninstall", RELEASE)


@contextlib.asynccontextmanager
async def somebody(world: RealWorld, account: str = ACCOUNT) -> AsyncIterator[Http]:
    """Connect a plain HTTP client with the token of a ServiceAccount."""
    headers = {"Authorization": f"Bearer {await world.token(account)}"}
    connector = world.http.http.connector
    async with aiohttp.ClientSession(
        connector=connector, connector_owner=False, headers=headers
    ) as session:
        yield Http(world.http.url, session)


async def in_force(on: Scene, me: Http, deployment: str) -> None:
    """Wait until roles and policy have taken effect, some moments after they were installed."""
    path = on.world.path("Deployment", on.namespace, deployment)
    denied = {"op": "replace", "path": "/spec/replicas", "value": 99}

    async def holds() -> bool:
        answer = await me.patch(path, denied, dryRun="All")
        return answer.status == 422 and "limits" in answer.body["message"]

    await on.world.until(holds)
