"""The configurations and expressions of the pages: read by whoever has to understand them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.config import Settings, parse
from receiver.rules import lint
from tests.docs.pages import Block, blocks, read, said_by, tool

HERE = "tests/docs/test_examples.py"
ALL = blocks("yaml")
SECRETS = "/etc/rollback-receiver/secrets"
_BASE: dict[str, Any] = {
    "auth": {"webhook": {"bearer_tokens": [{"file": f"{SECRETS}/token"}]}},
    "kubernetes": {"namespaces": ["shop"]},
    "notify": {"sinks": {"prod-alerts": {"kind": "slack-webhook", "url_file": f"{SECRETS}/url"}}},
}
_BASE["notify"]["routes"] = {"default": ["prod-alerts"]}


def merged(base: Any, part: Any) -> Any:
    """Return a mapping with another one put over it."""
    if not isinstance(base, dict) or not isinstance(part, dict):
        return part
    return base | {key: merged(base.get(key), value) for key, value in part.items()}


def named(name: str) -> pytest.MarkDecorator:
    """Give a test each block that is to be a file of this name."""
    found = [block for block in ALL if block.name == name]
    assert found, name
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


def test_every_configuration_is_yaml() -> None:
    for block in ALL:
        assert all(isinstance(each, dict) for each in yaml.safe_load_all(block.text)), block.place


def test_every_configuration_that_names_this_file_is_read_by_a_test_of_it() -> None:
    known = {"receiver.yaml", "alertmanager.yml", "prometheus.yml", "rules.yml", "slack-app.yaml"}
    others = [block for block in blocks("yaml", HERE) if block.name not in known]
    assert [block.text.splitlines()[0] for block in others] == [
        "# a part of the pod of Alertmanager; with the operator, of `spec` of the kind Alertmanager"
    ]
    volumes = yaml.safe_load(others[0].text)
    (mount,), (volume,) = volumes["volumeMounts"], volumes["volumes"]
    assert mount["name"] == volume["name"]
    # Where our own page then looks for it.
    assert f"{mount['mountPath']}/token" in others[0].page.read_text()


@named("receiver.yaml")
def test_a_part_of_our_configuration_is_taken(block: Block, tmp_path: Path) -> None:
    part = yaml.safe_load(block.text)
    whole = merged(_BASE, part)
    if "sinks" in part.get("notify", {}):
        # Such a part has all sinks, and the usual routes.
        whole["notify"] = part["notify"]
    text = yaml.safe_dump(whole).replace(SECRETS, str(tmp_path))
    for name in re.findall(rf"{tmp_path}/([\w-]+)", text):
        (tmp_path / name).write_text("a secret")
    found = parse(text)
    assert isinstance(found, Settings), found


@pytest.mark.e2e
@named("alertmanager.yml")
def test_a_configuration_of_alertmanager_is_taken_and_found_safe(
    block: Block, tmp_path: Path
) -> None:
    (tmp_path / block.name).write_text(block.text)
    assert "SUCCESS" in said_by(tool("amtool"), "check-config", block.name, cwd=tmp_path)
    report = lint({block.name: block.text}, [])
    assert not report.findings
    assert "2 routes to the service" in report.text()


@pytest.mark.e2e
@named("prometheus.yml")
def test_a_configuration_of_prometheus_is_taken(block: Block, tmp_path: Path) -> None:
    (tmp_path / block.name).write_text(block.text)
    said_by(tool("promtool"), "check", "config", block.name, cwd=tmp_path)


@pytest.mark.e2e
@named("rules.yml")
def test_a_rule_is_taken_and_found_safe(block: Block, tmp_path: Path) -> None:
    (tmp_path / block.name).write_text(block.text)
    said_by(tool("promtool"), "check", "rules", block.name, cwd=tmp_path)
    report = lint({block.name: block.text}, [])
    assert not report.findings
    assert "1 ask for a rollback" in report.text()


@named("slack-app.yaml")
def test_the_page_says_of_each_scope_of_the_slack_app_what_it_is_for(block: Block) -> None:
    manifest = yaml.safe_load(block.text)
    assert set(manifest) == {"display_information", "features", "oauth_config", "settings"}
    scopes = manifest["oauth_config"]["scopes"]["bot"]
    table = [line for line in read(block.page).prose if line.startswith("| `") and ":" in line]
    assert [re.findall(r"`([^`]+)`", row)[0] for row in table] == scopes


@pytest.mark.e2e
def test_every_expression_is_promql(tmp_path: Path) -> None:
    found = blocks("promql")
    rules = [{"record": f"docs:{n}", "expr": block.text} for n, block in enumerate(found)]
    (tmp_path / "all.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "docs", "rules": rules}]})
    )
    assert str(len(found)) in said_by(tool("promtool"), "check", "rules", "all.yml", cwd=tmp_path)
