"""The shipped Roles are exactly the rights that the service asks for at its start."""

from pathlib import Path
from typing import Any

import yaml

from receiver.kube import rights

K8S = Path(__file__).parents[2] / "k8s"


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((K8S / name).read_text()))


def _granted(name: str, role: str) -> set[tuple[str, str, str]]:
    roles = [d for d in _documents(name) if (d["kind"], d["metadata"]["name"]) == ("Role", role)]
    return {
        (group, resource, verb)
        for rule in roles[0]["rules"]
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


def test_the_switch_is_shipped_and_does_not_stop() -> None:
    switch = next(
        d
        for d in _documents("receiver.yaml")
        if d["metadata"]["name"] == "rollback-receiver-switch"
    )
    assert "stop" not in (switch.get("data") or {})
