"""What we must be allowed to do, and how to ask: pure. The shipped Roles grant just this."""

from receiver.kube.answers import Obj
from receiver.kube.paths import (
    ACCESS_REVIEWS,
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    REPLICASETS,
    SUBJECT_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)

# In each namespace with targets.
IN_TARGETS: tuple[tuple[str, Resource], ...] = (
    *((verb, DEPLOYMENTS) for verb in ("get", "list", "watch", "patch")),
    *((verb, REPLICASETS) for verb in ("get", "list")),
    ("get", PODS),
    ("create", EVENTS),
)
# In the namespace of our own state.
IN_OWN = tuple(
    (verb, CONFIGMAPS) for verb in ("get", "list", "create", "update", "patch", "delete")
)

# In no namespace, and only where tokens of others are reviewed.
FOR_REVIEWS = (("create", TOKEN_REVIEWS), ("create", SUBJECT_REVIEWS))
# What they are reported under: no namespace can be called so.
WHOLE_CLUSTER = "whole cluster"

# What is asked of the API server, as metrics name it: each right, and whether we have it.
CALLS: tuple[tuple[str, str], ...] = tuple(
    (verb, str(resource))
    for verb, resource in (*IN_TARGETS, *IN_OWN, *FOR_REVIEWS, ("create", ACCESS_REVIEWS))
)


def review_of(verb: str, resource: Resource, namespace: str) -> Obj:
    """Return a SelfSubjectAccessReview; namespace "" asks about the whole cluster."""
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "group": resource.group,
                "resource": resource.plural,
            }
        },
    }


def is_allowed(review: Obj) -> bool:
    """Read the answer; what is not said plainly is denied."""
    status = review.get("status")
    return isinstance(status, dict) and status.get("allowed") is True
