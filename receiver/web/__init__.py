"""HTTP in: Alertmanager's webhook, the API for people, and how we are."""

from receiver.web.application import REJECTIONS, application, runner, series
from receiver.web.auth import Basic, Credentials, People, StaticPeople, Token
from receiver.web.routes import PUBLIC, ROUTES, Limits, Web

__all__ = [
    "PUBLIC",
    "REJECTIONS",
    "ROUTES",
    "Basic",
    "Credentials",
    "Limits",
    "People",
    "StaticPeople",
    "Token",
    "Web",
    "application",
    "runner",
    "series",
]
