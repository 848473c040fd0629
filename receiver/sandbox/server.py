"""The HTTP side: who asks, what for, and which rule answers (staging apiserver pkg/endpoints)."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from receiver.sandbox import replicasets
from receiver.sandbox.answers import (
    answer,
    body,
    check_options,
    deleted,
    ordered,
    patch,
    scaled,
    shown,
)
from receiver.sandbox.faults import Fault, Request
from receiver.sandbox.lists import Frozen, number, page
from receiver.sandbox.objects import Obj
from receiver.sandbox.paths import Where, discovery, locate
from receiver.sandbox.reviews import NOBODY_ELSE, Attributes, Reviews, Token, is_review
from receiver.sandbox.selectors import named
from receiver.sandbox.status import ApiError, bad_request, forbidden, not_found, too_large
from receiver.sandbox.store import Store
from receiver.sandbox.watches import YES, Watches

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.3", "platform": "linux/amd64"}
LARGEST_BODY = 3 * 1024 * 1024
# watch_cache.go blockTimeout: how long a read waits for a version that is not there yet.
FRESH_WITHIN = 3.0
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PROBES = ("livez", "readyz", "healthz")
_NOTED = web.RequestKey("noted", Request)

Hook = Callable[[str, str, Obj], None]


class Server:
    """Answers for one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reviews = Reviews()
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.before_commit: Hook | None = None
        self.required_token: str | None = None
        self.frozen: Frozen | None = None
        self.watches = Watches(store, shown)

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.on_response_prepare.append(_note_status)
        return app

    # --- one request

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        agent = request.headers.get("User-Agent") or ""
        by = request.query.get("fieldManager") or agent
        noted = Request(
            at=self.store.clock.now(),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            by=by,
            user_agent=agent,
            authorization_present="Authorization" in request.headers,
        )
        self.requests.append(noted)
        request[_NOTED] = noted
        path = request.path_qs
        fault = next((f for f in self.faults if f.takes(request.method, path)), None)
        if fault is None:
            return await self._refusing(request, by)
        if fault.kind == "status":
            return ordered(fault)
        if fault.kind == "hang":
            await asyncio.Event().wait()  # the client leaves, or the server stops
        if fault.kind == "delay":
            await self.store.clock.sleep(fault.seconds)
            return await self._refusing(request, by)
        if fault.kind == "reset_after":
            await self._refusing(request, by, at_most=0.0)
        return _reset(request)

    async def _refusing(
        self, request: web.Request, by: str, at_most: float | None = None
    ) -> web.StreamResponse:
        try:
            return await self._route(request, by, at_most)
        except ApiError as error:
            return answer(error.body(), error.code)
        except RecursionError:
            return answer(bad_request("the body is nested too deeply").body(), 400)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity is too large: limit is {LARGEST_BODY}"
            return answer(ApiError(413, "RequestEntityTooLarge", text).body(), 413)

    async def _route(
        self, request: web.Request, by: str, at_most: float | None
    ) -> web.StreamResponse:
        path = request.path.strip("/")
        if path in _PROBES:
            return web.Response(text="ok")
        me = self._me(request)
        if request.method == "GET" and (found := _document(path)):
            return answer(found)
        if request.method == "POST" and is_review(path):
            return answer(self.reviews.answer(path, await body(request), me), 201)
        where = locate(path)
        if where is None:
            text = "the server could not find the requested resource"
            raise ApiError(404, "NotFound", text, {})
        query, verb = request.query, _VERBS.get(request.method, request.method.lower())
        if verb == "get" and not where.name:
            verb = "watch" if query.get("watch") in YES else "list"
        self._authorize(me, verb, where, query.get("fieldSelector") or "")
        if verb == "watch":
            return await self.watches.serve(request, where, at_most=at_most)
        if verb in ("list", "get"):
            return answer(await self._read(verb, where, query))
        check_options(query, verb)
        return await self._write(request, verb, where, by)

    def _me(self, request: web.Request) -> Token:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.required_token is not None and given != self.required_token:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return self.reviews.token_of(given) or NOBODY_ELSE

    def _authorize(self, me: Token, verb: str, where: Where, fields: str) -> None:
        resource, namespace, name, subresource = where
        if not name:
            # requestinfo.go: a selector that leaves one name is a request for that name.
            name = named(fields)
        asked = Attributes(verb, resource.group, resource.plural, subresource, namespace, name)
        if not self.reviews.allows_me(me, asked):
            raise forbidden(me.user, verb, resource, subresource, namespace, name)

    # --- reading

    async def _read(self, verb: str, where: Where, query: Any) -> Obj:
        asked = number(query, "resourceVersion")
        if asked > self.store.version:
            await self.store.clock.sleep(FRESH_WITHIN)
        if asked > self.store.version:
            raise too_large(asked, self.store.version)
        if verb == "get":
            return shown(where, self._stored(where))
        return page(self.store, where, query, self.frozen, lambda obj: shown(where, obj))

    def _stored(self, where: Where) -> Obj:
        found = self.store.get(where.resource, where.namespace, where.name)
        if found is None:
            raise not_found(where.resource, where.name)
        return found

    # --- writing

    async def _write(
        self, request: web.Request, verb: str, where: Where, by: str
    ) -> web.StreamResponse:
        if (
            verb == "create"
            and not where.name
            and (where.namespace or not where.resource.namespaced)
        ):
            sent = await body(request)
            self._before(request, verb, {})
            made = self.store.create(
                where.resource,
                where.namespace,
                sent,
                by=by,
                dry_run=request.query.get("dryRun") == "All",
                strict=request.query.get("fieldValidation") == "Strict",
            )
            return answer(shown(where, made), 201)
        if verb == "update" and where.name:
            sent = await body(request)
            return answer(self._change(request, verb, where, lambda _: sent, by))
        if verb == "patch" and where.name:
            how = await patch(request, where.resource)
            return answer(self._change(request, verb, where, how, by))
        if verb == "delete" and where.name and not where.subresource:
            sent = await body(request) if request.can_read_body else None
            return answer(self._delete(request, where, _options(sent, request.query), by))
        text = "the server does not allow this method on the requested resource"
        raise ApiError(405, "MethodNotAllowed", text, {})

    def _before(self, request: web.Request, verb: str, obj: Obj) -> None:
        if self.before_commit is not None:
            self.before_commit(verb, request.path, obj)

    def _change(
        self, request: web.Request, verb: str, where: Where, how: Callable[[Obj], Any], by: str
    ) -> Obj:
        self._before(request, verb, self._stored(where))
        changed = self.store.change(
            where.resource,
            where.namespace,
            where.name,
            scaled(how) if where.subresource == "scale" else how,
            by=by,
            verb=verb,
            subresource=where.subresource,
            dry_run=request.query.get("dryRun") == "All",
            strict=request.query.get("fieldValidation") == "Strict",
        )
        return shown(where, changed)

    def _delete(self, request: web.Request, where: Where, options: Obj, by: str) -> Obj:
        self._before(request, "delete", self._stored(where))
        dry_run = options.get("dryRun") == ["All"]
        gone = self.store.delete(
            where.resource,
            where.namespace,
            where.name,
            by=by,
            preconditions=options.get("preconditions"),
            dry_run=dry_run,
        )
        remains = self.store.get(where.resource, where.namespace, where.name) is not None
        if options.get("propagationPolicy") == "Orphan" and not dry_run and not remains:
            replicasets.orphan(self.store, gone["metadata"]["uid"])
        return deleted(where.resource, gone, remains=remains and not dry_run)


async def _note_status(request: web.Request, response: web.StreamResponse) -> None:
    if (noted := request.get(_NOTED)) is not None:
        noted.status = response.status


def _reset(request: web.Request) -> web.Response:
    """Cut the connection. What is returned reaches nobody, and is not noted."""
    del request[_NOTED]
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _document(path: str) -> Obj | None:
    return dict(VERSION) if path == "version" else discovery(path)


def _options(sent: Any, query: Any) -> Obj:
    """Read DeleteOptions, from the body or from the query (handlers/delete.go)."""
    options = sent if sent is not None else {}
    preconditions = options.get("preconditions") or {} if isinstance(options, dict) else None
    if not isinstance(preconditions, dict):
        raise bad_request('DeleteOptions in version "v1" cannot be handled as a DeleteOptions')
    policy = options.get("propagationPolicy") or query.get("propagationPolicy")
    dry_run = options.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    return {"preconditions": preconditions, "propagationPolicy": policy, "dryRun": dry_run}
