"""The kinds of sinks: what each needs to know. Every secret is in a file or in the environment."""

import importlib.util
import ipaddress
import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from receiver.config.part import Part, setting
from receiver.config.values import (
    SecretFile,
    SecretFileLines,
    SecretVariable,
    SecretVariableLines,
    Text,
    WebAddress,
    is_loopback,
)


def _channel(value: str) -> str:
    if value.startswith("#"):
        raise ValueError(
            "is the name of a channel, which can change: write its ID, such as C0123ABCDEF "
            "(in Slack it stands at the end of the channel's details)"
        )
    if not re.fullmatch(r"[CGD][A-Z0-9]{2,30}", value):
        raise ValueError("is no ID of a channel, such as C0123ABCDEF")
    return value


def _mention(value: str) -> str:
    if not re.fullmatch(
        r"<!here>|<!channel>|<!subteam\^S[A-Z0-9]{2,30}>|<@U[A-Z0-9]{2,30}>", value
    ):
        raise ValueError("must be <!here>, <!channel>, <!subteam^S...> or <@U...>, with an ID")
    return value


def _mailbox(value: str) -> str:
    part = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"
    if not re.fullmatch(rf"{part}{{1,64}}@[A-Za-z0-9][A-Za-z0-9.-]{{0,250}}", value):
        raise ValueError("is no address such as on-call@example.com")
    return value


def _host(value: str) -> str:
    if is_loopback(value) or re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", value):
        return value
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("is no name or address of a host") from None
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must hold at least one")
    return value


Channel = Annotated[str, Field(strict=True), AfterValidator(_channel)]
Mention = Annotated[str, Field(strict=True), AfterValidator(_mention)]
Mailbox = Annotated[str, Field(strict=True), AfterValidator(_mailbox)]
Mailboxes = Annotated[tuple[Mailbox, ...], AfterValidator(_some)]
Host = Annotated[str, Field(strict=True), AfterValidator(_host)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]

MENTION = "Slack: who is mentioned where people are needed, such as `<!here>` or `<!subteam^S...>`"
URL_FILE = "slack-webhook, webhook, apprise: file with the URL"
VARIABLE = "or the environment variable that holds it"


def _one_of(part: Part, file: str, variable: str) -> None:
    if bool(getattr(part, file)) is bool(getattr(part, variable)):
        raise ValueError(f"needs {file} or {variable}, one of the two")


class Slack(Part):
    """A Slack bot in one channel: one message for each incident, changed as it moves."""

    kind: Literal["slack"]
    token_file: SecretFile = setting("", "slack: file with the bot's token (`xoxb-`)")
    token_env: SecretVariable = setting("", VARIABLE)
    channel: Channel = Field(description="slack: ID of the channel, such as C0123ABCDEF")
    mention: Mention = setting("", MENTION)
    endpoint: WebAddress = setting("https://slack.com/api/", "slack: where the Web API is")

    @model_validator(mode="after")
    def _one_place(self) -> "Slack":
        _one_of(self, "token_file", "token_env")
        return self


class UrlSink(Part):
    """A sink that is known by its URL, which is a secret."""

    url_file: SecretFile = setting("", URL_FILE)
    url_env: SecretVariable = setting("", VARIABLE)

    @model_validator(mode="after")
    def _one_url(self) -> "UrlSink":
        _one_of(self, "url_file", "url_env")
        return self


class SlackWebhook(UrlSink):
    """A Slack incoming webhook: one channel, and nothing can be changed later."""

    kind: Literal["slack-webhook"]
    mention: Mention = setting("", MENTION)


class PagerDuty(Part):
    """A PagerDuty service (Events API v2)."""

    kind: Literal["pagerduty"]
    routing_key_file: SecretFile = setting("", "pagerduty: file with the routing key")
    routing_key_env: SecretVariable = setting("", VARIABLE)
    endpoint: WebAddress = setting(
        "https://events.pagerduty.com",
        "pagerduty: where the Events API is; that of the EU: https://events.eu.pagerduty.com",
    )

    @model_validator(mode="after")
    def _one_place(self) -> "PagerDuty":
        _one_of(self, "routing_key_file", "routing_key_env")
        return self


class Webhook(UrlSink):
    """An endpoint of your own, which gets signed JSON."""

    kind: Literal["webhook"]
    secret_file: SecretFileLines = setting(
        "", "webhook: file with the secret that signs; several lines while it rotates"
    )
    secret_env: SecretVariableLines = setting("", VARIABLE)

    @model_validator(mode="after")
    def _one_secret(self) -> "Webhook":
        _one_of(self, "secret_file", "secret_env")
        return self


class Email(Part):
    """E-mail by way of an SMTP server."""

    kind: Literal["email"]
    host: Host = Field(description="email: the SMTP server")
    port: Port = setting(587, "email: its port; mostly 465 for `tls`")
    tls: Literal["starttls", "tls", "none"] = setting(
        "starttls", "email: how it is kept private; `none` on this machine only"
    )
    username: Text | None = setting(None, "email: name to log in with; none: no login")
    password_file: SecretFile = setting("", "email: file with the password for it")
    sender: Mailbox = Field(alias="from", description="email: address it comes from")
    to: Mailboxes = Field(description="email: addresses it goes to, at least one")

    @model_validator(mode="after")
    def _makes_sense(self) -> "Email":
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError("tls: none is for a server on this machine only")
        if (self.username is not None) is not bool(self.password_file):
            raise ValueError("username and password_file belong together")
        return self


def missing_extra(package: str, extra: str) -> str:
    """Return what is wrong when the package of an extra is not installed, "" when it is."""
    if importlib.util.find_spec(package) is not None:
        return ""
    return f"needs the extra `{extra}`: install rollback-receiver[{extra}]"


class Apprise(UrlSink):
    """Everything else that the Apprise library can reach; for nothing critical."""

    kind: Literal["apprise"]

    @model_validator(mode="after")
    def _installed(self) -> "Apprise":
        if problem := missing_extra("apprise", "apprise"):
            raise ValueError(problem)
        return self


Sink: TypeAlias = Slack | SlackWebhook | PagerDuty | Webhook | Email | Apprise
KINDS: dict[str, type[Part]] = {
    "slack": Slack,
    "slack-webhook": SlackWebhook,
    "pagerduty": PagerDuty,
    "webhook": Webhook,
    "email": Email,
    "apprise": Apprise,
}
# What somebody may well write, and why it is no setting of that kind.
_OF_A_WEBHOOK = "is of an incoming webhook: did you mean kind slack-webhook?"
NO_SETTING = {
    ("slack-webhook", "channel"): (
        "an incoming webhook posts to the one channel it was made for: "
        "use kind slack (a bot) to choose one"
    ),
    ("slack", "url_file"): _OF_A_WEBHOOK,
    ("slack", "url_env"): _OF_A_WEBHOOK,
}
# Kinds that may say no more than "maybe": critical notices do not depend on them.
NEVER_CRITICAL = frozenset({"apprise"})
