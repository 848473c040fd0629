"""The Kubernetes API: the only importer of `kubernetes_asyncio`, and of it only what connects."""

from receiver.kube.cluster import KubernetesCluster
from receiver.kube.connection import connect
from receiver.kube.rights import CALLS

__all__ = ["CALLS", "KubernetesCluster", "connect"]
