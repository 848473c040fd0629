"""The commands of the README's installation, on a real API server with strict validation."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.manifests import RELEASE, kustomized, run, tools
from tests.controlplane.plane import ControlPlane
from tests.controlplane.world import REAL, client
from tests.k8s.shipped import K8S
from tests.kube.http import Http, Obj

pytestmark = [*REAL, pytest.mark.usefixtures("operator")]

README = K8S.parent / "README.md"
OWN = f"/api/v1/namespaces/{RELEASE}"
SWITCH = f"{OWN}/configmaps/rollback-receiver-switch"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{RELEASE}/deployments/{RELEASE}"


class Terminal:
    """A shell in a folder that holds `k8s/`, with kubectl and helm on the path."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._folder = folder
        (folder / "k8s").symlink_to(K8S)
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").symlink_to(plane.connection.kubectl)
        (folder / "bin" / "helm").symlink_to(tools() / "helm")
        self._environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "KUBECONFIG": str(plane.connection.kubeconfig),
            "HELM_CACHE_HOME": str(folder / "helm"),
        }

    async def type(self, text: str) -> str:
        """Do what somebody types, who stops at the first error."""
        script = f"set -eu -o pipefail; cd '{self._folder}'\n{text}"
        return await run("bash", "-c", script, **self._environment)

    async def follow(self, part: str) -> str:
        """Do what the README says."""
        found = re.search(
            rf"^<!-- tried: {part} -->\n```\n(.*?)^```$",
            README.read_text(),
            re.MULTILINE | re.DOTALL,
        )
        assert found is not None, part
        return await self.type(found[1])


def test_each_command_of_the_readme_on_a_cluster_is_tried() -> None:
    marks = re.findall(r"^<!-- tried: ([\w-]+) -->$", README.read_text(), re.MULTILINE)
    assert marks == ["prepare", "kustomize", "helm", "opt-in"]


def _secrets(folder: Path) -> None:
    """Write what the configuration names, but for the token, which the README makes."""
    (folder / "secrets").mkdir()
    text = (K8S / "overlays" / "prod" / "receiver.yaml").read_text()
    for name in set(re.findall(r"/etc/rollback-receiver/secrets/([\w-]+)", text)):
        if name != "webhook-token":
            (folder / "secrets" / name).write_text("x")


async def _pods(http: Http) -> list[Obj]:
    found: list[Obj] = (await http.get(f"{OWN}/pods")).body["items"]
    return found


async def test_the_installation_of_the_readme_works_by_helm_and_by_kustomize(
    tmp_path: Path, plane: ControlPlane
) -> None:
    _secrets(tmp_path)
    terminal = Terminal(plane, tmp_path)
    async with client(plane.connection) as http:
        try:
            await terminal.type("kubectl create namespace shop")
            await terminal.follow("prepare")
            await terminal.follow("helm")
            assert "deployed" in await terminal.type(f"helm status {RELEASE} -n {RELEASE}")
            assert (await http.get(DEPLOYMENT)).body["spec"]["replicas"] == 2
            await terminal.type(f"helm uninstall {RELEASE} -n {RELEASE}")
            assert (await http.get(DEPLOYMENT)).status == 404

            said = await terminal.follow("kustomize")
            rendered = await kustomized(plane.connection, "overlays/prod")
            assert said.count("serverside-applied") == len(rendered)
            await _admitted(http)
            await _stays_stopped(http, terminal)
            await _is_for_a_bare_cluster(plane, terminal)

            example = "--image=app:1 --replicas=0"
            await terminal.type(f"kubectl -n shop create deployment checkout {example}")
            await terminal.follow("opt-in")
            listed = "kubectl -n shop get deployments -l rollback-receiver/enabled=true -o name"
            assert len((await terminal.type(listed)).split()) == 3
        finally:
            gone = "--ignore-not-found --wait=false"
            await terminal.type(f"kubectl delete -k k8s/overlays/prod {gone}")
            await terminal.type(f"kubectl delete namespace shop {gone}")


async def _admitted(http: Http) -> None:
    """Wait for both pods, which Pod Security lets in; and see it refuse what it should."""

    async def pod(**changed: Any) -> int:
        template = (await http.get(DEPLOYMENT)).body["spec"]["template"]
        spec = template["spec"] | changed
        body = {"metadata": {"generateName": "try-"}, "spec": spec}
        return (await http.post(f"{OWN}/pods", body, dryRun="All")).status

    async with asyncio.timeout(20):
        while len(await _pods(http)) < 2:
            await asyncio.sleep(0.1)
    assert await pod() == 201
    for unsafe in (
        {"securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}},
        {"securityContext": {"runAsNonRoot": True}},
        {"hostNetwork": True},
    ):
        assert await pod(**unsafe) == 403, unsafe


async def _stays_stopped(http: Http, terminal: Terminal) -> None:
    """Apply again after a person has stopped the automation."""
    stopped = await http.merge(SWITCH, {"data": {"stop": "we look first"}})
    assert stopped.status == 200
    await terminal.follow("kustomize")
    assert (await http.get(SWITCH)).body["data"] == {"stop": "we look first"}


async def _is_for_a_bare_cluster(plane: ControlPlane, terminal: Terminal) -> None:
    """Try the other overlay, which has nothing of the operator's kinds."""
    rendered = await kustomized(plane.connection, "overlays/dev")
    assert not [kind for (kind, *_), obj in rendered.items() if "coreos" in obj["apiVersion"]]
    said = await terminal.type("kubectl apply --server-side --dry-run=server -k k8s/overlays/dev")
    assert said.count("serverside-applied (server dry run)") == len(rendered)
