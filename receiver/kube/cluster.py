"""The Kubernetes API as the controller's port `Cluster` wants it."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping

from receiver.clock import Clock
from receiver.controller.ports import Act, Happening, Identity, Obj, Observation, State
from receiver.errors import Conflict, Forbidden, Rejected, Unavailable
from receiver.kube import reviews, rights, watching
from receiver.kube.answers import MissingError
from receiver.kube.calls import JSON_PATCH, MERGE_PATCH, READ_WITHIN, Calls, Query
from receiver.kube.freshness import is_fresh, owned_by, selector_text
from receiver.kube.happenings import event_of
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
from receiver.reasons import Reason, about

MANAGER = ("fieldManager", "rollback-receiver")
PAGE = 500
MOST_PAGES = 400
SELECTORS_KEPT = 2000
ASKED_AT_ONCE = 8


class KubernetesCluster:
    """Implements the ports `Cluster` and `Reviews`; each error is one of `receiver.errors`."""

    def __init__(
        self, calls: Calls, *, state_namespace: str, clock: Clock, reviewing: bool = False
    ) -> None:
        """`reviewing`: tokens of others will be reviewed, which takes rights of its own."""
        self._calls = calls
        self._own = state_namespace
        self._reviewing = reviewing
        self._clock = clock
        self._selectors: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._calls.aclose()

    # --- Deployments and what belongs to them

    async def deployment(self, namespace: str, name: str) -> Obj | None:
        """Read one Deployment (quorum); None: there is none."""
        return await self._get(DEPLOYMENTS, namespace, name)

    async def deployments(self, namespace: str, *, labels: str) -> list[Obj]:
        """List Deployments (consistent) of a namespace, "" for all."""
        return await self._list(DEPLOYMENTS, namespace, labels)

    async def replicaset(self, namespace: str, name: str) -> Obj | None:
        """Read one ReplicaSet (quorum); None: there is none."""
        return await self._get(REPLICASETS, namespace, name)

    async def pod(self, namespace: str, name: str) -> Obj | None:
        """Read one pod (quorum); None: there is none."""
        return await self._get(PODS, namespace, name)

    async def observe(self, namespace: str, name: str) -> Observation | None:
        """Read a Deployment with its ReplicaSets, fast and fresh; None: there is none.

        A consistent LIST waits for etcd's progress notice, 60 ms in any busy cluster (measured). So
        the Deployment is read by quorum beside a LIST of any age, which is trusted only if it holds
        the ReplicaSet that the fresh Deployment speaks of; else the consistent LIST is paid for.
        The selector for the LIST is the one of the last look, and compared afterwards.
        """
        known = self._selectors.get((namespace, name))
        quick: list[Obj] | None = None
        if known is None:
            deployment = await self.deployment(namespace, name)
        else:
            async with _first_failure() as group:
                read = group.create_task(self.deployment(namespace, name))
                listed = group.create_task(self._replicasets(namespace, known, fresh=False))
            deployment, quick = read.result(), listed.result()
        if deployment is None:
            self._selectors.pop((namespace, name), None)
            return None
        selector = self._remember(namespace, name, deployment)
        if quick is None or selector != known:
            quick = await self._replicasets(namespace, selector, fresh=False)
        owned = owned_by(deployment, quick)
        if not is_fresh(deployment, owned):
            owned = owned_by(deployment, await self._replicasets(namespace, selector, fresh=True))
        return Observation(deployment=deployment, replicasets=owned)

    def _remember(self, namespace: str, name: str, deployment: Obj) -> str:
        selector = selector_text(deployment["spec"].get("selector") or {})
        self._selectors[namespace, name] = selector
        self._selectors.move_to_end((namespace, name))
        while len(self._selectors) > SELECTORS_KEPT:
            self._selectors.popitem(last=False)
        return selector

    async def _replicasets(self, namespace: str, selector: str, *, fresh: bool) -> list[Obj]:
        return await self._list(REPLICASETS, namespace, selector, any_age=not fresh)

    async def patch(
        self, namespace: str, name: str, operations: list[Obj], *, dry_run: bool = False
    ) -> Obj:
        """Apply one JSON Patch to a Deployment, once, and return what it became.

        `Conflict`: a `test` failed (409, or 422 without causes). `Denied`: validation or admission.
        `Rejected` (404): there is no such Deployment. `Unavailable` with `ambiguous`: it may have
        been applied. Source: staging apiserver pkg/endpoints/handlers/patch.go.
        """
        query: Query = [MANAGER, ("fieldValidation", "Strict")]
        if dry_run:
            query.append(("dryRun", "All"))
        path = DEPLOYMENTS.path(namespace, name)
        try:
            return await self._calls.call(
                "patch",
                str(DEPLOYMENTS),
                path,
                query=query,
                body=operations,
                content_type=JSON_PATCH,
            )
        except MissingError:
            reason = Reason.TARGET_NOT_FOUND
            raise Rejected(about(reason).text, status=404, reason=reason) from None

    @contextlib.asynccontextmanager
    async def watch(
        self, namespace: str, name: str, version: str
    ) -> AsyncIterator[AsyncIterator[Obj | None]]:
        """Watch one Deployment from a resourceVersion on; None: it was deleted.

        The iterator ends without an error whenever the API ends it; only a watch that is refused
        from the start raises, as a read does.
        """
        try:
            response = await self._calls.stream(
                str(DEPLOYMENTS),
                DEPLOYMENTS.path(namespace),
                query=watching.query_of(name, version),
                silence=watching.SILENCE,
            )
        except MissingError:
            raise Unavailable(f"the Kubernetes API has no {DEPLOYMENTS}") from None
        events = watching.changes(response)
        try:
            yield events
        finally:
            await events.aclose()
            if response is not None:
                response.close()

    # --- our ConfigMaps

    async def read_state(self, name: str) -> State | None:
        """Read one of our ConfigMaps (quorum); None: there is none."""
        found = await self._get(CONFIGMAPS, self._own, name)
        return None if found is None else _state(found)

    async def list_states(self, *, labels: str) -> list[State]:
        """List our ConfigMaps (consistent)."""
        return [_state(found) for found in await self._list(CONFIGMAPS, self._own, labels)]

    async def write_state(self, state: State) -> State:
        """Write by compare-and-set on the resourceVersion; create when there is no version.

        `Conflict`: it exists already, was changed, or is gone. `Unavailable` with `ambiguous`: it
        may have been written.
        """
        meta: Obj = {"name": state.name, "namespace": self._own, "labels": dict(state.labels)}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(state.data)}
        verb, path = "create", CONFIGMAPS.path(self._own)
        if state.version is not None:
            verb, path = "update", CONFIGMAPS.path(self._own, state.name)
            meta["resourceVersion"] = state.version
        try:
            written = await self._calls.call(
                verb, str(CONFIGMAPS), path, query=[MANAGER], body=body
            )
        except MissingError:
            if state.version is None:
                raise Unavailable(f"there is no namespace {self._own} for our state") from None
            raise Conflict("the ConfigMap is gone") from None
        return _state(written)

    async def delete_state(self, state: State) -> None:
        """Delete one of our ConfigMaps as it was read; one that is gone is no error.

        `Conflict`: somebody wrote it meanwhile (`preconditions` of DeleteOptions).
        """
        path = CONFIGMAPS.path(self._own, state.name)
        body = {"preconditions": {"resourceVersion": state.version}}
        with contextlib.suppress(MissingError):
            await self._calls.call("delete", str(CONFIGMAPS), path, body=body)

    async def beat(self, name: str, keys: Mapping[str, str | None]) -> Mapping[str, str]:
        """Set keys of a ConfigMap (None removes one) without a test; return all its data.

        Each writer has keys of its own, or says what any other may say instead. Where there is no
        ConfigMap one is made, unless there is nothing to put into it.
        """
        data = {key: value for key, value in keys.items() if value is not None}
        path = CONFIGMAPS.path(self._own, name)
        for _ in range(2):
            try:
                found = await self._calls.call(
                    "patch",
                    str(CONFIGMAPS),
                    path,
                    query=[MANAGER],
                    body={"data": dict(keys)},
                    content_type=MERGE_PATCH,
                )
            except MissingError:
                if not data:
                    return {}
            else:
                return _state(found).data
            # Somebody else may make it at this moment: then there is something to patch.
            with contextlib.suppress(Conflict):
                return (await self.write_state(State(name=name, data=data))).data
        raise Unavailable(f"the ConfigMap {name} comes and goes")

    # --- the rest

    async def emit(self, happening: Happening) -> None:
        """Write an Event; the same one again is no error."""
        path = EVENTS.path(happening.namespace)
        body = event_of(happening, self._clock.now())
        try:
            await self._calls.call("create", str(EVENTS), path, query=[MANAGER], body=body)
        except Conflict:
            return  # AlreadyExists: told before, by us or by another replica
        except MissingError:
            raise Unavailable(f"there is no namespace {happening.namespace}") from None

    async def ping(self) -> None:
        """Ask the API server for its version: reached, authenticated, in time."""
        try:
            await self._calls.call("get", "version", "/version")
        except MissingError:
            raise Unavailable("what answers there is no Kubernetes API") from None

    async def rights(self, namespaces: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        """Return by namespace what we must but may not do, as `patch deployments.apps`.

        None named: the whole cluster is asked about, under "". What tokens of others take is under
        `rights.WHOLE_CLUSTER`. Source: SelfSubjectAccessReview.
        """
        gate = asyncio.Semaphore(ASKED_AT_ONCE)
        wanted = [(self._own, *right) for right in rights.IN_OWN]
        wanted += [(space, *right) for space in namespaces or ("",) for right in rights.IN_TARGETS]
        if self._reviewing:
            wanted += [(rights.WHOLE_CLUSTER, *right) for right in rights.FOR_REVIEWS]

        async def allowed(where: str, verb: str, resource: Resource) -> bool:
            namespace = "" if where == rights.WHOLE_CLUSTER else where
            async with gate:
                return await self._allowed(namespace, verb, resource)

        async with _first_failure() as group:
            asked = [group.create_task(allowed(*one)) for one in wanted]
        denied: dict[str, tuple[str, ...]] = {}
        for (namespace, verb, resource), answer in zip(wanted, asked, strict=True):
            if not answer.result():
                denied[namespace] = (*denied.get(namespace, ()), f"{verb} {resource}")
        return denied

    async def _allowed(self, namespace: str, verb: str, resource: Resource) -> bool:
        body = rights.review_of(verb, resource, namespace)
        path = ACCESS_REVIEWS.path()
        try:
            review = await self._calls.call("create", str(ACCESS_REVIEWS), path, body=body)
        except MissingError:
            raise Unavailable("the Kubernetes API has no access reviews") from None
        return rights.is_allowed(review)

    # --- who is who and who may what

    async def identify(self, token: str, audience: str) -> Identity | None:
        """Return whose token it is; None: nobody's, or it was not made for this audience."""
        body = reviews.token_review(token, audience)
        return reviews.identity_of(await self._review(TOKEN_REVIEWS, body), audience)

    async def permits(self, identity: Identity, act: Act) -> bool:
        """Return whether somebody may do this."""
        body = reviews.access_review(identity, act)
        return rights.is_allowed(await self._review(SUBJECT_REVIEWS, body))

    async def _review(self, resource: Resource, body: Obj) -> Obj:
        """Ask a question about somebody else. It writes nothing, so it may be asked twice.

        An idle connection can break at any time, and whoever calls us should not notice. All of it
        has the time of a read.
        """
        try:
            async with asyncio.timeout(READ_WITHIN):
                try:
                    return await self._calls.call(
                        "create", str(resource), resource.path(), body=body
                    )
                except Unavailable as error:
                    if not error.ambiguous:
                        raise
                return await self._calls.call("create", str(resource), resource.path(), body=body)
        except TimeoutError:
            raise Unavailable("the Kubernetes API did not answer: TimeoutError") from None
        except MissingError:
            raise Unavailable(f"the Kubernetes API has no {resource}") from None
        except Forbidden as error:
            # What the API server says besides is not for the eyes of whoever called us.
            said = str(error).partition(":")[0]
            raise Forbidden(f"we may not create {resource}: {said}") from None

    # --- reading

    async def _get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        try:
            return await self._calls.call("get", str(resource), resource.path(namespace, name))
        except MissingError:
            return None

    async def _list(
        self, resource: Resource, namespace: str, labels: str, *, any_age: bool = False
    ) -> list[Obj]:
        """List all that fits: of any age from the watch cache in one piece, else consistent."""
        query: Query = [("labelSelector", labels)]
        query.append(("resourceVersion", "0") if any_age else ("limit", str(PAGE)))
        items: list[Obj] = []
        token = ""
        for _ in range(MOST_PAGES):
            page = [*query, ("continue", token)] if token else query
            try:
                answer = await self._calls.call(
                    "list", str(resource), resource.path(namespace), query=page
                )
            except MissingError:
                raise Unavailable(f"the Kubernetes API has no {resource}") from None
            items += answer.get("items") or ()
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items
        raise Unavailable(f"more than {MOST_PAGES * PAGE} {resource}: is the selector right?")


@contextlib.asynccontextmanager
async def _first_failure() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a TaskGroup that raises its first failure itself: it is caught by its class."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _state(found: Obj) -> State:
    meta = found["metadata"]
    return State(
        name=meta["name"],
        data=found.get("data") or {},
        labels=meta.get("labels") or {},
        version=meta["resourceVersion"],
    )
