"""From an alert to its target: labels first, then the owners of the pod or ReplicaSet they name."""

from dataclasses import dataclass

from receiver import alerts as al
from receiver.alerts import Alert, Named
from receiver.controller.answers import Sender
from receiver.controller.ports import Obj
from receiver.controller.setup import OWN, Ref, Setup
from receiver.reasons import Reason
from receiver.rollout import HASH


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Where an alert leads: to a target, or to the reason why to none.

    `hash` is the pod-template-hash of the revision that the alert names, "" when it names none.
    """

    alert: Alert
    asks: bool
    reason: Reason | None = None
    ref: Ref = OWN
    hash: str = ""
    track: str = ""
    detail: str = ""


async def route(setup: Setup, alert: Alert, sender: Sender) -> Routed:
    """Find the target of one alert: rules 2 and 3 of the table, as far as no Deployment is needed.

    Raises what the Kubernetes API raises when an owner has to be looked up.
    """
    asks = al.asks(alert, setup.policy.matchers)
    if alert.name == setup.watchdog:
        # Resolved, it says that Prometheus no longer tells Alertmanager that it lives.
        lives = Reason.WATCHDOG if alert.firing else Reason.RESOLVED
        return Routed(alert=alert, asks=False, reason=lives)
    if not asks:
        return Routed(alert=alert, asks=False, reason=Reason.NOTIFY_ONLY)
    named = al.named(alert, setup.targets)
    reason, detail = _refusal(setup, named, sender)
    if reason is not None:
        ref = Ref(named.namespace, named.deployment)
        return Routed(alert=alert, asks=True, reason=reason, ref=ref, detail=detail)
    found = await _owner(setup, named)
    if isinstance(found, Reason):
        ref = Ref(named.namespace, named.deployment or named.replicaset or named.pod)
        return Routed(alert=alert, asks=True, reason=found, ref=ref)
    deployment, hash_ = found
    return Routed(
        alert=alert,
        asks=True,
        ref=Ref(named.namespace, deployment),
        hash=hash_,
        track=named.track,
    )


def _refusal(setup: Setup, named: Named, sender: Sender) -> tuple[Reason | None, str]:
    if setup.cluster_name and named.cluster != setup.cluster_name:
        said = al.text(named.cluster, 100) or "no cluster"
        return Reason.OTHER_CLUSTER, f"the alert says {said}, this is {setup.cluster_name}"
    if named.invalid:
        return Reason.INVALID_TARGET, "label " + ", ".join(named.invalid)
    if named.kind:
        return Reason.KIND_NOT_SUPPORTED, named.kind
    if not named.namespace or not (named.deployment or named.replicaset or named.pod):
        return Reason.NO_TARGET, ""
    if setup.namespaces and named.namespace not in setup.namespaces:
        return Reason.NAMESPACE_NOT_ALLOWED, named.namespace
    if sender.namespaces and named.namespace not in sender.namespaces:
        return Reason.TOKEN_NOT_ALLOWED, named.namespace
    return None, ""


async def _owner(setup: Setup, named: Named) -> tuple[str, str] | Reason:
    """Return (Deployment, hash). A pod label of another workload does not outvote `deployment`.

    kube-state-metrics puts its own pod on what it exports; only an owner that is this very
    Deployment tells its revision.
    """
    replicaset, kind = await _replicaset(setup, named)
    owner = _controller(replicaset) if replicaset is not None else None
    if owner is not None and owner.get("kind") == "Deployment":
        hash_ = (replicaset or {})["metadata"].get("labels", {}).get(HASH, "")
        if not named.deployment or owner["name"] == named.deployment:
            return owner["name"], hash_
    if named.deployment:
        return named.deployment, ""
    if kind or replicaset is not None:
        return Reason.KIND_NOT_SUPPORTED
    return Reason.TARGET_NOT_FOUND


async def _replicaset(setup: Setup, named: Named) -> tuple[Obj | None, str]:
    """Return the ReplicaSet named, or that of the pod named, and the kind of another owner."""
    if named.replicaset:
        return await setup.cluster.replicaset(named.namespace, named.replicaset), ""
    if not named.pod:
        return None, ""
    pod = await setup.cluster.pod(named.namespace, named.pod)
    if pod is None:
        # A crashed pod may be gone when its alert arrives; a ReplicaSet names its pods after
        # itself (k/k pkg/controller/controller_utils.go, generateName).
        name, dash, _ = named.pod.rpartition("-")
        return (await setup.cluster.replicaset(named.namespace, name) if dash else None), ""
    owner = _controller(pod)
    if owner is None:
        return None, "Pod"
    if owner.get("kind") != "ReplicaSet":
        return None, str(owner.get("kind"))
    return await setup.cluster.replicaset(named.namespace, owner["name"]), ""


def _controller(obj: Obj) -> Obj | None:
    references = obj["metadata"].get("ownerReferences") or ()
    return next((r for r in references if r.get("controller")), None)
