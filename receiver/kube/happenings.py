"""A Kubernetes Event, made so that the strict validation of events.k8s.io/v1 takes it: pure.

k/k pkg/apis/core/validation/events.go asks for every field below and bounds each.
"""

from datetime import datetime
from hashlib import sha256

from receiver.controller.ports import Happening
from receiver.kube.answers import Obj

CONTROLLER = "rollback-receiver"
LONGEST_WORD = 128  # action, reason: characters
LONGEST_NOTE = 1024  # bytes
LONGEST_STEM = 200  # of a name of 253


def event_of(happening: Happening, at: datetime) -> Obj:
    """Return the Event of a happening; `at` is in UTC.

    The name follows from the Deployment, the id and the action: the same twice is one Event.
    """
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name_of(happening), "namespace": happening.namespace},
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": CONTROLLER,
        "action": happening.action[:LONGEST_WORD],
        "reason": happening.reason[:LONGEST_WORD],
        "type": "Warning" if happening.warning else "Normal",
        "note": happening.note.encode()[:LONGEST_NOTE].decode(errors="ignore"),
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "namespace": happening.namespace,
            "name": happening.deployment,
            "uid": happening.uid,
        },
    }


def name_of(happening: Happening) -> str:
    """Return a DNS subdomain of at most 253 characters."""
    told = f"{happening.uid}/{happening.id}/{happening.action}"
    digest = sha256(told.encode()).hexdigest()[:16]
    return f"{happening.deployment[:LONGEST_STEM].rstrip('.-')}.{digest}"
