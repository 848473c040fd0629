"""The sinks of a configuration: each kind, and what is wrong with one."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.config import Secrets, Settings, parse
from receiver.config.sinks import KINDS, Apprise, Email, Slack, Webhook, missing_extra

CANARY = "canary-in-a-file-7c3e"
CA = Path(__file__).parent.parent / "notify" / "ca.pem"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("token", "key", "password", "hmac", "url"):
        (tmp_path / name).write_text(f"{CANARY}-{name}\n")
    return tmp_path


def kinds(folder: Path) -> dict[str, dict[str, Any]]:
    """Return one good sink of each kind."""
    return {
        "slack": {"kind": "slack", "token_file": f"{folder}/token", "channel": "C0123ABCDEF"},
        "slack-webhook": {"kind": "slack-webhook", "url_file": f"{folder}/url"},
        "pagerduty": {"kind": "pagerduty", "routing_key_file": f"{folder}/key"},
        "webhook": {
            "kind": "webhook",
            "url_file": f"{folder}/url",
            "secret_file": f"{folder}/hmac",
        },
        "email": {
            "kind": "email",
            "host": "smtp.example.com",
            "username": "receiver",
            "password_file": f"{folder}/password",
            "from": "rollback-receiver@example.com",
            "to": ["on-call@example.com"],
        },
        "apprise": {"kind": "apprise", "url_file": f"{folder}/url"},
    }


def read(folder: Path, notify: dict[str, Any]) -> Settings | list[str]:
    document = {
        "auth": {"webhook": {"bearer_tokens": [{"file": f"{folder}/token"}]}},
        "kubernetes": {"namespaces": ["shop"]},
        "notify": notify,
    }
    found = parse(yaml.safe_dump(document))
    return found if isinstance(found, Settings) else [str(each) for each in found]


def good(folder: Path, notify: dict[str, Any]) -> Settings:
    found = read(folder, notify)
    assert isinstance(found, Settings), found
    return found


def wrong(folder: Path, notify: dict[str, Any]) -> list[str]:
    found = read(folder, notify)
    assert isinstance(found, list)
    return found


def without_lines(problems: list[str]) -> str:
    return re.sub(r" \(line [0-9]+\)", "", "\n".join(problems))


def test_every_kind_is_read(folder: Path) -> None:
    sinks = kinds(folder)
    assert set(sinks) == set(KINDS)
    routes = {"critical": ["pagerduty", "slack"], "default": ["slack", "apprise"]}
    notify = good(folder, {"sinks": sinks, "routes": routes}).notify
    slack, hook, mail = (notify.sinks[name] for name in ("slack", "webhook", "email"))
    assert isinstance(slack, Slack)
    assert (slack.channel, slack.mention) == ("C0123ABCDEF", "")
    assert slack.endpoint == "https://slack.com/api/"
    assert isinstance(hook, Webhook)
    assert isinstance(mail, Email)
    assert (mail.port, mail.tls, mail.sender) == (587, "starttls", "rollback-receiver@example.com")
    assert isinstance(notify.sinks["apprise"], Apprise)


# The kind that is changed, what of it, and what is said about it.
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("slack", {"channel": "#prod-alerts"}, ".channel: is the name of a channel, which"),
    ("slack", {"channel": "prod-alerts"}, "is no ID of a channel, such as C0123ABCDEF"),
    ("slack", {"channel": "U0123ABCDEF"}, "is no ID of a channel"),
    ("slack", {"channel": None}, ".channel: is missing"),
    ("slack", {"token_file": None}, "needs token_file or token_env, one of the two"),
    ("slack", {"token_env": "HOME"}, "needs token_file or token_env, one of the two"),
    ("slack", {"endpoint": "http://slack.com/api/"}, "must begin with https://"),
    ("slack", {"url_file": "x"}, "is of an incoming webhook: did you mean kind slack-webhook?"),
    ("slack-webhook", {"channel": "C0123ABCDEF"}, "posts to the one channel it was made for"),
    ("slack-webhook", {"chanel": "C0123ABCDEF"}, ".chanel: is no setting"),
    ("slack-webhook", {"token_file": "x"}, ".token_file: is no setting"),
    *(
        (kind, {"mention": mention}, "must be <!here>, <!channel>, <!subteam^S...> or <@U...>")
        for kind in ("slack", "slack-webhook")
        for mention in ("@here", "<!everyone>", "<@W>", "<!here> <!here>", "<!subteam^S>", "x")
    ),
    ("pagerduty", {"routing_key_env": "HOME"}, "needs routing_key_file or routing_key_env"),
    ("webhook", {"secret_file": None}, "needs secret_file or secret_env, one of the two"),
    ("webhook", {"url_env": "HOME"}, "needs url_file or url_env, one of the two"),
    ("email", {"host": "smtp.example.com:25"}, "is no name or address of a host"),
    ("email", {"port": 0}, ".port: must be greater than or equal to 1"),
    ("email", {"tls": "ssl"}, "must be 'starttls', 'tls' or 'none'"),
    ("email", {"tls": "none"}, "tls: none is for a server on this machine only"),
    ("email", {"username": None}, "username and password_file belong together"),
    ("email", {"password_file": None}, "username and password_file belong together"),
    ("email", {"from": None}, ".from: is missing"),
    ("email", {"from": "On Call <a@example.com>"}, "is no address such as on-call@example.com"),
    ("email", {"from": "a@example.com\nBcc: b@example.com"}, "is no address"),
    ("email", {"to": []}, "must hold at least one"),
    ("email", {"to": ["nobody"]}, ".to[0]: is no address"),
    ("email", {"fron": "a@example.com"}, "is no setting; did you mean from?"),
]


@pytest.mark.parametrize(("kind", "change", "said"), WRONG)
def test_what_is_wrong_with_a_sink_is_said(
    kind: str, change: dict[str, Any], said: str, folder: Path
) -> None:
    sink = {k: v for k, v in (kinds(folder)[kind] | change).items() if v is not None}
    problems = wrong(folder, {"sinks": {"it": sink}, "routes": {"default": ["it"]}})
    text = without_lines(problems)
    assert said in text
    assert "notify.sinks.it" in text
    assert CANARY not in text


@pytest.mark.parametrize(
    "mention", ["<!here>", "<!channel>", "<!subteam^S012AB3CD>", "<@U012AB3CD>"]
)
def test_a_mention_is_one_that_slack_knows(mention: str, folder: Path) -> None:
    sink = kinds(folder)["slack"] | {"mention": mention}
    notify = good(folder, {"sinks": {"it": sink}, "routes": {"default": ["it"]}}).notify
    found = notify.sinks["it"]
    assert isinstance(found, Slack)
    assert found.mention == mention


def test_a_server_on_this_machine_may_go_without_tls(folder: Path) -> None:
    sink = kinds(folder)["email"] | {"tls": "none", "host": "localhost"}
    good(folder, {"sinks": {"it": sink}, "routes": {"default": ["it"]}})


def test_a_missing_extra_is_named() -> None:
    assert missing_extra("yaml", "apprise") == ""
    assert missing_extra("no_such_package", "apprise") == (
        "needs the extra `apprise`: install rollback-receiver[apprise]"
    )


# --- who hears of what is critical


WEAK = "is of the kind apprise, which may lose what is critical"


@pytest.mark.parametrize(
    ("notify", "path"),
    [
        ({"routes": {"critical": ["pager", "odd"], "default": ["pager"]}}, "routes.critical"),
        ({"routes": {"default": ["pager", "odd"]}}, "routes.critical"),
        ({"routes": {"default": ["pager"]}, "fallback": ["pager", "odd"]}, "fallback"),
        ({"routes": {"default": ["pager"]}}, "fallback"),  # by its usual name
        ({}, "routes.critical"),  # by its usual name
    ],
)
def test_apprise_carries_nothing_critical(notify: dict[str, Any], path: str, folder: Path) -> None:
    each = kinds(folder)
    name = "odd"
    if not notify:
        name = "prod-alerts"
    elif path == "fallback" and "fallback" not in notify:
        name = "fallback"
    sinks = {"pager": each["pagerduty"], "engineering": each["slack"], name: each["apprise"]}
    sinks |= {"deployments": each["slack"]}
    problems = wrong(folder, {"sinks": sinks} | notify)
    assert any(each.startswith(f"notify.{path}") and WEAK in each for each in problems), problems
    assert all(WEAK in each for each in problems), problems


def test_apprise_may_carry_the_rest(folder: Path) -> None:
    each = kinds(folder)
    sinks = {"pager": each["pagerduty"], "odd": each["apprise"]}
    routes = {"critical": ["pager"], "default": ["odd"]}
    good(folder, {"sinks": sinks, "routes": routes})


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        (None, ("prod-alerts", "fallback")),
        (["mail"], ("mail",)),
        ([], ()),
    ],
)
def test_the_fallback_is_what_is_named_or_has_the_usual_name(
    fallback: list[str] | None, expected: tuple[str, ...], folder: Path
) -> None:
    each = kinds(folder)
    names = ("fallback", "mail", "prod-alerts", "engineering", "deployments")
    notify: dict[str, Any] = {"sinks": dict.fromkeys(names, each["email"])}
    if fallback is not None:
        notify["fallback"] = fallback
    assert good(folder, notify).notify.fallbacks() == expected


def test_a_fallback_that_is_not_there_is_told(folder: Path) -> None:
    sinks = {"chat": kinds(folder)["slack"]}
    notify = {"sinks": sinks, "routes": {"default": ["chat"]}, "fallback": ["chatt"]}
    [problem] = wrong(folder, notify)
    assert problem.startswith("notify.fallback[0]")
    assert problem.endswith("there is no sink 'chatt'; did you mean chat?")


# --- the way out


def test_the_way_out_is_read(folder: Path) -> None:
    sinks = {"it": kinds(folder)["slack"]}
    notify = good(
        folder,
        {
            "sinks": sinks,
            "routes": {"default": ["it"]},
            "proxy_url": "http://proxy.example.com:3128",
            "ca_file": str(CA),
            "private_addresses": ["10.1.0.0/16", "fd00::/8"],
        },
    ).notify
    assert notify.proxy_url == "http://proxy.example.com:3128"
    assert [str(each) for each in notify.private_addresses] == ["10.1.0.0/16", "fd00::/8"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"proxy_url": "proxy:3128"}, "notify.proxy_url: is no URL such as"),
        ({"proxy_url": "http://user:pass@proxy:3128"}, "is no URL such as"),
        ({"ca_file": "/nope"}, "notify.ca_file: there is no such file"),
        ({"ca_file": __file__}, "holds no certificates in PEM"),
        ({"private_addresses": ["10.1.2.3/16"]}, "notify.private_addresses[0]"),
        ({"private_addresses": ["internal"]}, "is no network, such as 10.1.0.0/16"),
        ({"private_addresses": [10]}, "is no network, such as 10.1.0.0/16"),
    ],
)
def test_what_is_wrong_with_the_way_out_is_said(
    change: dict[str, Any], said: str, folder: Path
) -> None:
    notify = {"sinks": {"it": kinds(folder)["slack"]}, "routes": {"default": ["it"]}} | change
    text = without_lines(wrong(folder, notify))
    assert said in text


# --- what is secret


def test_every_secret_of_every_kind_is_known_to_the_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "hmac").write_text("new-secret\n  old-secret\n")
    monkeypatch.setenv("SECRETS", "one-secret\ntwo-secret")
    each = kinds(folder)
    each["signed"] = {"kind": "webhook", "url_file": f"{folder}/url", "secret_env": "SECRETS"}
    routes = {"critical": ["pagerduty"], "default": ["slack"]}
    known = Secrets(good(folder, {"sinks": each, "routes": routes}))
    files = {f"{CANARY}-{name}" for name in ("token", "key", "password", "url")}
    assert set(known()) >= files | {"new-secret", "old-secret", "one-secret", "two-secret"}
    (folder / "hmac").write_text("newest-secret\n")
    # What was rotated away is still secret for a while.
    assert {"newest-secret", "new-secret", "old-secret"} <= set(known())
    (folder / "hmac").unlink()
    assert "newest-secret" in known()
