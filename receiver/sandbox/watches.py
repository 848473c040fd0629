"""Watches: what changes, as one client may see it (staging apiserver pkg/storage/cacher)."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

from receiver.sandbox.lists import Query, matcher, number
from receiver.sandbox.objects import Obj, Resource, clone
from receiver.sandbox.paths import Where
from receiver.sandbox.selectors import Matcher
from receiver.sandbox.status import ApiError, cause, invalid
from receiver.sandbox.store import Change, Store
from receiver.sandbox.work import Alarm

# cacher.go: bookmarkFrequency, and how long before the end of a watch one more is sent.
BOOKMARK_EVERY, BOOKMARK_BEFORE_END = 60.0, 2.0
# apiserver --min-request-timeout; the real one adds a random part, so that not all end at once.
LONGEST_WATCH = 1800.0
YES = ("1", "true", "True", "t", "T", "TRUE")

Shown = Callable[[Where, Obj], Obj]


class _News:
    """The changes that one watch has still to tell."""

    def __init__(self) -> None:
        self.changes: deque[Change] = deque()
        self.event = asyncio.Event()

    def add(self, change: Change) -> None:
        self.changes.append(change)
        self.event.set()


class _Wish(NamedTuple):
    """What a watch asks for."""

    where: Where
    fits: Matcher
    version: int
    ends: float
    bookmarks: bool

    def event(self, change: Change, shown: Shown) -> tuple[str, Obj] | None:
        """Return a change as this client sees it: what leaves the selector was deleted for him."""
        if change.resource != self.where.resource or change.version <= self.version:
            return None
        was, now = self._sees(change.before), self._sees(change.after)
        if now and change.after is not None:
            return "MODIFIED" if was else "ADDED", shown(self.where, change.after)
        if was and change.before is not None:
            last = clone(change.before)
            last["metadata"]["resourceVersion"] = str(change.version)
            return "DELETED", shown(self.where, last)
        return None

    def _sees(self, obj: Obj | None) -> bool:
        if obj is None or not self.fits(obj):
            return False
        return self.where.namespace in ("", obj["metadata"].get("namespace"))


class Watches:
    """All open watches."""

    def __init__(self, store: Store, shown: Shown) -> None:
        self._store = store
        self._shown = shown
        self._open: dict[_News, web.Request] = {}
        store.listeners.append(self._spread)

    def _spread(self, change: Change) -> None:
        for news in self._open:
            news.add(change)

    def drop(self) -> None:
        """Cut the connection of every open watch."""
        for request in self._open.values():
            if request.transport is not None:
                request.transport.abort()

    async def serve(
        self, request: web.Request, where: Where, *, at_most: float | None = None
    ) -> web.StreamResponse:
        """Answer one watch request, for `at_most` seconds."""
        wish, news = self._wish(request.query, where, at_most), _News()
        missed: ApiError | None = None
        first: list[Obj] = []
        if not wish.version:
            # From what is now: everything there is counts as added.
            first = self._store.all(where.resource, where.namespace or None)
            wish = wish._replace(version=self._store.version)
        else:
            try:
                news.changes.extend(self._store.changes_after(wish.version))
            except ApiError as gone:
                missed = gone
        self._open[news] = request
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(request)
            if missed is not None:
                # Once the request is understood, every error is an event (cacher.go Watch).
                await _send(response, "ERROR", missed.body())
                return response
            for obj in filter(wish.fits, first):
                await _send(response, "ADDED", self._shown(where, obj))
            await self._follow(response, wish, news)
        except ConnectionError:
            pass  # the client has gone
        finally:
            del self._open[news]
        return response

    def _wish(self, query: Query, where: Where, at_most: float | None) -> _Wish:
        if query.get("sendInitialEvents") in YES:
            # What the real one says without the feature WatchList: clients then list and watch.
            text = (
                "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList "
                "feature gate is enabled"
            )
            causes = [cause("FieldValueForbidden", "sendInitialEvents", text)]
            raise invalid("ListOptions", "meta.k8s.io", "", causes)
        seconds = float(number(query, "timeoutSeconds") or LONGEST_WATCH)
        return _Wish(
            where=where,
            fits=matcher(query),
            version=number(query, "resourceVersion"),
            ends=self._store.clock.monotonic() + (seconds if at_most is None else at_most),
            bookmarks=query.get("allowWatchBookmarks") in YES,
        )

    async def _follow(self, response: web.StreamResponse, wish: _Wish, news: _News) -> None:
        clock = self._store.clock
        alarm = Alarm(clock, news.event)
        bookmark = _next_bookmark(wish, clock.monotonic())
        try:
            while True:
                news.event.clear()
                while news.changes:
                    if event := wish.event(news.changes.popleft(), self._shown):
                        await _send(response, *event)
                now = clock.monotonic()
                if now >= wish.ends:
                    return
                if bookmark is not None and now >= bookmark:
                    bookmark = _next_bookmark(wish, now)
                    mark = _bookmark(wish.where.resource, self._store.version)
                    await _send(response, "BOOKMARK", mark)
                alarm.set(min(wish.ends, bookmark or wish.ends))
                # A change that came while something was being sent has set the event again.
                await news.event.wait()
        finally:
            alarm.cancel()


def _next_bookmark(wish: _Wish, now: float) -> float | None:
    """Return when the next bookmark is due (cacheWatcher.nextBookmarkTime)."""
    if not wish.bookmarks:
        return None
    last = wish.ends - BOOKMARK_BEFORE_END
    return min(now + BOOKMARK_EVERY, last) if now < last else None


def _bookmark(resource: Resource, version: int) -> Obj:
    meta = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}


async def _send(response: web.StreamResponse, kind: str, obj: Obj) -> None:
    line = json.dumps({"type": kind, "object": obj}, separators=(",", ":"))
    await response.write(line.encode() + b"\n")
