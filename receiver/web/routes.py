"""The table of routes: who may use each, and what it can answer."""

import functools
import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from receiver import __version__
from receiver.controller.answers import Person, Steering
from receiver.web import shapes
from receiver.web.answers import Answers
from receiver.web.openapi import document
from receiver.web.route import TOLD, ForPerson, ForSender, Open, Route
from receiver.web.wish import NewRelease, Rollback, Tick, Why


async def _index(answers: Answers, _: web.Request) -> web.Response:
    return answers.page([(f"{route.method} {route.path}", route.meaning) for route in ROUTES])


@functools.cache
def _document() -> str:
    return json.dumps(document(ROUTES, __version__))


async def _openapi(_: Answers, __: web.Request) -> web.Response:
    return web.json_response(text=_document())


def _steering(
    what: Steering,
) -> Callable[[Answers, web.Request, Person], Awaitable[web.Response]]:
    async def answer(answers: Answers, request: web.Request, person: Person) -> web.Response:
        return await answers.steer(what, request, person)

    return answer


# What people may do with a release in progress.
_STEERINGS: tuple[tuple[Steering, str], ...] = (
    ("approve", "approve the next stage, by role"),
    ("reject", "end it: the next stage is not approved"),
    ("pause", "let it stay as it is"),
    ("resume", "let it go on"),
    ("abort", "end it"),
    ("promote", "end the soak of this stage early, by role"),
)

_ONE = "/api/v1/deployments/{namespace}/{name}"
_RELEASE = f"{_ONE}/release"
_STOP, _BREAKER = "/api/v1/stop", "/api/v1/breaker"

ROUTES: tuple[Route, ...] = (
    ForSender(
        "POST",
        "/api/v1/alerts",
        "Alertmanager's webhook",
        Answers.alerts,
        body=shapes.Webhook,
        dry_run=True,
        gives=shapes.Decided,
    ),
    ForPerson(
        "POST",
        f"{_ONE}/rollback",
        "roll back by hand",
        Answers.rollback,
        "patch",
        (*TOLD, 202, 422),
        body=Rollback,
        key=True,
        gives=shapes.RolledBack,
    ),
    ForPerson(
        "GET",
        "/api/v1/deployments",
        "the opted-in Deployments",
        Answers.deployments,
        "list",
        gives=shapes.Deployments,
    ),
    ForPerson(
        "GET",
        _ONE,
        "one Deployment with its history",
        Answers.deployment,
        "get",
        gives=shapes.Deployment,
    ),
    ForPerson(
        "POST",
        f"{_ONE}/pause",
        "pause its automation",
        Answers.pause,
        "patch",
        TOLD,
        body=Why,
        gives=shapes.Deployment,
    ),
    ForPerson(
        "POST",
        f"{_ONE}/resume",
        "resume its automation",
        Answers.resume,
        "patch",
        TOLD,
        gives=shapes.Deployment,
    ),
    ForPerson(
        "POST",
        f"{_ONE}/revisions/{{hash}}/clear",
        "take a revision out of quarantine",
        Answers.clear,
        "patch",
        TOLD,
        gives=shapes.Deployment,
    ),
    ForPerson(
        "POST",
        _RELEASE,
        "begin a staged release",
        Answers.begin_release,
        "deploy",
        (*TOLD, 202),
        body=NewRelease,
        gives=shapes.BegunRelease,
    ),
    ForPerson(
        "GET",
        _RELEASE,
        "the staged release, or the last one",
        Answers.release,
        "get",
        gives=shapes.Release,
    ),
    ForPerson(
        "GET",
        f"{_RELEASE}/log.md",
        "its deployment log",
        Answers.release_log,
        "get",
        gives="text/markdown",
    ),
    *(
        ForPerson(
            "POST",
            f"{_RELEASE}/{what}",
            meaning,
            _steering(what),
            "patch",
            TOLD,
            body=Why,
            gives=shapes.Release,
        )
        for what, meaning in _STEERINGS
    ),
    ForPerson(
        "POST",
        f"{_RELEASE}/checks/{{id}}",
        "tick a line of its checklists",
        Answers.tick,
        "patch",
        TOLD,
        body=Tick,
        gives=shapes.Release,
    ),
    ForPerson(
        "GET",
        "/api/v1/incidents",
        "what happened",
        Answers.incidents,
        "list",
        gives=shapes.Incidents,
    ),
    ForPerson(
        "GET",
        "/api/v1/incidents/{id}",
        "one incident",
        Answers.incident,
        "see",
        gives=shapes.Incident,
    ),
    ForPerson(
        "GET",
        "/api/v1/scorecard",
        "what shadow mode would have done",
        Answers.scorecard,
        "list",
        gives=shapes.Scorecard,
    ),
    ForPerson("GET", _STOP, "the kill switch", Answers.stopped, "stop", gives=shapes.Switch),
    ForPerson(
        "PUT",
        _STOP,
        "stop the automation of all",
        Answers.stop,
        "stop",
        TOLD,
        body=Why,
        gives=shapes.Switch,
    ),
    ForPerson("DELETE", _STOP, "let it go on", Answers.start, "start", gives=shapes.Switch),
    ForPerson(
        "GET", _BREAKER, "the mass-alert breaker", Answers.breaker, "stop", gives=shapes.Breaker
    ),
    ForPerson("DELETE", _BREAKER, "close it", Answers.close_breaker, "start", gives=shapes.Breaker),
    Open("GET", "/health", "how we are", Answers.health, gives=shapes.Health),
    Open(
        "GET",
        "/ready",
        "whether to send us work",
        Answers.ready,
        (200, 503),
        gives=shapes.Readiness,
    ),
    Open("GET", "/metrics", "for Prometheus", Answers.metrics, gives="text/plain"),
    Open("GET", "/openapi.json", "this API, as OpenAPI 3.1", _openapi, gives=shapes.Document),
    Open("GET", "/", "this page", _index, gives="text/html"),
)

PUBLIC = frozenset(route.path for route in ROUTES if isinstance(route, Open))
