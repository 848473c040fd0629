"""The linter finds what was planted in bad files, and nothing in good ones."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.cli import main
from receiver.demo import shop
from receiver.rules import CHECKS, lint

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BAD = sorted((HERE / "bad").glob("*.yaml"))
README = ROOT / "README.md"


def _planted(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines()[0].removeprefix("# expects: ").split())


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_is_planted_is_found_and_nothing_else(path: Path) -> None:
    report = lint({path.name: path.read_text()})
    assert not report.unreadable
    assert sorted(f.check for f in report.findings) == _planted(path)


def test_every_check_has_a_file_that_it_is_planted_in() -> None:
    assert len(BAD) >= 12
    planted = {check for path in BAD for check in _planted(path)}
    assert planted == {check.id for check in CHECKS}


def test_in_what_is_shipped_nothing_is_found() -> None:
    paths = [*(ROOT / "alert_rules").glob("*.yaml"), *(ROOT / "k8s").rglob("*alertmanager*.yaml")]
    paths = [path for path in paths if "templates" not in path.parts]  # Helm's are no YAML yet
    report = lint({str(path): path.read_text() for path in paths})
    assert not report.unreadable
    assert not report.findings, report.text()
    assert report.triggers == 3


def test_the_configuration_of_alertmanager_in_the_readme_is_well() -> None:
    blocks = re.findall(r"```yaml\n(route:.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        report = lint({"README.md": block})
        assert report.routes == 1
        assert not report.findings, report.text()


@pytest.mark.parametrize(("said", "follows"), [("false", False), ("true", True)])
def test_a_webhook_without_a_client_of_its_own_has_that_of_all(said: str, *, follows: bool) -> None:
    """`http_config` of a receiver replaces the global one as a whole (Alertmanager, config.go)."""
    (block,) = re.findall(r"```yaml\n(route:.*?)```", README.read_text(), re.DOTALL)
    document = yaml.safe_load(block)
    (webhook,) = (w for r in document["receivers"] for w in r.get("webhook_configs", ()))
    document["global"] = {"http_config": webhook.pop("http_config") | {"follow_redirects": None}}
    text = yaml.safe_dump(document).replace("null", said)
    found = {f.check for f in lint({"alertmanager.yml": text}).findings}
    assert ("redirects-followed" in found) is follows


def test_the_rule_of_the_demo_is_as_hasty_as_the_demo() -> None:
    report = lint({"shop": shop.RULES})
    assert {f.check for f in report.findings} >= {"no-for", "window-short"}
    # What it says to the service is right.
    wrong = {"no-namespace", "no-deployment", "exporter-named", "for-differs", "value-in-label"}
    assert not {f.check for f in report.findings} & wrong


def _line(text: str, words: str) -> int:
    return next(at for at, line in enumerate(text.splitlines(), 1) if words in line)


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("one-bad-moment", "no-for", "- alert: QueueTooLong"),
        ("one-bad-moment", "absence-untold", "expr: max by"),
        ("value-in-label", "value-in-label", "bytes:"),
        ("value-in-label", "one-alert-each", "expr: max by"),
        ("says-something-else", "for-differs", "annotations: {for: 5m"),
        ("says-something-else", "unknown-rollback", "rollback: please"),
        ("alertmanager-loses", "never-reached", "- match: {rollback: auto"),
        ("alertmanager-loses", "inhibited", 'alertname="Maintenance"'),
        ("alertmanager-loses", "redirects-followed", "follow_redirects: true"),
        ("alertmanager-loses", "muted", "mute_time_intervals"),
        ("operated", "repeat-interval-long", "repeatInterval: 12h"),
        ("operated", "group-split", "groupBy:"),
        ("operated", "redirects-followed", "httpConfig:"),
        ("operated-by-default", "repeat-interval-long", "route:"),
    ],
)
def test_a_finding_says_where_it_stands(name: str, check: str, words: str) -> None:
    text = (HERE / "bad" / f"{name}.yaml").read_text()
    (found,) = [f for f in lint({"a.yaml": text}).findings if f.check == check]
    assert found.line == _line(text, words)
    assert str(found).startswith(f"a.yaml:{found.line}: {found.severity}: ")
    assert found.link in str(found)


def test_every_finding_explains_and_links() -> None:
    for check in CHECKS:
        assert len(check.meaning) > 10, check.id
        assert re.fullmatch(r"https://\S+|README\.md#[a-z-]+", check.link), check.id
        if check.link.startswith("README"):
            heading = check.link.partition("#")[2].replace("-", " ")
            assert f"## {heading}" in README.read_text().lower().replace("?", ""), check.link
    assert len({check.id for check in CHECKS}) == len(CHECKS)


def test_the_table_in_the_readme_is_what_is_looked_for() -> None:
    section = README.read_text().split("<!-- lint -->")[1].split("\n\n")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{c.id}` | {c.severity} | {c.meaning} |" for c in CHECKS]


def test_rules_may_read_the_records_of_another_file() -> None:
    record = 'groups: [{name: a, rules: [{record: r, expr: "sum by (namespace, deployment) (x)"}]}]'
    alert = """groups: [{name: b, rules: [
      {alert: A, expr: r > 1, for: 5m, labels: {rollback: auto, severity: critical}}]}]"""
    alone = {f.check for f in lint({"b": alert}).findings}
    both = {f.check for f in lint({"a": record, "b": alert}).findings}
    assert "exporter-named" in alone - both
    assert "record-elsewhere" in both - alone


@pytest.mark.parametrize("word", ["auto", "true", "Yes", " AUTO "])
def test_the_label_is_read_as_the_service_reads_it(word: str) -> None:
    rule = (
        f'groups: [{{name: a, rules: [{{alert: A, expr: x > 1, labels: {{rollback: "{word}"}}}}]}}]'
    )
    assert lint({"a": rule}).triggers == 1


@pytest.mark.parametrize("word", ["never", "false", "none", "manual", ""])
def test_an_alert_that_forbids_a_rollback_is_no_trigger(word: str) -> None:
    rule = (
        f'groups: [{{name: a, rules: [{{alert: A, expr: x > 1, labels: {{rollback: "{word}"}}}}]}}]'
    )
    report = lint({"a": rule})
    assert report.triggers == 0
    assert [f.check for f in report.findings] == ["unknown-severity"]


def test_a_list_of_objects_is_read_object_by_object() -> None:
    one, other = ((HERE / "bad" / f"{n}.yaml").read_text() for n in ("operated", "nobody-named"))
    rule = {"kind": "PrometheusRule", "spec": yaml.safe_load(other)}
    (_, config) = yaml.safe_load_all(one)
    objects = {"kind": "List", "items": [rule, {"kind": "ConfigMap"}, config]}
    report = lint({"all": yaml.safe_dump(objects)})
    planted = [*_planted(HERE / "bad" / "operated.yaml"), "no-namespace", "no-deployment"]
    assert sorted(f.check for f in report.findings) == sorted(planted)
    assert all(f.line and f.line > 1 for f in report.findings)


def test_a_record_that_is_not_there_is_not_accused() -> None:
    rule = "{alert: A, expr: 'a:b:c > 1', for: 5m, labels: {rollback: auto, severity: critical}}"
    found = lint({"a": f"groups: [{{name: a, rules: [{rule}]}}]"}).findings
    assert "exporter-named" not in {f.check for f in found}


@pytest.mark.parametrize(
    ("elder", "taken"),
    [
        ("matchers: [severity=critical]", True),
        ("matchers: [severity=~'warning|info']", False),
        ("matchers: [severity=critical], continue: true", False),
        ("matchers: [rollback=never]", False),
        ("matchers: [alertname=Watchdog]", False),
        ("match: {team: shop}", True),
        ("matchers: [team=~'shop|api', severity=warning]", False),
        ("match_re: {severity: crit.*}", True),
        ("receiver: people", True),
    ],
)
def test_a_route_that_keeps_the_alert_for_itself_is_seen(elder: str, taken: bool) -> None:
    config = f"""
route:
  receiver: people
  routes:
  - {{{elder}}}
  - {{matchers: [rollback=auto], receiver: rollback}}
receivers:
- {{name: people}}
- {{name: rollback, webhook_configs: [{{url: http://r/api/v1/alerts}}]}}
"""
    report = lint({"a": config})
    assert not report.unreadable
    assert ("never-reached" in {f.check for f in report.findings}) is taken


@pytest.mark.parametrize(
    ("child", "taken"),
    [
        ("matchers: [severity=critical], receiver: people", True),
        # With the parent it is all over as soon as one child fits, whatever that says.
        ("matchers: [severity=critical], receiver: people, continue: true", True),
        ("matchers: [namespace=shop], receiver: people", True),
        ("matchers: [severity=warning], receiver: people", False),
        ("matchers: [alertname=Watchdog], receiver: people", False),
        ("matchers: [severity=critical], group_wait: 1s", False),
        ("receiver: people, routes: [{receiver: rollback}]", False),
    ],
)
def test_a_route_below_that_takes_the_alert_elsewhere_is_seen(child: str, taken: bool) -> None:
    config = f"""
route:
  receiver: people
  routes:
  - {{matchers: [rollback=auto], receiver: rollback, routes: [{{{child}}}]}}
receivers:
- {{name: people}}
- {{name: rollback, webhook_configs: [{{url: http://r/api/v1/alerts}}]}}
"""
    report = lint({"a": config})
    assert not report.unreadable
    assert ("never-reached" in {f.check for f in report.findings}) is taken


@pytest.mark.parametrize(
    ("target", "muted"),
    [
        ("[severity=critical]", True),
        ("[severity=critical, namespace=shop]", True),
        ("[cluster=prod]", True),
        ("[severity=~'warning|info', namespace=shop]", False),
        ("[rollback=never, namespace=shop]", False),
        ("[alertname=HighLatency]", False),
        ("[team=shop]", False),
    ],
)
def test_an_inhibition_that_mutes_rollbacks_somewhere_is_seen(target: str, muted: bool) -> None:
    config = f"""
route: {{receiver: rollback}}
receivers: [{{name: rollback, webhook_configs: [{{url: http://r/api/v1/alerts}}]}}]
inhibit_rules: [{{source_matchers: [alertname=NodeDown], target_matchers: {target}}}]
"""
    report = lint({"a": config})
    assert not report.unreadable
    assert ("inhibited" in {f.check for f in report.findings}) is muted


@pytest.mark.parametrize(
    ("expr", "enough"),
    [
        ("e / (r > 0) > 0.1", False),
        ("e / (r > 1) > 0.1", True),
        ("e / (r > 0) > 0.1 and r > 1", True),
        ("e / (r > 0) > 0.1 and e / r < 1", False),
        ("e / (r > 0) > 0.1 or r > 1", False),
        ("e / (r > 0) > 0.1 unless r < 1", False),
        ("e / 100 > 0.1", True),
        ("quantile by (namespace) (0.9, r) > 1", False),
    ],
)
def test_a_floor_of_traffic_is_seen_wherever_it_stands(expr: str, enough: bool) -> None:
    rule = f"{{alert: A, expr: '{expr}', labels: {{rollback: auto}}}}"
    found = lint({"a": f"groups: [{{name: a, rules: [{rule}]}}]"}).findings
    assert ("no-traffic-floor" not in {f.check for f in found}) is enough


@pytest.mark.parametrize(
    ("divisor", "guarded"),
    [
        ("(all > 0)", True),
        ("(all >= 1)", True),
        ("(all != 0)", True),
        ("(all and all > 0)", True),
        ("clamp_min(all, 1)", True),
        ("busy", True),
        ("all", False),
        ("(all >= 0)", False),
        ("(all < 1000)", False),
        ("(all > bool 0)", False),
        ("(all > 0 or all)", False),
        ("clamp_min(all, 0)", False),
        ("idle", False),
    ],
)
def test_a_divisor_that_is_never_0_is_known_by_what_it_keeps_out(
    divisor: str, guarded: bool
) -> None:
    rules = (
        '{groups: [{name: g, rules: [{record: busy, expr: "all > 0"}, {record: idle, expr: all},'
        f' {{alert: A, expr: "bad / {divisor} > 2", for: 5m, labels: {{rollback: auto}}}}]}}]}}'
    )
    found = {f.check for f in lint({"x": rules}).findings}
    assert ("nan-unguarded" not in found) is guarded


def test_labels_of_a_group_are_those_of_its_rules() -> None:
    rule = """groups:
    - {name: a, labels: {rollback: auto, severity: critical}, rules: [{alert: A, expr: x > 1}]}"""
    assert lint({"a": rule}).triggers == 1


@given(text=st.text() | st.from_regex(r"groups:\n- (name: a|rules:\n  - (alert: \[|expr: \{)).*"))
def test_no_file_at_all_breaks_it(text: str) -> None:
    report = lint({"a": text})
    assert report.unreadable or report.rules == 0 or report.findings or report.text()


# --- the command


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["rules", "lint", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_exit_code_is_for_ci(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = str(ROOT / "alert_rules" / "release.yaml"), str(BAD[0])
    assert _run(good) == 0
    assert "0 findings in 28 rules, of which 3 ask for a rollback" in capsys.readouterr().out
    assert _run(good, bad) == 1
    assert f"{bad}:" in capsys.readouterr().out
    broken = tmp_path / "broken.yaml"
    for text, said in (
        ("a: [", "line 1"),
        ("rules: []", "neither rules nor a configuration of Alertmanager"),
        ("groups: []\ngroups: []", "is there twice"),
        ("", "neither rules"),
    ):
        broken.write_text(text)
        assert _run(str(broken), bad) == 2
        assert said in capsys.readouterr().out
    assert _run(str(tmp_path / "none.yaml")) == 2
    assert "cannot be read" in capsys.readouterr().out


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--format", "json", str(BAD[0])) == 1
    said = json.loads(capsys.readouterr().out)
    (first, *_) = said["findings"]
    assert set(first) == {"check", "severity", "file", "line", "about", "text", "link"}
    assert said["unreadable"] == []
