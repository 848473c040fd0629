"""The document of the API, OpenAPI 3.1 (spec.openapis.org/oas/v3.1.0), made from the routes.

Whatever a route can take and answer is said beside it, so that the document is never out of date.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import WithDefaultSchema

from receiver import alerts as al
from receiver.controller.answers import Json
from receiver.web.answers import CHECK, HASH, INCIDENT
from receiver.web.route import ForPerson, ForSender, Open, Route
from receiver.web.shapes import Error
from receiver.web.wish import KEY_LENGTH

VERSION = "3.1.0"

_COMPONENT = "#/components/schemas/{model}"
_REFUSED = 400

# What each code means here; RFC 9110, 15, has the rest.
_CODES: Mapping[int, str] = MappingProxyType(
    {
        200: "done, or shown",
        202: "begun; it goes on",
        400: "not understood; `reason` says what is wrong",
        401: "no valid credential",
        403: "this caller may not do that",
        404: "not there",
        408: "the body did not come in time",
        409: "not as things are; `reason` says why",
        413: "the body is too large",
        415: "the body is compressed",
        422: "this Idempotency-Key was used for another request",
        500: "a person must look at the log",
        503: "not possible right now",
    }
)

# RFC 9110: a 401 says how to authenticate (11.6.1), a 503 when to try again (10.2.3).
_HEADERS: Mapping[int, Json] = MappingProxyType(
    {
        401: {
            "WWW-Authenticate": {
                "description": "how to authenticate",
                "required": True,
                "schema": {"type": "string"},
            }
        },
        503: {
            "Retry-After": {
                "description": "seconds to wait before the next try",
                "required": True,
                "schema": {"type": "integer", "minimum": 1},
            }
        },
    }
)

# What a step of a path may be, by the step before it: an id is not everywhere the same.
_STEPS: Mapping[tuple[str, str], tuple[str, Json]] = MappingProxyType(
    {
        ("deployments", "{namespace}"): (
            "a namespace",
            {"type": "string", "pattern": f"^{al.LABEL.pattern}$"},
        ),
        ("{namespace}", "{name}"): (
            "a Deployment in it",
            {
                "type": "string",
                "maxLength": 253,
                "pattern": rf"^{al.WORD}(\.{al.WORD})*$",
            },
        ),
        ("revisions", "{hash}"): (
            "the pod-template-hash of a revision",
            {"type": "string", "pattern": f"^{HASH.pattern}$"},
        ),
        ("checks", "{id}"): (
            "a line of the checklists",
            {"type": "string", "pattern": f"^{CHECK.pattern}$"},
        ),
        ("incidents", "{id}"): (
            "an incident",
            {"type": "string", "pattern": f"^{INCIDENT.pattern}$"},
        ),
    }
)

_DRY_RUN: Json = {
    "name": "dry_run",
    "in": "query",
    "description": "explain each decision and write nothing",
    "schema": {"type": "boolean", "default": False},
}
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "printable; the same request with the same key is done once and answered alike",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH},
}

_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "a Kubernetes token for the audience of the configuration,"
        " or one from a file of it",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "the user name and the password of the configuration, for the webhook alone",
    },
}


def document(routes: Iterable[Route], version: str) -> Json:
    """Return the document of these routes, for this version of ours, as JSON can hold it.

    Raises `KeyError` for a status code, or a parameter in a path, that it has no words for.
    """
    listed = tuple(routes)
    paths: dict[str, Json] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": VERSION,
        "info": {
            "title": "rollback-receiver",
            "version": version,
            "description": "Undoes a bad Kubernetes release when Alertmanager says that it is bad."
            " Bodies are JSON, whatever their Content-Type says; a compressed one is refused."
            " Answers may get more fields.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _schemas(listed), "securitySchemes": _SCHEMES},
    }


def operation_id(method: str, path: str) -> str:
    """Return the name of an operation: its method and the words of its path."""
    words = re.findall(r"\w+", path.removeprefix("/api/v1")) or ["page"]
    return "_".join((method.lower(), *words))


def _operation(route: Route) -> Json:
    found: Json = {
        "operationId": operation_id(route.method, route.path),
        "summary": route.meaning,
        "security": _security(route),
        "responses": {str(code): _response(route, code) for code in sorted(route.codes)},
    }
    parameters = _parameters(route)
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        found["requestBody"] = {
            # An empty body is read as {}.
            "required": any(each.is_required() for each in route.body.model_fields.values()),
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    return found


def _security(route: Route) -> list[Json]:
    """Return the ways to authenticate, any of which will do; none where nobody has to."""
    match route:
        case Open():
            return []
        case ForSender():
            return [{"bearer": []}, {"basic": []}]
        case ForPerson():
            return [{"bearer": []}]


def _parameters(route: Route) -> list[Json]:
    steps = route.path.split("/")
    found: list[Json] = []
    for before, step in itertools.pairwise(steps):
        if step.startswith("{"):
            text, schema = _STEPS[before, step]
            name = step.strip("{}")
            found.append(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": text,
                    "schema": schema,
                }
            )
    return found + [_DRY_RUN] * route.dry_run + [_KEY] * route.key


def _response(route: Route, code: int) -> Json:
    # An open route refuses nobody: whatever its code is, it answers in its own form.
    if code < _REFUSED or isinstance(route, Open):
        return {"description": _CODES[code], "content": _content(route.gives)}
    found: Json = {"description": _CODES[code], "content": _content(Error)}
    if code in _HEADERS:
        found["headers"] = _HEADERS[code]
    return found


def _content(gives: type[BaseModel] | str) -> Json:
    if isinstance(gives, str):
        return {gives: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _ref(gives)}}


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": _COMPONENT.format(model=model.__name__)}


# --- the schemas of the models


def _schemas(routes: Sequence[Route]) -> Json:
    """Return the JSON Schema (2020-12, as OpenAPI 3.1 wants it) of each model, by its name."""
    bodies = {route.body for route in routes if route.body is not None}
    answers = {route.gives for route in routes if not isinstance(route.gives, str)} | {Error}
    _, found = models_json_schema(
        [(each, "validation") for each in sorted(bodies, key=_name)]
        + [(each, "serialization") for each in sorted(answers, key=_name)],
        ref_template=_COMPONENT,
        schema_generator=_Schemas,
    )
    schemas: dict[str, Json] = found["$defs"]
    return dict(sorted(schemas.items()))


def _name(model: type[BaseModel]) -> str:
    return model.__name__


class _Schemas(GenerateJsonSchema):
    """What pydantic makes of a model, without what only repeats the name of a field."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Return that no field has a title."""
        del schema
        return False

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema of a field with a default; null says nothing that is not known."""
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)
