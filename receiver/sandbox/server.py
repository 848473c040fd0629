"""The HTTP side: paths, verbs, content types and watches (staging apiserver pkg/endpoints)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from aiohttp import web

from receiver.sandbox.faults import Fault, Request
from receiver.sandbox.objects import (
    DEPLOYMENTS,
    RESOURCES,
    Obj,
    Resource,
    clone,
)
from receiver.sandbox.patch import json_patch, merge_patch
from receiver.sandbox.reviews import Attributes, Reviews
from receiver.sandbox.selectors import Matcher, field_query, label_query, text_of
from receiver.sandbox.status import ApiError, bad_request, forbidden
from receiver.sandbox.store import Change, Store

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.3", "platform": "linux/amd64"}
LARGEST_BODY = 3 * 1024 * 1024
BOOKMARK_EVERY = 30.0
LONGEST_WATCH = 1800.0
ADMIN = "kubernetes-admin"
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ROOTS = {(f"apis/{r.group}/{r.version}" if r.group else f"api/{r.version}") for r in RESOURCES}
_REVIEWS = {
    "apis/authentication.k8s.io/v1/tokenreviews": "TokenReview",
    "apis/authorization.k8s.io/v1/subjectaccessreviews": "SubjectAccessReview",
    "apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "SelfSubjectAccessReview",
}

Hook = Callable[[str, str, Obj], None]


class Where(NamedTuple):
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


def locate(path: str) -> Where | None:
    """Read a path; None when there is nothing of that name."""
    parts = path.strip("/").split("/")
    for length in (2, 3):
        if "/".join(parts[:length]) not in _ROOTS:
            continue
        rest, namespace = parts[length:], ""
        if len(rest) > 2 and rest[0] == "namespaces":  # noqa: PLR2004 - namespaces/NAME/PLURAL
            namespace, rest = rest[1], rest[2:]
        root = "/" + "/".join(parts[:length])
        for resource in RESOURCES:
            if rest and resource.plural == rest[0] and resource.path("").startswith(root + "/"):
                name, subresource = [*rest[1:], "", ""][:2]
                known = not subresource or subresource in resource.subresources
                return Where(resource, namespace, name, subresource) if known else None
    return None


class Server:
    """Answers for one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reviews = Reviews()
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.before_commit: Hook | None = None
        self.required_token: str | None = None
        self.frozen: dict[str, list[Obj]] | None = None
        self._watches: set[asyncio.Queue[Change]] = set()
        store.listeners.append(self._spread)

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    def _spread(self, change: Change) -> None:
        for queue in self._watches:
            queue.put_nowait(change)

    # --- one request

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        by = request.query.get("fieldManager") or request.headers.get("User-Agent") or ""
        status: int | None = None
        index = len(self.requests)
        self.requests.append(Request(request.method, request.path, dict(request.query), by))
        try:
            response = await self._with_faults(request, by)
            status = response.status
        finally:
            noted = Request(request.method, request.path, dict(request.query), by, status)
            if index < len(self.requests):
                self.requests[index] = noted
        return response

    async def _with_faults(self, request: web.Request, by: str) -> web.StreamResponse:
        shown = request.path_qs
        fault = next((f for f in self.faults if f.takes(request.method, shown)), None)
        if fault is None:
            return await self._refusing(request, by)
        if fault.kind == "status":
            return _fault_answer(fault)
        if fault.kind == "hang":
            await asyncio.Event().wait()
        if fault.kind == "delay":
            await self.store.clock.sleep(fault.seconds)
            return await self._refusing(request, by)
        if fault.kind == "reset_after":
            await self._refusing(request, by)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _refusing(self, request: web.Request, by: str) -> web.StreamResponse:
        try:
            return await self._route(request, by)
        except ApiError as error:
            return _json(error.body(), error.code)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity is too large: limit is {LARGEST_BODY}"
            return _json(ApiError(413, "RequestEntityTooLarge", text).body(), 413)

    async def _route(self, request: web.Request, by: str) -> web.StreamResponse:
        path = request.path.strip("/")
        if path in ("livez", "readyz", "healthz"):
            return web.Response(text="ok")
        user = self._user(request)
        if path == "version":
            return _json(VERSION)
        if path in _REVIEWS and request.method == "POST":
            return _json(self._review(_REVIEWS[path], await _body(request), user), 201)
        where = locate(path)
        if where is None:
            text = "the server could not find the requested resource"
            raise ApiError(404, "NotFound", text, {})
        watching = request.query.get("watch") in ("1", "true", "True")
        verb = _VERBS.get(request.method, request.method.lower())
        if verb == "get" and not where.name:
            verb = "watch" if watching else "list"
        self._authorize(user, verb, where)
        if verb == "watch":
            return await self._watch(request, where)
        return await self._do(request, verb, where, by)

    def _user(self, request: web.Request) -> str:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.required_token is not None and given != self.required_token:
            raise ApiError(401, "Unauthorized", "Unauthorized", {})
        known = self.reviews.tokens.get(given)
        return known.user if known is not None else ADMIN

    def _authorize(self, user: str, verb: str, where: Where) -> None:
        resource, namespace, name, subresource = where
        asked = Attributes(verb, resource.group, resource.plural, subresource, namespace, name)
        if not self.reviews.allows(user, (), asked):
            raise forbidden(user, verb, resource, subresource, namespace, name)

    def _review(self, kind: str, review: Obj, user: str) -> Obj:
        if kind == "TokenReview":
            return self.reviews.token(review)
        return self.reviews.access(review, user if kind.startswith("Self") else None)

    async def _do(
        self, request: web.Request, verb: str, where: Where, by: str
    ) -> web.StreamResponse:
        if verb == "list":
            return _json(self._list(where, request.query))
        if verb == "get":
            return _json(_shown(where, self._stored(where)))
        dry_run = request.query.get("dryRun") == "All"
        if verb == "create" and not where.name:
            body = await _body(request)
            made = self.store.create(where.resource, where.namespace, body, by=by, dry_run=dry_run)
            return _json(_shown(where, made), 201)
        if verb == "update" and where.name:
            body = await _body(request)
            return _json(self._change(request, verb, where, lambda _: body, by))
        if verb == "patch" and where.name:
            return _json(self._change(request, verb, where, await _patch(request), by))
        if verb == "delete" and where.name:
            options = await _body(request) if request.can_read_body else {}
            gone = self.store.delete(
                where.resource,
                where.namespace,
                where.name,
                by=by,
                preconditions=options.get("preconditions"),
                dry_run=dry_run,
            )
            return _json(_shown(where, gone))
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method", {})

    def _stored(self, where: Where) -> Obj:
        found = self.store.get(where.resource, where.namespace, where.name)
        if found is None:
            raise ApiError(
                404,
                "NotFound",
                f'{where.resource.qualified} "{where.name}" not found',
                {"name": where.name, "group": where.resource.group, "kind": where.resource.plural},
            )
        return found

    def _change(
        self, request: web.Request, verb: str, where: Where, how: Callable[[Obj], Any], by: str
    ) -> Obj:
        if self.before_commit is not None:
            self.before_commit(verb, request.path, self._stored(where))
        changed = self.store.change(
            where.resource,
            where.namespace,
            where.name,
            _scaled(how) if where.subresource == "scale" else how,
            by=by,
            verb=verb,
            subresource=where.subresource,
            dry_run=request.query.get("dryRun") == "All",
            strict=request.query.get("fieldValidation") == "Strict",
        )
        return _shown(where, changed)

    # --- list and watch

    def _list(self, where: Where, query: Any) -> Obj:
        stale = self.frozen is not None and query.get("resourceVersion") == "0"
        objects = self.store.all(where.resource, where.namespace or None)
        if stale and self.frozen is not None:
            kept = self.frozen.get(where.resource.plural, [])
            wanted = where.namespace
            objects = [o for o in kept if not wanted or o["metadata"]["namespace"] == wanted]
        fits = _query(query)
        found = [_shown(where, obj) for obj in objects if fits(obj)]
        meta: Obj = {"resourceVersion": str(self.store.version)}
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        if limit and len(found) > start + limit:
            meta |= {
                "continue": str(start + limit),
                "remainingItemCount": len(found) - start - limit,
            }
        return {
            "kind": f"{where.resource.kind}List",
            "apiVersion": where.resource.api_version,
            "metadata": meta,
            "items": found[start : start + limit] if limit else found[start:],
        }

    async def _watch(self, request: web.Request, where: Where) -> web.StreamResponse:
        query, store = request.query, self.store
        fits = _query(query)
        version = query.get("resourceVersion") or "0"
        if not version.isdecimal():
            raise bad_request(f"invalid resource version {version!r}")
        queue: asyncio.Queue[Change] = asyncio.Queue()
        seconds = float(query.get("timeoutSeconds") or LONGEST_WATCH)
        ends = store.clock.monotonic() + seconds
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true", "True")
        try:
            missed = [] if version == "0" else list(store.changes_after(int(version)))
            error = None
        except ApiError as gone:
            missed, error = [], gone
        first = store.all(where.resource, where.namespace or None) if version == "0" else []
        self._watches.add(queue)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(request)
            if error is not None:
                # The real server answers 200 and says it in the stream (cacher.go).
                await _send(response, "ERROR", error.body())
                return response
            for obj in first:
                if fits(obj):
                    await _send(response, "ADDED", _shown(where, obj))
            for change in missed:
                await self._tell(response, where, fits, change)
            while (left := ends - store.clock.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(left, BOOKMARK_EVERY)):
                        change = await queue.get()
                except TimeoutError:
                    if bookmarks:
                        await _send(response, "BOOKMARK", self._bookmark(where))
                    continue
                await self._tell(response, where, fits, change)
        except ConnectionResetError:
            pass  # the client has gone
        finally:
            self._watches.discard(queue)
        return response

    def _bookmark(self, where: Where) -> Obj:
        return {
            "kind": where.resource.kind,
            "apiVersion": where.resource.api_version,
            "metadata": {"resourceVersion": str(self.store.version), "creationTimestamp": None},
        }

    @staticmethod
    async def _tell(
        response: web.StreamResponse, where: Where, fits: Matcher, change: Change
    ) -> None:
        """Send a change as this watcher sees it: what leaves the selector was deleted for him."""
        if change.resource != where.resource:
            return

        def seen(obj: Obj | None) -> bool:
            if obj is None or not fits(obj):
                return False
            return where.namespace in ("", obj["metadata"].get("namespace"))

        was, now = seen(change.before), seen(change.after)
        if now and change.after is not None:
            await _send(response, "MODIFIED" if was else "ADDED", _shown(where, change.after))
        elif was and change.before is not None:
            last = clone(change.before)
            last["metadata"]["resourceVersion"] = str(change.version)
            await _send(response, "DELETED", _shown(where, last))


def _query(query: Any) -> Matcher:
    labels = label_query(query.get("labelSelector") or "")
    fields = field_query(query.get("fieldSelector") or "")
    return lambda obj: labels(obj) and fields(obj)


def _shown(where: Where, obj: Obj) -> Obj:
    if where.subresource == "scale":
        spec, meta = obj["spec"], obj["metadata"]
        keep = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: meta[key] for key in keep},
            "spec": {"replicas": spec["replicas"]},
            "status": {
                "replicas": obj["status"].get("replicas", 0),
                "selector": text_of(spec["selector"]),
            },
        }
    return {"kind": where.resource.kind, "apiVersion": where.resource.api_version} | obj


def _scaled(how: Callable[[Obj], Any]) -> Callable[[Obj], Any]:
    """Apply a change to the Scale of an object, and that to the object."""

    def change(obj: Obj) -> Obj:
        where = Where(DEPLOYMENTS, obj["metadata"]["namespace"], obj["metadata"]["name"], "scale")
        scale = how(_shown(where, obj))
        replicas = (scale.get("spec") or {}).get("replicas")
        version = (scale.get("metadata") or {}).get("resourceVersion")
        meta = obj["metadata"] | ({"resourceVersion": version} if version else {})
        return obj | {"metadata": meta, "spec": obj["spec"] | {"replicas": replicas}}

    return change


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise bad_request("the body of the request was not valid JSON") from None


async def _patch(request: web.Request) -> Callable[[Obj], Any]:
    kind = request.content_type
    body = await _body(request)
    if kind == "application/json-patch+json":
        return lambda obj: json_patch(obj, body)
    if kind == "application/merge-patch+json":
        if not isinstance(body, dict):
            raise bad_request("the merge patch must be an object")
        return lambda obj: merge_patch(obj, body)
    listed = "application/json-patch+json, application/merge-patch+json"
    text = f"the body of the request was in an unknown format - accepted media types: {listed}"
    raise ApiError(415, "UnsupportedMediaType", text, {})


def _json(body: Obj, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _fault_answer(fault: Fault) -> web.Response:
    reasons = {429: "TooManyRequests", 503: "ServiceUnavailable", 500: "InternalError"}
    body = fault.body
    if body is None:
        reason = reasons.get(fault.status, "InternalError")
        error = ApiError(fault.status, reason, "on order", {}, retry_after=fault.retry_after)
        body = error.body()
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(body, status=fault.status, headers=headers)


async def _send(response: web.StreamResponse, kind: str, obj: Obj) -> None:
    line = json.dumps({"type": kind, "object": obj}, separators=(",", ":"))
    await response.write(line.encode() + b"\n")
