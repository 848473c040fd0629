"""The table of routes: who may use each, and what it can answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

from receiver.controller.answers import Person, Sender, Steering
from receiver.web.answers import Answers
from receiver.web.auth import Verb


@dataclass(frozen=True, slots=True)
class Open:
    """A route for everybody."""

    method: str
    path: str
    meaning: str
    answer: Callable[[Answers, web.Request], Awaitable[web.Response]]
    codes: tuple[int, ...] = (200,)


@dataclass(frozen=True, slots=True)
class ForSender:
    """A route for whoever may post alerts."""

    method: str
    path: str
    meaning: str
    answer: Callable[[Answers, web.Request, Sender], Awaitable[web.Response]]
    codes: tuple[int, ...] = (200, 400, 401, 403, 408, 413, 415, 503)


_ASKED = (200, 400, 401, 403, 404, 500, 503)
_TOLD = (200, 400, 401, 403, 404, 408, 409, 413, 415, 500, 503)


@dataclass(frozen=True, slots=True)
class ForPerson:
    """A route for people who may `verb`."""

    method: str
    path: str
    meaning: str
    answer: Callable[[Answers, web.Request, Person], Awaitable[web.Response]]
    verb: Verb
    codes: tuple[int, ...] = _ASKED


Route: TypeAlias = Open | ForSender | ForPerson


async def _index(answers: Answers, _: web.Request) -> web.Response:
    return answers.page([(f"{route.method} {route.path}", route.meaning) for route in ROUTES])


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
    ForSender("POST", "/api/v1/alerts", "Alertmanager's webhook", Answers.alerts),
    ForPerson(
        "POST",
        f"{_ONE}/rollback",
        "roll back by hand",
        Answers.rollback,
        "patch",
        (*_TOLD, 202, 422),
    ),
    ForPerson(
        "GET", "/api/v1/deployments", "the opted-in Deployments", Answers.deployments, "list"
    ),
    ForPerson("GET", _ONE, "one Deployment with its history", Answers.deployment, "get"),
    ForPerson("POST", f"{_ONE}/pause", "pause its automation", Answers.pause, "patch", _TOLD),
    ForPerson("POST", f"{_ONE}/resume", "resume its automation", Answers.resume, "patch", _TOLD),
    ForPerson(
        "POST",
        f"{_ONE}/revisions/{{hash}}/clear",
        "take a revision out of quarantine",
        Answers.clear,
        "patch",
        _TOLD,
    ),
    ForPerson(
        "POST",
        _RELEASE,
        "begin a staged release",
        Answers.begin_release,
        "deploy",
        (*_TOLD, 202),
    ),
    ForPerson("GET", _RELEASE, "the staged release, or the last one", Answers.release, "get"),
    ForPerson("GET", f"{_RELEASE}/log.md", "its deployment log", Answers.release_log, "get"),
    *(
        ForPerson("POST", f"{_RELEASE}/{what}", meaning, _steering(what), "patch", _TOLD)
        for what, meaning in _STEERINGS
    ),
    ForPerson(
        "POST",
        f"{_RELEASE}/checks/{{id}}",
        "tick a line of its checklists",
        Answers.tick,
        "patch",
        _TOLD,
    ),
    ForPerson("GET", "/api/v1/incidents", "what happened", Answers.incidents, "list"),
    ForPerson("GET", "/api/v1/incidents/{id}", "one incident", Answers.incident, "see"),
    ForPerson(
        "GET", "/api/v1/scorecard", "what shadow mode would have done", Answers.scorecard, "list"
    ),
    ForPerson("GET", _STOP, "the kill switch", Answers.stopped, "stop"),
    ForPerson("PUT", _STOP, "stop the automation of all", Answers.stop, "stop", _TOLD),
    ForPerson("DELETE", _STOP, "let it go on", Answers.start, "start"),
    ForPerson("GET", _BREAKER, "the mass-alert breaker", Answers.breaker, "stop"),
    ForPerson("DELETE", _BREAKER, "close it", Answers.close_breaker, "start"),
    Open("GET", "/health", "how we are", Answers.health),
    Open("GET", "/ready", "whether to send us work", Answers.ready, (200, 503)),
    Open("GET", "/metrics", "for Prometheus", Answers.metrics),
    Open("GET", "/", "this page", _index),
)

PUBLIC = frozenset(route.path for route in ROUTES if isinstance(route, Open))
