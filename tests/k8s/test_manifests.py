"""The shipped Roles are exactly the rights that the service asks for at its start."""

from pathlib import Path

from receiver.config import Settings, parse
from receiver.kube import rights
from tests.k8s.shipped import documents, shipped


def _granted(name: str, role: str, kind: str = "Role") -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in shipped(name, kind, role)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_role_for_targets_grants_what_is_needed_there_and_no_more() -> None:
    needed = {(r.group, r.plural, verb) for verb, r in rights.IN_TARGETS}
    assert _granted("target-role.yaml", "rollback-receiver") == needed


def test_the_role_for_our_own_state_grants_what_is_needed_there_and_no_more() -> None:
    needed = {(r.group, r.plural, verb) for verb, r in rights.IN_OWN}
    assert _granted("receiver.yaml", "rollback-receiver-state") == needed


def test_the_cluster_role_grants_what_reviews_need_and_no_more() -> None:
    needed = {(r.group, r.plural, verb) for verb, r in rights.FOR_REVIEWS}
    assert _granted("receiver.yaml", "rollback-receiver-auth", "ClusterRole") == needed


def test_only_what_reviews_need_is_granted_in_the_whole_cluster() -> None:
    bound = [
        d
        for name in ("receiver.yaml", "target-role.yaml")
        for d in documents(name)
        if d["kind"] == "ClusterRoleBinding"
    ]
    assert [d["roleRef"]["name"] for d in bound] == ["rollback-receiver-auth"]
    assert bound[0]["roleRef"]["kind"] == "ClusterRole"
    own = {
        "kind": "ServiceAccount",
        "name": "rollback-receiver",
        "namespace": "rollback-receiver",
    }
    assert bound[0]["subjects"] == [own]


def test_the_shipped_configuration_is_good_and_lets_people_in_by_kubernetes(tmp_path: Path) -> None:
    config = shipped("receiver.yaml", "ConfigMap", "rollback-receiver-config")
    for name in ("webhook-token", "pagerduty-key"):
        (tmp_path / name).write_text("a-secret")
    for name in ("prod-alerts", "engineering", "deployments"):
        (tmp_path / f"slack-{name}").write_text("https://hooks.slack.com/services/T0/B0/x")
    text = config["data"]["receiver.yaml"]
    settings = parse(text.replace("/etc/rollback-receiver/secrets", str(tmp_path)))
    assert isinstance(settings, Settings), [str(each) for each in settings]
    assert settings.auth.people.kubernetes is not None
    assert settings.auth.people.kubernetes.audience == "rollback-receiver"


def test_the_switch_is_shipped_and_does_not_stop() -> None:
    switch = next(
        d for d in documents("receiver.yaml") if d["metadata"]["name"] == "rollback-receiver-switch"
    )
    assert "stop" not in (switch.get("data") or {})
