"""The manifests as they are shipped."""

from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parents[2] / "k8s"
STATE, TARGET = "base/state-role.yaml", "target/role.yaml"
REVIEWS = "components/reviews/cluster-role.yaml"


def documents(name: str) -> list[dict[str, Any]]:
    """Return all of a manifest."""
    return list(yaml.safe_load_all((K8S / name).read_text()))


def shipped(name: str, kind: str, called: str) -> dict[str, Any]:
    """Return one document of a manifest."""
    [found] = [d for d in documents(name) if (d["kind"], d["metadata"]["name"]) == (kind, called)]
    return found
