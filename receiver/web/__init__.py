"""HTTP in: Alertmanager's webhook, the API for people, and how we are."""

from receiver.web.application import PUBLIC, Limits, Web, application
from receiver.web.auth import Basic, Credentials, StaticPeople, Token

__all__ = [
    "PUBLIC",
    "Basic",
    "Credentials",
    "Limits",
    "StaticPeople",
    "Token",
    "Web",
    "application",
]
