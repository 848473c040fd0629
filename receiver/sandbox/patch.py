"""JSON Patch (RFC 6902) and merge patch (RFC 7386), as the API server applies them.

Staging apiserver pkg/endpoints/handlers/patch.go, with the reading of evanphx/json-patch v4 where
that differs from the RFC.
"""

from typing import Any

from receiver.sandbox.objects import clone
from receiver.sandbox.status import ApiError, bad_request, rejected

# apiserver patch.go: maxJSONPatchOperations
MOST_OPERATIONS = 10000


class _Missing:
    """Stands for a member that is not there, which `null` is not."""


_MISSING = _Missing()


def same(left: Any, right: Any) -> bool:
    """Compare JSON strictly: 5.0 is not 5 (evanphx compares the text), true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def json_patch(document: Any, operations: Any) -> Any:
    """Apply a JSON Patch and return the new document.

    All or nothing. Whatever does not apply is one and the same 422 without causes.
    """
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "jsonpatch.Patch"
        )
    if len(operations) > MOST_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"Request entity is too large: The allowed maximum operations in a JSON patch is "
            f"{MOST_OPERATIONS}, got {len(operations)}",
        )
    document = clone(document)
    for operation in operations:
        _apply(document, operation)
    return document


def _apply(document: Any, operation: dict[str, Any]) -> None:
    path = _tokens(operation.get("path"))
    match operation.get("op"):
        case "add":
            _add(document, path, clone(_value(operation)))
        case "remove":
            _remove(document, path)
        case "replace":
            # Missing members of an object cannot be replaced, only added.
            parent, last = _parent(document, path)
            if isinstance(_member(parent, last), _Missing):
                raise rejected()
            if isinstance(parent, list):
                parent[_index(parent, last)] = clone(_value(operation))
            else:
                parent[last] = clone(_value(operation))
        case "test":
            parent, last = _parent(document, path)
            found = _member(parent, last)
            # evanphx v4 reads a missing member of an object as null.
            wanted = operation.get("value")
            if isinstance(found, _Missing):
                if wanted is not None or isinstance(parent, list):
                    raise rejected()
            elif not same(found, wanted):
                raise rejected()
        case "move":
            origin = _tokens(operation.get("from"))
            _add(document, path, _remove(document, origin))
        case "copy":
            origin = _tokens(operation.get("from"))
            found = _member(*_parent(document, origin))
            if isinstance(found, _Missing):
                raise rejected()
            _add(document, path, clone(found))
        case _:
            raise rejected()


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise rejected()
    return operation["value"]


def _tokens(pointer: Any) -> list[str]:
    # The root itself ("") cannot be a target: evanphx looks for a parent of everything.
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise rejected()
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _parent(document: Any, path: list[str]) -> tuple[Any, str]:
    node = document
    for token in path[:-1]:
        node = _member(node, token)
        if not isinstance(node, (dict, list)):
            raise rejected()
    return node, path[-1]


def _member(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token, _MISSING)
    index = _index(node, token)
    return node[index] if index < len(node) else _MISSING


def _index(node: list[Any], token: str) -> int:
    if not (token.isascii() and token.isdigit()) or token[:1] == "0" != token:
        raise rejected()
    index = int(token)
    if index > len(node):
        raise rejected()
    return index


def _add(document: Any, path: list[str], value: Any) -> None:
    parent, last = _parent(document, path)
    if isinstance(parent, dict):
        parent[last] = value
    else:
        parent.insert(len(parent) if last == "-" else _index(parent, last), value)


def _remove(document: Any, path: list[str]) -> Any:
    parent, last = _parent(document, path)
    if isinstance(_member(parent, last), _Missing):
        raise rejected()
    if isinstance(parent, dict):
        return parent.pop(last)
    return parent.pop(_index(parent, last))


def merge_patch(document: Any, patch: Any) -> Any:
    """Apply a merge patch and return the new document: null deletes, lists are replaced."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return clone(merged)
