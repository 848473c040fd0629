"""The Kubernetes API as the controller's port `Cluster` wants it."""

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiException

from receiver.clock import Clock
from receiver.controller.ports import Happening, Obj, Observation, State
from receiver.errors import Conflict, Rejected, Unavailable
from receiver.kube.calls import JSON_PATCH, MERGE_PATCH, READ_WITHIN, Calls, MissingError, Query

MANAGER = "rollback-receiver"
PAGE = 500
WATCH_SECONDS = 300
SELECTORS_KEPT = 2000
ASKED_AT_ONCE = 8
NOTE = 1000
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"

# What we need, by API group: the Roles that `k8s/` ships.
IN_TARGETS = (
    *(("apps", "deployments", verb) for verb in ("get", "list", "watch", "patch")),
    *(("apps", "replicasets", verb) for verb in ("get", "list")),
    ("", "pods", "get"),
    ("events.k8s.io", "events", "create"),
)
IN_OWN = tuple(("", "configmaps", verb) for verb in ("get", "list", "create", "update", "patch"))


class KubernetesCluster:
    """Implements `receiver.controller.ports.Cluster`."""

    def __init__(
        self,
        calls: Calls,
        *,
        state_namespace: str,
        clock: Clock,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._own = state_namespace
        self._clock = clock
        self._close = close
        self._selectors: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._close()

    # --- Deployments and what belongs to them

    async def deployment(self, namespace: str, name: str) -> Obj | None:
        """Read one Deployment (quorum)."""
        return await self._get(_path("apps", namespace, "deployments", name))

    async def deployments(self, namespace: str, *, labels: str) -> list[Obj]:
        """List Deployments; "" is every namespace."""
        path = _path("apps", namespace, "deployments")
        return await self._list(path, [("labelSelector", labels)])

    async def observe(self, namespace: str, name: str) -> Observation | None:
        """Read a Deployment and its ReplicaSets: fast and fresh.

        A consistent LIST waits for etcd's progress notice, 60 ms on any busy cluster. So the
        Deployment is read by quorum beside a LIST of any age, and that is trusted only if it holds
        the ReplicaSet which the fresh Deployment speaks of.
        """
        key = (namespace, name)
        known = self._selectors.get(key)
        if known is None:
            deployment, quick = await self.deployment(namespace, name), None
        else:
            deployment, quick = await asyncio.gather(
                self.deployment(namespace, name), self._replicasets(namespace, known, fresh=False)
            )
        if deployment is None:
            self._selectors.pop(key, None)
            return None
        selector = selector_text(deployment["spec"].get("selector") or {})
        self._selectors[key] = selector
        self._selectors.move_to_end(key)
        while len(self._selectors) > SELECTORS_KEPT:
            self._selectors.popitem(last=False)
        if quick is None or selector != known:
            quick = await self._replicasets(namespace, selector, fresh=False)
        owned = _owned(deployment, quick)
        if not _fresh(deployment, owned):
            owned = _owned(deployment, await self._replicasets(namespace, selector, fresh=True))
        return Observation(deployment=deployment, replicasets=tuple(owned))

    async def _replicasets(self, namespace: str, selector: str, *, fresh: bool) -> list[Obj]:
        query = [("labelSelector", selector)]
        if not fresh:
            query.append(("resourceVersion", "0"))
        return await self._list(_path("apps", namespace, "replicasets"), query)

    async def replicaset(self, namespace: str, name: str) -> Obj | None:
        """Read one ReplicaSet (quorum)."""
        return await self._get(_path("apps", namespace, "replicasets", name))

    async def pod(self, namespace: str, name: str) -> Obj | None:
        """Read one pod (quorum)."""
        return await self._get(_path("", namespace, "pods", name))

    async def patch(
        self, namespace: str, name: str, operations: list[Obj], *, dry_run: bool = False
    ) -> Obj:
        """Apply one JSON Patch to a Deployment (kubernetes apiserver handlers/patch.go)."""
        query: Query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        if dry_run:
            query.append(("dryRun", "All"))
        path = _path("apps", namespace, "deployments", name)
        try:
            return await self._calls.call(
                "patch", path, query=query, body=operations, content_type=JSON_PATCH
            )
        except MissingError:
            raise Conflict("the Deployment is not there any more") from None

    @contextlib.asynccontextmanager
    async def watch(
        self, namespace: str, name: str, version: str
    ) -> AsyncIterator[AsyncIterator[Obj | None]]:
        """Watch one Deployment from a resourceVersion on; None: it was deleted."""
        query = [
            ("watch", "true"),
            ("fieldSelector", f"metadata.name={name}"),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        path = _path("apps", namespace, "deployments")
        silence = WATCH_SECONDS + 10
        limits = aiohttp.ClientTimeout(total=None, connect=READ_WITHIN, sock_read=silence)
        try:
            response = await self._calls.open(
                "watch", path, query=query, limits=limits, stream=True
            )
        except ApiException as error:
            raise Unavailable(f"no watch: {error.status}") from None
        events = _events(response)
        try:
            yield events
        finally:
            await events.aclose()
            response.close()

    # --- our ConfigMaps

    async def read_state(self, name: str) -> State | None:
        """Read one of our ConfigMaps (quorum)."""
        found = await self._get(_path("", self._own, "configmaps", name))
        return None if found is None else _state(found)

    async def list_states(self, *, labels: str) -> list[State]:
        """List our ConfigMaps (consistent)."""
        path = _path("", self._own, "configmaps")
        return [_state(found) for found in await self._list(path, [("labelSelector", labels)])]

    async def write_state(self, state: State) -> State:
        """Write by compare-and-set on the resourceVersion."""
        meta: Obj = {
            "name": state.name,
            "namespace": self._own,
            "labels": dict(state.labels),
        }
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(state.data)}
        query: Query = [("fieldManager", MANAGER)]
        if state.version is None:
            path = _path("", self._own, "configmaps")
            return _state(await self._write("create", path, query, body))
        meta["resourceVersion"] = state.version
        path = _path("", self._own, "configmaps", state.name)
        return _state(await self._write("update", path, query, body))

    async def _write(self, verb: str, path: str, query: Query, body: Obj) -> Obj:
        try:
            return await self._calls.call(verb, path, query=query, body=body)
        except MissingError:
            if verb == "create":
                text = f"the namespace {self._own} does not exist (kubernetes.state_namespace)"
                raise Unavailable(text) from None
            raise Conflict("the ConfigMap is not there any more") from None

    async def beat(self, name: str, key: str, value: str | None) -> Mapping[str, str]:
        """Set or remove one key, without a test: every writer has a key of its own."""
        path = _path("", self._own, "configmaps", name)
        try:
            found = await self._calls.call(
                "patch",
                path,
                query=[("fieldManager", MANAGER)],
                body={"data": {key: value}},
                content_type=MERGE_PATCH,
            )
        except MissingError:
            if value is None:
                return {}
            with contextlib.suppress(Conflict):
                await self.write_state(State(name=name, data={key: value}))
            state = await self.read_state(name)
            return {} if state is None else state.data
        return _state(found).data

    # --- the rest

    async def emit(self, happening: Happening) -> None:
        """Write an Event with a name of its own making: the same one twice is one."""
        path = _path("events.k8s.io", happening.namespace, "events")
        with contextlib.suppress(Conflict):
            await self._write("create", path, [], self._event(happening))

    def _event(self, happening: Happening) -> Obj:
        """Fill what validation asks for (k/k pkg/apis/core/validation/events.go)."""
        digest = sha256(f"{happening.uid}/{happening.id}/{happening.action}".encode()).hexdigest()
        name = f"{happening.deployment[:200].rstrip('.-')}.{digest[:16]}"
        moment = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": happening.namespace},
            "eventTime": moment,
            "reportingController": "rollback-receiver",
            "reportingInstance": "rollback-receiver",
            "action": happening.action[:128],
            "reason": happening.reason[:128],
            "type": "Warning" if happening.warning else "Normal",
            "note": happening.note.encode()[:NOTE].decode(errors="ignore"),
            "regarding": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": happening.namespace,
                "name": happening.deployment,
                "uid": happening.uid,
            },
        }

    async def ping(self) -> None:
        """Ask for the version."""
        await self._calls.call("get", "/version")

    async def rights(self, namespaces: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        """Ask about every right we need (SelfSubjectAccessReview); return those denied."""
        gate = asyncio.Semaphore(ASKED_AT_ONCE)
        asked = [(self._own, right) for right in IN_OWN]
        asked += [(namespace, right) for namespace in namespaces or ("",) for right in IN_TARGETS]

        async def denied(namespace: str, right: tuple[str, str, str]) -> bool:
            group, resource, verb = right
            attributes = {
                "namespace": namespace,
                "verb": verb,
                "group": group,
                "resource": resource,
            }
            body = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            async with gate:
                answer = await self._write("create", path, [], body)
            return not (answer.get("status") or {}).get("allowed")

        verdicts = await asyncio.gather(*(denied(*one) for one in asked))
        found: dict[str, tuple[str, ...]] = {}
        for (namespace, (group, resource, verb)), no in zip(asked, verdicts, strict=True):
            if no:
                right = f"{verb} {resource}.{group}" if group else f"{verb} {resource}"
                found[namespace] = (*found.get(namespace, ()), right)
        return found

    async def _get(self, path: str) -> Obj | None:
        try:
            return await self._calls.call("get", path)
        except MissingError:
            return None

    async def _list(self, path: str, query: Query) -> list[Obj]:
        items: list[Obj] = []
        token = ""
        if ("resourceVersion", "0") not in query:
            query = [*query, ("limit", str(PAGE))]
        while True:
            paged = (
                [*query, ("limit", str(PAGE))] if ("resourceVersion", "0") not in query else query
            )
            page = [*paged, ("continue", token)] if token else paged
            try:
                answer = await self._calls.call("list", path, query=page)
            except MissingError:
                raise Rejected("no such resource", status=404, reason="not_found") from None
            items += answer.get("items") or ()
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items


def _path(group: str, namespace: str, plural: str, name: str = "") -> str:
    version = "v1"
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{quote(name, safe='')}" if name else "")


def _state(found: Obj) -> State:
    meta = found["metadata"]
    return State(
        name=meta["name"],
        data=found.get("data") or {},
        labels=meta.get("labels") or {},
        version=meta["resourceVersion"],
    )


def selector_text(selector: Obj) -> str:
    """Write a LabelSelector as a query (apimachinery LabelSelectorAsSelector)."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for item in selector.get("matchExpressions") or ():
        key, values = item["key"], ",".join(item.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[item["operator"]]
        )
    return ",".join(parts)


def _owned(deployment: Obj, replicasets: list[Obj]) -> list[Obj]:
    """Keep those whose controller is this Deployment, by UID: kubectl and the controller do so."""
    uid = deployment["metadata"]["uid"]
    return [
        replicaset
        for replicaset in replicasets
        for reference in replicaset["metadata"].get("ownerReferences") or ()
        if reference.get("controller") and reference.get("uid") == uid
    ]


def _fresh(deployment: Obj, replicasets: list[Obj]) -> bool:
    """Return whether a list is as new as the Deployment: it holds the revision that this names."""
    number = (deployment["metadata"].get("annotations") or {}).get(REVISION)
    wanted = _pure(deployment["spec"]["template"])
    return any(
        (replicaset["metadata"].get("annotations") or {}).get(REVISION) == number
        and _pure(replicaset["spec"]["template"]) == wanted
        for replicaset in replicasets
    )


def _pure(template: Obj) -> str:
    meta = dict(template.get("metadata") or {})
    meta.pop("creationTimestamp", None)
    meta["labels"] = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH}
    return json.dumps(template | {"metadata": meta}, sort_keys=True)


async def _events(response: Any) -> AsyncGenerator[Obj | None, None]:
    """Read a watch line by line; end at its end, whatever that is: the caller reads again."""
    while True:
        try:
            line = await response.content.readline()
            event = json.loads(line) if line else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
        if not isinstance(event, dict) or event.get("type") == "ERROR":
            return
        if event["type"] == "DELETED":
            yield None
        elif event["type"] != "BOOKMARK":
            yield event["object"]
