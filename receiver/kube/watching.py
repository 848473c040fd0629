"""The lines of a watch, as the Deployments they tell of."""

import json
from collections.abc import AsyncGenerator

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from receiver.kube.answers import Obj
from receiver.kube.calls import Query

# Seconds. The API server ends a watch after the first; a bookmark comes about every minute, so a
# connection that says nothing for the second is dead, and the caller should look again.
WATCH_SECONDS = 300
SILENCE = 150.0
# A line that is too long is no ClientError to aiohttp, hence HttpProcessingError.
_ENDS = (
    aiohttp.ClientError,
    HttpProcessingError,
    TimeoutError,
    OSError,
    ValueError,
    RecursionError,
)


def query_of(name: str, version: str) -> Query:
    """Return the query that watches one object from a resourceVersion on."""
    return [
        ("watch", "true"),
        # A name in the field selector is a name to RBAC, too (apiserver requestinfo.go).
        ("fieldSelector", f"metadata.name={name}"),
        ("resourceVersion", version),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(WATCH_SECONDS)),
    ]


async def changes(response: aiohttp.ClientResponse | None) -> AsyncGenerator[Obj | None, None]:
    """Yield each state of the object, None when it was deleted.

    Ends at the end of the stream and at whatever breaks it: an ERROR event (410: too old), silence,
    a lost connection, half a line. The caller reads again, so no end is worth an error. None for a
    watch that the API ended before it began.
    """
    while response is not None:
        try:
            line = await response.content.readline()
            event = json.loads(line)
        except _ENDS:
            return
        kind = event.get("type") if isinstance(event, dict) else "ERROR"
        if kind == "ERROR" or not isinstance(event.get("object"), dict):
            return
        if kind == "DELETED":
            yield None
        elif kind in ("ADDED", "MODIFIED"):
            yield event["object"]
