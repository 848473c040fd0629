"""The Kubernetes API: the only importer of `kubernetes_asyncio`, and of it only what connects."""

from receiver.kube.cluster import KubernetesCluster
from receiver.kube.connection import connect

__all__ = ["KubernetesCluster", "connect"]
