"""What a good file becomes: frozen, typed values, and the defaults of the design."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from receiver.alerts import Matcher
from receiver.config import Problem, Secrets, Settings, described, parse, read
from receiver.config.settings import SEVERITIES
from receiver.config.sinks import SlackWebhook
from receiver.config.table import parts_of
from receiver.config.values import size, span

SECRET = "canary-in-a-file-5f6a"
URL = f"https://hooks.slack.com/services/T0/B0/{SECRET}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("token", "password", "key"):
        (tmp_path / name).write_text(f"{SECRET}\n")
    (tmp_path / "url").write_text(URL)
    return tmp_path


def least(folder: Path) -> dict[str, Any]:
    """Return what a first installation needs."""
    slack = {"kind": "slack-webhook", "url_file": str(folder / "url")}
    return {
        "auth": {"webhook": {"bearer_tokens": [{"file": str(folder / "token")}]}},
        "kubernetes": {"namespaces": ["shop"]},
        "notify": {
            "sinks": {
                "prod-alerts": slack,
                "engineering": slack,
                "deployments": slack,
                "pagerduty": {"kind": "pagerduty", "routing_key_file": str(folder / "key")},
            }
        },
    }


def good(document: dict[str, Any], *, insecure: bool = False) -> Settings:
    found = parse(yaml.safe_dump(document), insecure=insecure)
    assert isinstance(found, Settings), [str(each) for each in found]
    return found


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    here = document
    *above, last = path.split(".")
    for step in above:
        here = here.setdefault(step, {})
    here[last] = value
    return document


def test_a_first_installation_needs_auth_namespaces_and_notify_only(folder: Path) -> None:
    settings = good(least(folder))
    assert settings.policy.mode == "shadow"
    assert settings.kubernetes.namespaces == ("shop",)
    assert settings.policy.settle == timedelta(seconds=10)
    assert settings.server.body_limit == 32 * 2**20


def test_the_file_is_read_as_it_stands_in_the_readme(folder: Path) -> None:
    text = f"""
    # receiver.yaml
    auth:
      webhook: {{bearer_tokens: [{{file: {folder}/token}}]}}
      people:  {{kubernetes: {{audience: rollback-receiver}}}}
    kubernetes: {{namespaces: [shop]}}
    notify:
      sinks:
        prod-alerts: {{kind: slack-webhook, url_file: {folder}/url}}
        engineering: {{kind: slack-webhook, url_file: {folder}/url}}
        deployments: {{kind: slack-webhook, url_file: {folder}/url}}
        pagerduty:   {{kind: pagerduty, routing_key_file: {folder}/key}}
    policy: {{mode: act}}      # later: act
    """
    path = folder / "receiver.yaml"
    path.write_text(text)
    settings = read(path)
    assert isinstance(settings, Settings)
    assert settings.policy.mode == "act"
    assert settings.auth.people.kubernetes is not None
    assert settings.auth.people.kubernetes.verb == "patch"


def test_a_key_without_a_value_is_as_if_it_were_left_out(folder: Path) -> None:
    document = least(folder)
    for path in ("cluster.name", "kubernetes.context", "server", "policy.window", "prometheus"):
        changed(document, path, None)
    assert good(document) == good(least(folder))


DURATIONS = [
    ("1h30m", timedelta(hours=1, minutes=30)),
    ("10m", timedelta(minutes=10)),
    ("250ms", timedelta(milliseconds=250)),
    ("90s", timedelta(seconds=90)),
    ("1d", timedelta(days=1)),
    ("2w", timedelta(weeks=2)),
    ("1d2h3m4s5ms", timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5)),
]


@pytest.mark.parametrize(("text", "expected"), DURATIONS)
def test_a_duration_is_written_as_in_prometheus(
    folder: Path, text: str, expected: timedelta
) -> None:
    assert good(changed(least(folder), "policy.window", text)).policy.window == expected


SIZES = [("32MiB", 2**25), ("1KiB", 1024), ("64 KiB", 65536), ("1GiB", 2**30), ("2MB", 2 * 10**6)]


@pytest.mark.parametrize(("text", "expected"), SIZES)
def test_a_size_is_written_with_its_unit(folder: Path, text: str, expected: int) -> None:
    settings = good(changed(least(folder), "server.body_limit", text))
    assert settings.server.body_limit == expected


@pytest.mark.parametrize("value", [each for _, each in DURATIONS])
def test_a_span_is_written_so_that_it_is_read_alike(folder: Path, value: timedelta) -> None:
    assert good(changed(least(folder), "policy.window", span(value))).policy.window == value


@pytest.mark.parametrize("value", [each for _, each in SIZES])
def test_a_size_is_written_so_that_it_is_read_alike(folder: Path, value: int) -> None:
    settings = good(changed(least(folder), "server.body_limit", size(value)))
    assert settings.server.body_limit == value


TEAM = Matcher(label="team", operator="=", value="shop")
LOUD = Matcher(label="severity", operator="=~", value="critical|page")
MATCHERS: list[tuple[Any, tuple[tuple[Matcher, ...], ...]]] = [
    ([], ()),
    (['team="shop"'], ((TEAM,),)),
    (['team="shop"', "severity=~critical|page"], ((TEAM, LOUD),)),
    ([['team="shop"'], ["severity=~critical|page"]], ((TEAM,), (LOUD,))),
    ([['{team="shop",severity=~"critical|page"}']], ((TEAM, LOUD),)),
]


@pytest.mark.parametrize(("value", "expected"), MATCHERS, ids=range(len(MATCHERS)))
def test_matchers_of_one_list_must_all_fit_and_of_several_lists_one(
    folder: Path, value: Any, expected: tuple[tuple[Matcher, ...], ...]
) -> None:
    settings = good(changed(least(folder), "policy.rollback_matchers", value))
    assert settings.policy.rollback_matchers == expected


# --- routes


def test_the_usual_names_are_routed_as_in_the_plan(folder: Path) -> None:
    notify = good(least(folder)).notify
    assert {severity: notify.route(severity) for severity in SEVERITIES} == {
        "critical": ("prod-alerts", "pagerduty"),
        "warning": ("engineering",),
        "info": ("deployments",),
        "default": ("engineering",),
    }


def test_what_a_route_leaves_out_goes_to_the_default(folder: Path) -> None:
    routes = {"critical": ["pagerduty"], "info": [], "default": ["deployments"]}
    notify = good(changed(least(folder), "notify.routes", routes)).notify
    assert {severity: notify.route(severity) for severity in SEVERITIES} == {
        "critical": ("pagerduty",),
        "warning": ("deployments",),
        "info": (),
        "default": ("deployments",),
    }


def test_one_sink_for_all_is_a_short_file(folder: Path) -> None:
    document = changed(least(folder), "notify.routes", {"default": ["engineering"]})
    notify = good(document).notify
    assert {notify.route(severity) for severity in SEVERITIES} == {("engineering",)}


# --- secrets


def test_a_secret_may_come_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_URL", URL)
    sink = {"kind": "slack-webhook", "url_env": "SLACK_URL"}
    settings = good(changed(least(folder), "notify.sinks.engineering", sink))
    found = settings.notify.sinks["engineering"]
    assert isinstance(found, SlackWebhook)
    assert (found.url_env, found.url_file) == ("SLACK_URL", "")


def test_no_secret_is_in_the_settings_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_URL", URL)
    sink = {"kind": "slack-webhook", "url_env": "SLACK_URL"}
    document = changed(least(folder), "notify.sinks.engineering", sink)
    basic = {"username": "am", "password_file": str(folder / "password")}
    settings = good(changed(document, "auth.webhook.basic", basic))
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in text


def test_every_secret_that_is_named_is_known_and_a_rotated_one_is_still(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("token", "person", "password", "key", "url"):
        (folder / name).write_text(f"the-{name}\n")
    monkeypatch.setenv("SLACK_URL", URL)
    document = least(folder)
    changed(document, "notify.sinks.engineering", {"kind": "slack-webhook", "url_env": "SLACK_URL"})
    person = {"name": "on-call", "file": str(folder / "person"), "namespaces": ["shop"]}
    changed(document, "auth.people.tokens", [person])
    basic = {"username": "am", "password_file": str(folder / "password")}
    secrets = Secrets(good(changed(document, "auth.webhook.basic", basic)))
    known = {"the-token", "the-person", "the-password", "the-key", "the-url", URL}
    assert set(secrets()) == known
    (folder / "new").write_text("the-next-token")
    (folder / "new").rename(folder / "token")
    assert set(secrets()) == known | {"the-next-token"}
    (folder / "token").unlink()
    assert set(secrets()) == known | {"the-next-token"}
    assert not [each for each in known if each in repr(secrets)]


def test_the_contacts_of_the_plan_and_the_links_are_read(folder: Path) -> None:
    document = least(folder) | {
        "contacts": [
            {"role": "On-Call Engineer", "contact": "+91-XXX-XXX-XXXX", "availability": "24/7"},
            {"role": "CTO", "contact": "cto@flexoraa.com"},
        ],
        "links": {"prometheus_url": "http://prometheus.example.com:9090/prometheus"},
    }
    found = good(document)
    assert [(c.role, c.availability) for c in found.contacts] == [
        ("On-Call Engineer", "24/7"),
        ("CTO", ""),
    ]
    assert found.links.prometheus_url == "http://prometheus.example.com:9090/prometheus"
    assert (found.links.alertmanager_url, found.links.receiver_url) == ("", "")


def test_settings_are_frozen(folder: Path) -> None:
    settings = good(least(folder))
    with pytest.raises(ValidationError):
        settings.policy.mode = "act"  # type: ignore[misc] # that is what is tested
    with pytest.raises(ValidationError):
        settings.server = settings.server  # type: ignore[misc] # the same


def test_without_a_credential_insecure_must_be_meant(folder: Path) -> None:
    document = changed(least(folder), "auth", None)
    assert good(document, insecure=True).auth.webhook.bearer_tokens == ()
    found = parse(yaml.safe_dump(document))
    assert isinstance(found, list)
    assert [each.path for each in found] == ["auth.webhook"]
    assert "--insecure" in found[0].text


def test_insecure_changes_nothing_where_a_credential_is_configured(folder: Path) -> None:
    assert good(least(folder), insecure=True) == good(least(folder))


# --- the table


def test_the_table_has_each_setting_once_with_default_and_meaning() -> None:
    rows = described()
    paths = [path for path, _, _ in rows]
    assert len(paths) == len(set(paths))
    assert all(default and meaning for _, default, meaning in rows)
    for row in (
        ("server.body_limit", "32MiB", "largest body of a request"),
        ("policy.mode", "shadow", "`shadow` only says what it would do"),
        ("policy.cooldown", "10m", "rest after a rollback is complete"),
        ("auth.webhook.bearer_tokens[].file", "required", "file with the token"),
    ):
        assert row in rows


def test_every_default_of_the_table_is_accepted_in_a_file(folder: Path) -> None:
    for path, default, _ in described():
        if default in ("none", "required") or "[]" in path or "NAME" in path:
            continue
        value = yaml.safe_load(default)
        settings = good(changed(_reviewing(folder), path, value))
        assert settings == good(_reviewing(folder)), path


def _reviewing(folder: Path) -> dict[str, Any]:
    """Return the least with the parts that are on by being there."""
    document = least(folder)
    changed(document, "auth.webhook.kubernetes", {"service_accounts": ["monitoring/alertmanager"]})
    return changed(document, "auth.people.kubernetes", {})


def test_tokens_of_kubernetes_are_off_until_their_part_is_there(folder: Path) -> None:
    assert not good(least(folder)).auth.reviews
    auth = good(_reviewing(folder)).auth
    assert auth.reviews
    assert auth.people.kubernetes is not None
    people = auth.people.kubernetes
    assert (people.audience, people.verb) == ("rollback-receiver", "patch")
    assert auth.webhook.kubernetes is not None
    webhook = auth.webhook.kubernetes
    assert webhook.audience == "rollback-receiver"
    assert webhook.service_accounts == ("monitoring/alertmanager",)


@pytest.mark.parametrize("part", ["webhook", "people"])
def test_one_of_the_two_parts_is_enough_to_need_reviews(folder: Path, part: str) -> None:
    document, both = least(folder), _reviewing(folder)["auth"]
    changed(document, f"auth.{part}.kubernetes", both[part]["kubernetes"])
    assert good(document).auth.reviews


def test_tokens_of_kubernetes_are_a_credential_of_the_webhook(folder: Path) -> None:
    document = changed(least(folder), "auth", None)
    named = {"service_accounts": ["monitoring/alertmanager"]}
    assert good(changed(document, "auth", {"webhook": {"kubernetes": named}})).auth.reviews


def test_tokens_of_people_are_no_credential_of_the_webhook(folder: Path) -> None:
    document = changed(least(folder), "auth", {"people": {"kubernetes": {}}})
    found = parse(yaml.safe_dump(document))
    assert isinstance(found, list)
    assert [each.path for each in found] == ["auth.webhook"]


def test_every_part_says_what_it_is() -> None:
    seen = [Settings]
    while seen:
        part = seen.pop()
        assert part.__doc__
        for field in part.model_fields.values():
            seen += parts_of(field.annotation)  # type: ignore[arg-type] # a part is as good


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem(path="a.b", text="is wrong", line=3)) == "a.b (line 3): is wrong"
    assert str(Problem(path="", text="is wrong", line=3)) == "line 3: is wrong"
    assert str(Problem(path="a", text="is wrong")) == "a: is wrong"
    assert str(Problem(path="", text="is wrong")) == "is wrong"
