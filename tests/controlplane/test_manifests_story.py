"""Installed by helm on a real API server, the service does its work: with all rights, and no more.

What it called is read from the audit log of the API server; what it may call, from the chart.
"""

import base64
import itertools
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver import app, demo
from receiver.clock import SystemClock
from receiver.controller.setup import OPEN_LABEL
from receiver.demo import pair
from tests.controlplane.manifests import in_force, installed, somebody
from tests.controlplane.plane import ControlPlane
from tests.controlplane.scene import ACCOUNT, Scene, ours
from tests.controlplane.world import RBAC, REAL
from tests.stage import NAME, firing, webhook

pytestmark = [*REAL, pytest.mark.usefixtures("operator")]

# namespace, group, resource, verb
Right = tuple[str, str, str, str]
# What everybody may (ClusterRole system:basic-user): the service asks it what it may itself.
OF_ALL = {("", "authorization.k8s.io", "selfsubjectaccessreviews", "create")}


class Later(SystemClock):
    """The machine's clock, set forward by `ahead`."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


def _called(plane: ControlPlane, on: Scene) -> set[Right]:
    user = f"system:serviceaccount:{on.state_namespace}:{ACCOUNT}"
    return {
        (
            about.get("namespace", ""),
            about.get("apiGroup", ""),
            "/".join(filter(None, (about["resource"], about.get("subresource")))),
            record["verb"],
        )
        for record in plane.called(user)
        if record["user"]["username"] == user
        for about in [record["objectRef"]]
    }


async def _granted(on: Scene) -> set[Right]:
    """Return the rights that the installed bindings give the account, read from the API server."""
    found: set[Right] = set()
    spaces = (on.namespace, on.state_namespace, "")
    for space, kind in itertools.product(spaces, ("rolebindings", "clusterrolebindings")):
        if bool(space) != (kind == "rolebindings"):
            continue
        inside = f"{RBAC}/namespaces/{space}" if space else RBAC
        bindings = (await on.world.http.get(f"{inside}/{kind}")).body["items"]
        for binding in bindings:
            if {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": on.state_namespace} not in [
                {key: subject.get(key) for key in ("kind", "name", "namespace")}
                for subject in binding.get("subjects", ())
            ]:
                continue
            role = binding["roleRef"]
            assert bool(space) == (role["kind"] == "Role"), binding
            path = f"{inside}/{role['kind'].lower()}s/{role['name']}"
            rules: list[dict[str, Any]] = (await on.world.http.get(path)).body["rules"]
            found |= {
                (space, group, resource, verb)
                for rule in rules
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
    return found


async def _asked(on: Scene, replica: app.Replica) -> None:
    """Let a person look and roll back, with a token of Kubernetes."""
    await on.world.account("alice")
    rule: dict[str, Any] = {"apiGroups": ["apps"], "resources": ["deployments"]}
    rules = [rule | {"verbs": ["get", "list", "patch"]}]
    async with on.world.granted("alice", rules, on.namespace):
        token = await on.world.token("alice", "rollback-receiver")
        bearer: dict[str, Any] = {"Authorization": f"Bearer {token}"}

        async def let_in() -> bool:
            return (await on.ask(replica, "GET", "deployments", **bearer))[0] == 200

        await on.world.until(let_in)
        path = f"deployments/{on.namespace}/{NAME}/rollback"
        wish = {"reason": "by hand", "to_revision": 1, "wait": True}
        status, body = await on.ask(replica, "POST", path, wish, **bearer)
        assert status == 200, body


async def test_the_installed_account_is_enough_for_a_whole_rollback_and_all_of_it_is_used(
    tmp_path: Path, plane: ControlPlane
) -> None:
    async with installed(tmp_path, plane.connection) as on:
        async with on.quick() as replica:
            assert (await on.ready(replica))["checks"]["rights"] == "ok"
            await on.release("v1", "v2", "v3-bad", replicas=1)
            async with somebody(on.world) as me:
                await in_force(on, me, NAME)
            pods = await on.world.list("Pod", on.namespace)
            images = {p["spec"]["containers"][0]["image"]: p["metadata"]["name"] for p in pods}
            began = on.clock.now()
            said = await on.fires(replica, began, deployment="", pod=images["app:v3-bad"])
            assert said == "rolled_back"
            await on.ended(replica, "verifying")
            assert await on.image() == "v2"
            (written,) = ours(plane.audited(), on.namespace)
            assert written["user"]["username"].split(":")[2] == on.state_namespace
            await on.resolves(replica, began, deployment="", pod=images["app:v3-bad"])
            await on.ended(replica, "recovered")
            await _asked(on, replica)
            assert await on.image() == "v1"

            async def all_done() -> bool:
                states = await on.world.list("ConfigMap", on.state_namespace)
                labels = [state["metadata"].get("labels") or {} for state in states]
                return all(each.get(OPEN_LABEL) != "true" for each in labels)

            # A journal with work left is not collected, and is looked at again after hours.
            await on.world.until(all_done)
        # A week after the Deployment has gone, what is known of it goes, too.
        await on.world.delete("Deployment", on.namespace, NAME)
        clock = Later()
        async with on.replica(2, clock=clock):
            clock.ahead = timedelta(days=8)

            async def collected() -> bool:
                return any(verb == "delete" for *_, verb in _called(plane, on))

            await on.world.until(collected)
        assert _called(plane, on) - OF_ALL == await _granted(on)


# Python tells such a hook of whatever opens, makes, moves or deletes a file (PEP 578).
WATCHED = """
import os, sys

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "tempfile")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def watch(event, args):
    if event.startswith(CHANGES) or event == "open" and args[2] & WRITES:
        print("WROTE", event, args[0], flush=True)

sys.addaudithook(watch)
from receiver.cli import main
main()
"""


async def test_the_service_gets_along_with_a_root_file_system_that_is_read_only(
    tmp_path: Path, plane: ControlPlane
) -> None:
    log = tmp_path / "service.log"
    async with installed(tmp_path, plane.connection) as on:
        kubeconfig = on.kubeconfig()
        # A file, as in a pod: of what stands in a kubeconfig the library makes a temporary one.
        cluster = kubeconfig["clusters"][0]["cluster"]
        authority = tmp_path / "ca.crt"
        authority.write_bytes(base64.b64decode(cluster.pop("certificate-authority-data")))
        cluster["certificate-authority"] = str(authority)
        config = demo.write_config(
            tmp_path,
            kubeconfig,
            on.people_url,
            namespace=on.namespace,
            state=on.state_namespace,
            settle="200ms",
        )
        document = yaml.safe_load(config.read_text())
        document["server"]["port"] = pair.free_port()
        config.write_text(yaml.safe_dump(document))
        url = f"http://{pair.HOST}:{document['server']['port']}"
        command = [sys.executable, "-B", "-c", WATCHED, "serve", "--config", str(config)]
        async with pair.process(command, ready=f"{url}/ready", log=log):
            await on.release("v1", "v2", replicas=0)
            alert = firing(on.clock.now(), namespace=on.namespace, for_="0s")
            headers = {"Authorization": f"Bearer {demo.TOKEN}"}
            async with on.session.post(
                f"{url}/api/v1/alerts", json=webhook(alert), headers=headers
            ) as answer:
                assert answer.status == 200

            async def undone() -> bool:
                return await on.image() == "v1"

            await on.world.until(undone)

            async def told() -> bool:
                return bool(on.people.pages)

            await on.world.until(told)
    said = log.read_text()
    assert "service_stopped" in said
    assert [line for line in said.splitlines() if line.startswith("WROTE")] == []
