"""The shipped manifests say what the service needs: rights, names, times, files."""

import json
import re
from collections import Counter
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver import __version__
from receiver import release as rl
from receiver import rollout as ro
from receiver.config import Settings, parse
from receiver.config.settings import Server
from receiver.kube import rights
from tests.k8s.shipped import K8S, REVIEWS, STATE, TARGET, documents, shipped

OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
SECRETS = "/etc/rollback-receiver/secrets"


def _granted(name: str, role: str, kind: str = "Role") -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in shipped(name, kind, role)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _pod() -> dict[str, Any]:
    deployment = shipped("base/deployment.yaml", "Deployment", "rollback-receiver")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def _secrets(text: str) -> list[str]:
    return re.findall(rf"{SECRETS}/([\w-]+)", text)


def _settings(overlay: str, home: Path) -> Settings:
    text = (K8S / "overlays" / overlay / "receiver.yaml").read_text()
    for name in _secrets(text):
        url = "https://hooks.slack.com/services/T0/B0/x"
        (home / name).write_text(url if "slack" in name else "a-secret")
    settings = parse(text.replace(SECRETS, str(home)))
    assert isinstance(settings, Settings), [str(each) for each in settings]
    return settings


# --- rights


def test_the_role_for_targets_grants_what_is_needed_there_and_no_more() -> None:
    needed = {(r.group, r.plural, verb) for verb, r in rights.IN_TARGETS}
    assert _granted(TARGET, "rollback-receiver") == needed


def test_the_role_for_our_own_state_grants_what_is_needed_there_and_no_more() -> None:
    needed = {(r.group, r.plural, verb) for verb, r in rights.IN_OWN}
    assert _granted(STATE, "rollback-receiver-state") == needed


def test_the_cluster_role_grants_what_reviews_need_and_no_more() -> None:
    needed = {(r.group, r.plural, verb) for verb, r in rights.FOR_REVIEWS}
    assert _granted(REVIEWS, "rollback-receiver-auth", "ClusterRole") == needed


def test_only_what_reviews_need_is_granted_in_the_whole_cluster() -> None:
    files = (path.relative_to(K8S) for path in K8S.glob("**/*.yaml") if "chart" not in path.parts)
    everything = chain.from_iterable(documents(str(file)) for file in files)
    bound = [d for d in everything if d.get("kind") == "ClusterRoleBinding"]
    assert [d["roleRef"]["name"] for d in bound] == ["rollback-receiver-auth"]
    assert bound[0]["roleRef"]["kind"] == "ClusterRole"
    own = {
        "kind": "ServiceAccount",
        "name": "rollback-receiver",
        "namespace": "rollback-receiver",
    }
    assert bound[0]["subjects"] == [own]


def test_the_policy_keeps_what_people_write_from_the_receiver() -> None:
    policy = shipped(
        "base/admission-policy.yaml", "ValidatingAdmissionPolicy", "rollback-receiver-limits"
    )
    variables = {each["name"]: each["expression"] for each in policy["spec"]["variables"]}
    theirs = {
        name
        for name, meaning in ro.ANNOTATIONS.items()
        if "Written by you" in meaning and name != ro.ENABLED
    }
    assert set(json.loads(variables["theirs"].replace("'", '"'))) == theirs


def test_what_the_policy_denies_is_no_missing_right() -> None:
    """A denial without `reason` is 422; with `Forbidden` it would be 403, as without the role."""
    policy = shipped(
        "base/admission-policy.yaml", "ValidatingAdmissionPolicy", "rollback-receiver-limits"
    )
    assert all("reason" not in each for each in policy["spec"]["validations"])


# --- the configuration of the overlays


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_of_an_overlay_is_good_and_lets_people_in_by_kubernetes(
    overlay: str, tmp_path: Path
) -> None:
    settings = _settings(overlay, tmp_path)
    assert settings.auth.people.kubernetes is not None
    assert settings.auth.people.kubernetes.audience == "rollback-receiver"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_grants_rights_where_its_configuration_looks_for_targets(
    overlay: str, tmp_path: Path
) -> None:
    folder = K8S / "overlays" / overlay
    granted = {
        yaml.safe_load(file.read_text())["namespace"]
        for file in folder.glob("*/kustomization.yaml")
    }
    assert granted == set(_settings(overlay, tmp_path).kubernetes.namespaces)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_given_longer_to_end_than_the_service_takes(overlay: str, tmp_path: Path) -> None:
    pod = _pod()
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = _settings(overlay, tmp_path).server.drain.total_seconds()
    assert drain == Server().drain.total_seconds()
    assert pod["terminationGracePeriodSeconds"] >= sleep + drain + 15


def test_the_operator_is_told_what_the_readme_says_to_a_plain_alertmanager() -> None:
    (text,) = re.findall(
        r"^```yaml\n(route:.*?)^```$",
        (K8S.parent / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    plain = yaml.safe_load(text)
    (route,) = plain["route"]["routes"]
    (receiver,) = plain["receivers"]
    (webhook,) = receiver["webhook_configs"]
    spec = shipped(
        "components/alertmanager/alertmanager-config.yaml",
        "AlertmanagerConfig",
        "rollback-receiver",
    )["spec"]
    (told,) = spec["receivers"][0]["webhookConfigs"]
    (matcher,) = spec["route"]["matchers"]
    assert ['{name}{matchType}"{value}"'.format(**matcher)] == route["matchers"]
    for name, its in {
        "continue": "continue",
        "groupBy": "group_by",
        "groupWait": "group_wait",
        "groupInterval": "group_interval",
        "repeatInterval": "repeat_interval",
    }.items():
        assert spec["route"][name] == route[its], name
    assert told["url"] == webhook["url"]
    assert told["sendResolved"] is webhook["send_resolved"] is True
    assert told["httpConfig"]["followRedirects"] is webhook["http_config"]["follow_redirects"]


def test_the_image_is_that_of_this_version() -> None:
    assert _pod()["containers"][0]["image"] == f"rollback-receiver:{__version__}"
    (prod,) = documents("overlays/prod/kustomization.yaml")
    assert prod["images"] == [{"name": "rollback-receiver", "newTag": __version__}]
    (chart,) = documents("chart/Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_switch_is_shipped_and_does_not_stop() -> None:
    switch = shipped("base/switch.yaml", "ConfigMap", "rollback-receiver-switch")
    assert "data" not in switch


def test_each_dashboard_and_each_rule_is_shipped() -> None:
    (dashboards,) = documents("dashboards/kustomization.yaml")
    listed = [file for each in dashboards["configMapGenerator"] for file in each["files"]]
    assert sorted(listed) == sorted(path.name for path in (K8S / "dashboards").glob("*.json"))
    (rules,) = documents("../alert_rules/kustomization.yaml")
    folder = K8S.parent / "alert_rules"
    written = sorted(
        path.name
        for path in folder.glob("*.yaml")
        if "\nkind: PrometheusRule" in f"\n{path.read_text()}"
    )
    assert sorted(rules.get("resources", [])) == written


def test_the_examples_are_the_two_deployments_of_the_plan_opted_in() -> None:
    found = {}
    for file in sorted((K8S / "examples").glob("api-*.yaml")):
        (obj,) = documents(f"examples/{file.name}")
        found[obj["metadata"]["name"]] = obj
    assert list(found) == ["api-deployment-canary", "api-deployment"]
    for obj in found.values():
        assert obj["metadata"]["labels"][ro.ENABLED] == "true"
        # `kubectl set image deployment/api-deployment api=IMAGE`
        assert [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]] == ["api"]
        assert obj["spec"]["revisionHistoryLimit"] > 1
    tracks = {name: obj["metadata"]["labels"]["track"] for name, obj in found.items()}
    assert tracks == {"api-deployment": "stable", "api-deployment-canary": "canary"}
    stable = found["api-deployment"]["spec"]["replicas"]
    assert [rl.pods(stable, percent) for percent in (10, 50)] == [1, 9]
    assert [rl.share_of(stable, pods) for pods in (1, 9)] == [10, 50]
    applied = {"namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    obj = found["api-deployment-canary"]
    canary = ro.read(obj | {"metadata": obj["metadata"] | applied}, ())
    assert (canary.canary_of, canary.desired) == ("api-deployment", 0)


# --- the rollout plan


def test_the_plan_of_prod_is_the_rollout_plan(tmp_path: Path) -> None:
    (each,) = _settings("prod", tmp_path).release.plans
    plan = each.value()
    day, hours = timedelta(hours=24), timedelta(hours=4)
    assert [(s.name, s.percent, s.soak, s.approvals) for s in plan.stages] == [
        ("canary", 10, day, ()),
        ("beta", 50, day, ("engineering-lead",)),
        ("full", 100, timedelta(0), ("cto",)),
    ]
    assert plan.watch == hours
    assert [(s.name, [c.alert for c in s.health_checks]) for s in plan.stages] == [
        ("canary", []),
        ("beta", ["SlowQueries", "RedisHitRateLow", "AiSpendAboveBaseline"]),
        ("full", []),
    ]
    assert Counter(item.when for item in plan.checklist) == {"before": 8, "after": 9}


def test_a_health_check_of_prod_is_an_alert_of_ours_that_only_warns(tmp_path: Path) -> None:
    """What asks for a rollback aborts a release: as a health check it would come too late."""
    (plan,) = _settings("prod", tmp_path).release.plans
    checks = chain(plan.health_checks, *(stage.health_checks for stage in plan.stages))
    asked = [check.alert for check in checks]
    (rules,) = documents("../alert_rules/release.yaml")
    found = {
        rule["alert"]: rule["labels"]
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    health = {
        name
        for name, labels in found.items()
        if labels.get("rollback") != "auto" and not name.endswith("DataAbsent")
    }
    # Every health check of the plan is asked, and nothing else.
    assert sorted(asked) == sorted(health)
    assert {found[name]["severity"] for name in asked} == {"warning"}
