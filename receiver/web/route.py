"""What a route is: who may use it, what it takes, and what it can answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web
from pydantic import BaseModel

from receiver.controller.answers import Person, Sender
from receiver.web.answers import Answers
from receiver.web.auth import Verb


@dataclass(frozen=True, slots=True)
class Described:
    """What each route says of itself, in the document of the API too.

    `body` is the form of what it takes; `dry_run` whether it takes that query, `key`
    whether it takes the header `Idempotency-Key`. `gives` is the form of the JSON that it answers,
    or the media type of what is no JSON.
    """

    method: str
    path: str
    meaning: str
    body: type[BaseModel] | None = field(default=None, kw_only=True)
    dry_run: bool = field(default=False, kw_only=True)
    key: bool = field(default=False, kw_only=True)
    gives: type[BaseModel] | str = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Open(Described):
    """A route for everybody."""

    answer: Callable[[Answers, web.Request], Awaitable[web.Response]]
    codes: tuple[int, ...] = (200,)


@dataclass(frozen=True, slots=True)
class ForSender(Described):
    """A route for whoever may post alerts."""

    answer: Callable[[Answers, web.Request, Sender], Awaitable[web.Response]]
    codes: tuple[int, ...] = (200, 400, 401, 403, 408, 413, 415, 503)


ASKED = (200, 400, 401, 403, 404, 500, 503)
TOLD = (200, 400, 401, 403, 404, 408, 409, 413, 415, 500, 503)


@dataclass(frozen=True, slots=True)
class ForPerson(Described):
    """A route for people who may `verb`."""

    answer: Callable[[Answers, web.Request, Person], Awaitable[web.Response]]
    verb: Verb
    codes: tuple[int, ...] = ASKED


Route: TypeAlias = Open | ForSender | ForPerson
