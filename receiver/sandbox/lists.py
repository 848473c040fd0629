"""Lists: consistent, at a version, or as a cache that lags sees it, whole or page by page.

Staging apiserver pkg/storage/{cacher,etcd3} and apimachinery pkg/apis/meta/internalversion
(validation of ListOptions).
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from receiver.sandbox.objects import Key, Obj, key_of
from receiver.sandbox.paths import Where
from receiver.sandbox.selectors import Matcher, field_query, label_query
from receiver.sandbox.status import bad_request, cause, invalid
from receiver.sandbox.store import Store

Query = Mapping[str, str]
_MATCHES = ("Exact", "NotOlderThan")


class Frozen(NamedTuple):
    """What a cache holds that gets no news."""

    version: int
    objects: dict[str, list[Obj]]


class _Token(NamedTuple):
    """Where the next page begins: after which key, in the collection of which version."""

    version: int
    after: Key


def matcher(query: Query) -> Matcher:
    """Read the selectors of a list or a watch."""
    labels = label_query(query.get("labelSelector") or "")
    fields = field_query(query.get("fieldSelector") or "")
    return lambda obj: labels(obj) and fields(obj)


def number(query: Query, name: str) -> int:
    """Read a number from 0 on; 0 when it is not given."""
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - of an int64
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})')
    return int(text)


def page(
    store: Store,
    where: Where,
    query: Query,
    frozen: Frozen | None,
    shown: Callable[[Obj], Obj],
) -> Obj:
    """Answer one list request."""
    asked, limit, match = _options(query)
    token = _read(query["continue"]) if query.get("continue") else None
    version, objects = store.version, store.all(where.resource, where.namespace or None)
    # With a limit, a version has always meant exactly that one.
    exact = match == "Exact" or bool(limit and asked and not match)
    if token is not None or exact:
        version = token.version if token else asked
        objects = store.at(version, where.resource, where.namespace or None)
    elif frozen is not None and query.get("resourceVersion") and asked <= frozen.version:
        version = frozen.version
        kept = frozen.objects.get(where.resource.plural, [])
        objects = [obj for obj in kept if where.namespace in ("", key_of(obj)[0])]
    fits = matcher(query)
    found = [obj for obj in objects if fits(obj) and (token is None or key_of(obj) > token.after)]
    meta: Obj = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        meta["continue"] = _write(_Token(version, key_of(found[limit - 1])))
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            meta["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return {
        "kind": f"{where.resource.kind}List",
        "apiVersion": where.resource.api_version,
        "metadata": meta,
        "items": [shown(obj) for obj in found],
    }


def _options(query: Query) -> tuple[int, int, str]:
    asked, limit = number(query, "resourceVersion"), number(query, "limit")
    match = query.get("resourceVersionMatch") or ""
    given = bool(query.get("resourceVersion"))
    causes = []
    if match and not given:
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(cause("FieldValueForbidden", "resourceVersionMatch", text))
    elif match and match not in _MATCHES:
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        causes.append(cause("FieldValueNotSupported", "resourceVersionMatch", text))
    elif match == "Exact" and not asked:
        text = 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
        causes.append(cause("FieldValueForbidden", "resourceVersionMatch", text))
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)
    if query.get("continue") and asked:
        raise bad_request("specifying resource version is not allowed when using continue")
    return asked, limit, match


def _write(token: _Token) -> str:
    # No padding: `=` would have to be escaped in the next query.
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")


def _read(text: str) -> _Token:
    try:
        version, (namespace, name) = json.loads(
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        )
        return _Token(int(version), (str(namespace), str(name)))
    except (ValueError, TypeError, binascii.Error):
        raise bad_request("continue key is not valid") from None
