"""HTTP in: Alertmanager's webhook, the API for people, and how we are."""

from receiver.web.answers import Limits, Web
from receiver.web.application import REJECTIONS, application, runner, series
from receiver.web.auth import (
    Basic,
    Credentials,
    KubernetesPeople,
    KubernetesSenders,
    People,
    Role,
    StaticPeople,
)
from receiver.web.identities import Identities
from receiver.web.routes import PUBLIC, ROUTES
from receiver.web.tokens import Token

__all__ = [
    "PUBLIC",
    "REJECTIONS",
    "ROUTES",
    "Basic",
    "Credentials",
    "Identities",
    "KubernetesPeople",
    "KubernetesSenders",
    "Limits",
    "People",
    "Role",
    "StaticPeople",
    "Token",
    "Web",
    "application",
    "runner",
    "series",
]
