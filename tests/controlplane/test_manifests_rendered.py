"""The overlays and the chart, rendered by the real kubectl and the real helm."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from receiver import __version__
from tests.controlplane.manifests import (
    CHART,
    RELEASE,
    configuration,
    kustomized,
    run,
    templated,
    tools,
)
from tests.controlplane.plane import Connection
from tests.controlplane.world import REAL
from tests.k8s.shipped import K8S
from tests.kube.http import Obj

pytestmark = REAL
KUBERNETES: Obj = {"namespaces": ["shop"]}


def _from(overlay: str) -> list[str]:
    folder = K8S / "overlays" / overlay
    return [f"--values={folder / 'values.yaml'}", f"--set-file=config={folder / 'receiver.yaml'}"]


def _with(home: Path, **config: Any) -> str:
    return f"--set-file=config={configuration(home, **config)}"


@pytest.mark.parametrize("overlay", ["dev", "prod"])
async def test_an_overlay_and_the_chart_are_the_same_objects(
    kubernetes: Connection, overlay: str
) -> None:
    overlaid = await kustomized(kubernetes, f"overlays/{overlay}")
    # Helm keeps its release in the namespace, so that has to be there first.
    namespace = overlaid.pop(("Namespace", "", RELEASE))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert await templated(*_from(overlay)) == overlaid
    assert len(overlaid) > 14


async def test_a_packaged_chart_holds_the_rules_and_the_dashboards(tmp_path: Path) -> None:
    await run(tools() / "helm", "package", CHART, "--destination", tmp_path)
    found = await templated(*_from("prod"), chart=tmp_path / f"{RELEASE}-{__version__}.tgz")
    assert found == await templated(*_from("prod"))
    kinds = [kind for kind, _, name in found if kind == "PrometheusRule" or "dashboard" in name]
    assert len(kinds) == len(list((K8S / "dashboards").glob("*.json"))) + 2


async def test_the_chart_is_without_fault_for_helm() -> None:
    said = await run(tools() / "helm", "lint", "--strict", CHART, "-n", RELEASE, *_from("prod"))
    assert "0 chart(s) failed" in said


async def test_each_namespace_of_targets_has_its_role_and_its_route(tmp_path: Path) -> None:
    config = _with(tmp_path, kubernetes={"namespaces": ["a", "b"], "state_namespace": "ops"})
    found = await templated(config, namespace="ops")
    for kind in ("Role", "RoleBinding", "AlertmanagerConfig"):
        assert {space for k, space, name in found if (k, name) == (kind, "ops")} == {"a", "b"}
    for space in ("a", "b"):
        (subject,) = found["RoleBinding", space, "ops"]["subjects"]
        assert subject["namespace"] == "ops"
        (receiver,) = found["AlertmanagerConfig", space, "ops"]["spec"]["receivers"]
        (webhook,) = receiver["webhookConfigs"]
        assert webhook["url"].startswith("http://rollback-receiver.ops.svc:")
    policy = found["ValidatingAdmissionPolicy", "", "ops-limits"]["spec"]
    assert "system:serviceaccount:ops:" in policy["matchConditions"][0]["expression"]
    # Nothing of it bears a name that a second installation would bear, too.
    assert all(name.startswith("ops") for _, space, name in found if space != "ops")


@pytest.mark.parametrize(
    ("auth", "reviews"),
    [
        ({"webhook": {"bearer_tokens": [{"file": "/x"}]}}, False),
        ({"people": {"kubernetes": {}}}, True),
        ({"webhook": {"kubernetes": {"service_accounts": ["monitoring/am"]}}}, True),
    ],
)
async def test_who_reviews_no_tokens_gets_no_cluster_role(
    tmp_path: Path, auth: Obj, reviews: bool
) -> None:
    found = await templated(_with(tmp_path, auth=auth, kubernetes=KUBERNETES))
    kinds = {kind for kind, _, _ in found if kind.startswith("ClusterRole")}
    assert kinds == ({"ClusterRole", "ClusterRoleBinding"} if reviews else set())


async def test_another_configuration_is_another_rollout(tmp_path: Path) -> None:
    pods = []
    for mode in ("shadow", "act"):
        config = _with(tmp_path, kubernetes=KUBERNETES, policy={"mode": mode})
        found = await templated(config)
        pods.append(found["Deployment", RELEASE, RELEASE]["spec"]["template"])
    assert pods[0] != pods[1]


async def test_what_prometheus_selects_by_is_set_for_all_that_it_reads(tmp_path: Path) -> None:
    config = _with(tmp_path, kubernetes=KUBERNETES)
    found = await templated(config, "--set=monitoring.labels.release=kps")
    for (kind, _, _), obj in found.items():
        if obj["apiVersion"].startswith("monitoring.coreos.com"):
            assert obj["metadata"]["labels"]["release"] == "kps", kind


@pytest.mark.parametrize(
    ("values", "config", "complaint"),
    [
        ([], None, "config is missing"),
        ([], {"kubernetes": {"namespaces": []}}, "names no namespace"),
        ([], {"kubernetes": KUBERNETES | {"state_namespace": "x"}}, "is installed in"),
        ([], {"kubernetes": KUBERNETES, "server": {"port": 9000}}, "go to 8080"),
        (["--set=replica=3"], {"kubernetes": KUBERNETES}, "replica"),
        (["--set=replicas=0"], {"kubernetes": KUBERNETES}, "replicas"),
    ],
)
async def test_the_chart_refuses_what_cannot_work(
    tmp_path: Path, values: list[str], config: Obj | None, complaint: str
) -> None:
    given = [] if config is None else [_with(tmp_path, **config)]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await templated(*values, *given)
    assert complaint in caught.value.stderr
