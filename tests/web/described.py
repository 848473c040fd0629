"""What the document of the API says, asked as a client would."""

import json
import re
from typing import Any

from receiver import __version__
from receiver.web import ROUTES
from receiver.web.openapi import document
from tests.web.world import Reply

Obj = dict[str, Any]

ALERTS = "/api/v1/alerts"
ONE = "/api/v1/deployments/{namespace}/{name}"
RELEASE = f"{ONE}/release"
PLACES = {"namespace": "shop", "name": "checkout", "hash": "5d4f8c7b9d", "id": "ci"}


def _python(part: Obj) -> Obj:
    # A pattern is one of ECMA 262: there, $ is not also before a last new line.
    if isinstance(pattern := part.get("pattern"), str):
        part["pattern"] = pattern.removesuffix("$") + r"\Z" * pattern.endswith("$")
    return part


DOCUMENT = document(ROUTES, __version__)
_READ: Obj = json.loads(json.dumps(DOCUMENT), object_hook=_python)


def there(path: str) -> str:
    """Return the path of a route as somebody asks for it."""
    return re.sub(r"{(\w+)}", lambda step: PLACES[step[1]], path)


def operation(method: str, path: str) -> Obj:
    """Return the operation of a route; KeyError when there is none."""
    found: Obj = _READ["paths"][path][method.lower()]
    return found


def _closed(part: Obj) -> Obj:
    return {"additionalProperties": False} | part if "properties" in part else part


_CLOSED: Obj = json.loads(json.dumps(_READ), object_hook=_closed)


def fits(schema: Obj, value: Any, *, closed: bool = False) -> bool:
    """Return whether a value is what a schema of the document asks for.

    `closed`: and holds nothing that the document does not name.
    """
    # Slow to import: it takes two seconds of each worker that collects the tests.
    from openapi_schema_validator import (  # noqa: PLC0415 - only here
        OAS31Validator,
        oas31_format_checker,
    )

    whole = schema | {"components": (_CLOSED if closed else _READ)["components"]}
    checker = OAS31Validator(whole, format_checker=oas31_format_checker)
    return bool(checker.is_valid(value))


def takes(method: str, path: str, body: Any) -> bool:
    """Return whether a route takes this body, None for an empty one."""
    asked = operation(method, path)["requestBody"]
    if body is None:
        return not asked["required"]
    return fits(asked["content"]["application/json"]["schema"], body)


def parameter(method: str, path: str, name: str) -> Obj:
    """Return a parameter of a route."""
    [found] = [each for each in operation(method, path)["parameters"] if each["name"] == name]
    return dict(found)


def promised(method: str, path: str, reply: Reply) -> None:
    """Fail unless an answer is what the document promises for its code."""
    said = operation(method, path)["responses"][str(reply.status)]
    [(kind, content)] = said["content"].items()
    assert reply.headers["Content-Type"].partition(";")[0] == kind
    value = reply.json if kind == "application/json" else reply.text
    assert fits(content["schema"], value, closed=True)
    for name, header in said.get("headers", {}).items():
        assert header["required"]
        value = reply.headers[name]
        assert fits(header["schema"], int(value) if value.isdigit() else value)
    # What tells a client what to do is never left unsaid.
    told = {"WWW-Authenticate", "Retry-After"} & reply.headers.keys()
    assert told == said.get("headers", {}).keys()
