"""What an answer of the API server means: pure, from the HTTP status and the Status document.

The rules were read in apimachinery pkg/api/errors and apiserver pkg/endpoints/handlers/patch.go.
A message of the API server can be 10 kB and hold the whole object, so none is relayed: what an
error of ours says is built from the code, the reason and the fields of the causes.
"""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from receiver.errors import Conflict, Denied, Forbidden, ReceiverError, Unavailable

Obj: TypeAlias = dict[str, Any]

# Characters of an error of ours; of the message of a 403, which names the verb and the resource.
LONGEST = 300
LONGEST_QUOTE = 200
LONGEST_REASON = 64
MOST_CAUSES = 8
READS = frozenset({"get", "list", "watch"})

_UNKNOWN_TO_IT, _MAY_NOT, _MISSING, _CONFLICT = 401, 403, 404, 409
_TIMED_OUT, _EXPIRED, _INVALID, _TOO_MANY = 408, 410, 422, 429
_CLIENT_ERRORS = range(400, 500)


class MissingError(Exception):
    """There is no such object (404): for most callers an answer, not an error."""


def error_of(
    verb: str, status: int, body: str, retry_after: str | None = None
) -> ReceiverError | MissingError:
    """Return the error that a refusal stands for.

    `verb` is the API's word (get, list, watch, create, update, patch), `body` the answer's text,
    `retry_after` its header. 404: `MissingError`. 409, and for a patch 422 without causes (all that
    is seen of a failed `test`): `Conflict`. 401, 403: `Forbidden`. Other 4xx: `Denied`. What may
    work later: `Unavailable`, `ambiguous` when a server that failed may have written before.
    """
    document = _document(body)
    details = _dict(document.get("details"))
    causes = [_dict(cause) for cause in _list(details.get("causes"))]
    said = f"{status} {plain(document.get('reason'), LONGEST_REASON)}".strip()
    if status == _MISSING:
        return MissingError(said)
    if status == _UNKNOWN_TO_IT:
        return Forbidden(said)
    if status == _MAY_NOT:
        quote = plain(document.get("message"), LONGEST_QUOTE)
        return Forbidden(f"{said}: {quote}" if quote else said)
    if status == _CONFLICT or (status == _INVALID and not causes and verb == "patch"):
        return Conflict(said)
    if status in _CLIENT_ERRORS and status not in (_TIMED_OUT, _EXPIRED, _TOO_MANY):
        where = ", ".join(_names(causes))
        return Denied(plain(f"{said}: {where}" if where else said, LONGEST))
    turned_away = status in (_EXPIRED, _TOO_MANY)
    return Unavailable(
        f"the Kubernetes API answered {said}",
        ambiguous=verb not in READS and not turned_away,
        retry_after=_seconds(retry_after, details.get("retryAfterSeconds")),
    )


def plain(text: object, longest: int) -> str:
    """Return text of others on one line, without control characters, `longest` characters at most.

    Anything but a string is "".
    """
    if not isinstance(text, str):
        return ""
    line = " ".join(text[: 4 * longest].split())
    line = "".join(char for char in line if char.isprintable())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _names(causes: Iterable[Obj]) -> list[str]:
    """Name what each cause is about: its field, or where it has none (admission), its reason."""
    found: list[str] = []
    for cause in causes:
        name = plain(cause.get("field") or cause.get("reason"), LONGEST)
        if name and name not in found:
            found.append(name)
    return found[:MOST_CAUSES]


def _document(body: str) -> Obj:
    try:
        return _dict(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _dict(value: Any) -> Obj:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(header: str | None, detail: Any) -> float | None:
    """Read `Retry-After` in seconds; the API server sends no date. Else `retryAfterSeconds`."""
    text = header if header is not None else str(detail)
    return float(text) if text.isascii() and text.isdigit() and len(text) < LONGEST_REASON else None
