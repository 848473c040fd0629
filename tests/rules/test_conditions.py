"""Conditions of a plan: what is wrong with them, all at once, and what is made of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver import alerts as al
from receiver.cli import main
from receiver.rules import build, lint, parse
from receiver.rules.conditions import Conditions
from tests.rules.promtool import At, Case, Fires, gauge, run, write

ROOT = Path(__file__).parents[2]
SHIPPED = ("release", "receiver")

# The rollout plan, word for word.
PLAN = """\
rollback_conditions:
  - name: high_latency
    metric: p95_latency_seconds
    threshold: 3
    duration: 10m
    action: rollback

  - name: high_error_rate
    metric: error_rate_percent
    threshold: 10
    duration: 5m
    action: rollback

  - name: whatsapp_failures
    metric: whatsapp_failure_rate_percent
    threshold: 5
    duration: 10m
    action: rollback
"""


def rules_of(text: str) -> dict[str, dict[str, Any]]:
    """Build, and return the rules by name, in order."""
    found = parse(text)
    assert isinstance(found, Conditions), [str(each) for each in found]
    manifest = yaml.safe_load(build(found, "conditions.yaml"))
    (group,) = manifest["spec"]["groups"]
    return {rule.get("alert") or rule["record"]: rule for rule in group["rules"]}


def said(text: str) -> list[str]:
    """Return the problems."""
    found = parse(text)
    assert isinstance(found, list), "there is no problem"
    return [str(each) for each in found]


# --- the plan


def test_the_plan_as_it_stands_is_enough() -> None:
    rules = rules_of(PLAN)
    assert list(rules) == [
        "HighLatency",
        "HighErrorRate",
        "WhatsappFailures",
        "P95LatencyDataAbsent",
        "ErrorRateDataAbsent",
        "WhatsappFailureRateDataAbsent",
    ]
    rule = rules["HighErrorRate"]
    assert rule["expr"] == "error_rate_percent > 10"
    assert (rule["for"], rule["keep_firing_for"]) == ("5m", "5m")
    assert rule["labels"] == {"rollback": "auto", "severity": "critical"}
    assert rule["annotations"]["for"] == "5m"
    absent = rules["ErrorRateDataAbsent"]
    assert absent["expr"] == "absent(error_rate_percent)"
    assert absent["labels"]["rollback"] == "never"


def test_the_conditions_that_are_shipped_are_those_of_the_plan() -> None:
    assert PLAN in (ROOT / "alert_rules" / "conditions" / "release.yaml").read_text()


@pytest.mark.e2e
def test_the_plan_as_it_stands_fires(tmp_path: Path) -> None:
    rules = list(rules_of(PLAN).values())
    who = {"namespace": "shop", "deployment": "api-deployment"}
    case = Case(
        name="the plan",
        series={
            'error_rate_percent{namespace="shop", deployment="api-deployment"}': gauge((11, 20)),
            'p95_latency_seconds{namespace="shop", deployment="api-deployment"}': gauge((3, 20)),
        },
        expects=(
            At(when="4m30s", alert="HighErrorRate"),
            At(when="5m", alert="HighErrorRate", fires=(Fires(labels=who, value="11.0"),)),
            At(when="15m", alert="HighLatency"),
            At(when="10m", alert="WhatsappFailureRateDataAbsent", fires=(Fires(labels={}),)),
        ),
    )
    (file,) = write(tmp_path, "plan", rules, [case])
    assert run([file])[file] == ""


# --- what is made


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_what_is_made_of_it(name: str) -> None:
    source, output = f"alert_rules/conditions/{name}.yaml", f"alert_rules/{name}.yaml"
    found = parse((ROOT / source).read_text())
    assert isinstance(found, Conditions), [str(each) for each in found]
    assert build(found, source, output) == (ROOT / output).read_text(), (
        f"run: rollback-receiver rules build {source} -o {output}"
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_records_stand_before_what_reads_them(name: str) -> None:
    rules = list(
        rules_of((ROOT / "alert_rules" / "conditions" / f"{name}.yaml").read_text()).values()
    )
    kinds = ["record" in rule for rule in rules]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_an_alert_says_of_its_for_is_true(name: str) -> None:
    source = (ROOT / "alert_rules" / "conditions" / f"{name}.yaml").read_text()
    for rule in rules_of(source).values():
        if "alert" in rule:
            said_ = al.duration(rule["annotations"]["for"])
            assert said_ == al.duration(rule.get("for", "0s"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_alert_leads_to_its_runbook(name: str) -> None:
    source = (ROOT / "alert_rules" / "conditions" / f"{name}.yaml").read_text()
    for alert, rule in rules_of(source).items():
        if "alert" in rule:
            path = rule["annotations"]["runbook_url"].partition("/rollback-receiver/")[2]
            assert path == f"docs/runbooks/{alert}.md"
            assert (ROOT / path).is_file(), path


def test_only_the_conditions_of_the_plan_roll_back() -> None:
    asking = {
        name
        for shipped in SHIPPED
        for name, rule in rules_of(
            (ROOT / "alert_rules" / "conditions" / f"{shipped}.yaml").read_text()
        ).items()
        if rule.get("labels", {}).get("rollback") == "auto"
    }
    assert asking == {"HighLatency", "HighErrorRate", "WhatsappFailures"}


def test_a_metric_may_be_computed_where_it_is_needed() -> None:
    rules = rules_of("""
rollback_conditions:
  - name: many_errors
    metric: errors_per_second
    expr: sum by (namespace, deployment) (rate(errors_total[5m]))
    threshold: 0.5
    duration: 5m
    action: rollback
    severity: warning
    keep_firing_for: 0s
    labels: {team: shop}
    annotations: {owner: alice}
    summary: It has errors
""")
    assert list(rules) == ["errors_per_second", "ManyErrors", "ErrorsDataAbsent"]
    rule = rules["ManyErrors"]
    assert rule["expr"] == "errors_per_second > 0.5"
    assert "keep_firing_for" not in rule
    assert rule["labels"] == {"team": "shop", "rollback": "auto", "severity": "warning"}
    assert rule["annotations"]["owner"] == "alice"
    assert rule["annotations"]["summary"] == "It has errors"
    assert rule["annotations"]["value"] == '{{ $value | printf "%.3g" }}/s'


def test_below_may_be_bad() -> None:
    rules = rules_of("""
health_checks:
  - {name: few, metric: hits_percent, when: below, threshold: 90, duration: 5m}
""")
    assert rules["Few"]["expr"] == "hits_percent < 90"
    assert "below 90%" in rules["Few"]["annotations"]["description"]


def test_a_condition_of_its_own_is_left_as_it_is() -> None:
    rules = rules_of("""
health_checks:
  - {name: gone, expr: absent(up), duration: 5m, severity: critical}
""")
    assert list(rules) == ["Gone"]
    assert rules["Gone"]["expr"] == "absent(up)"
    assert rules["Gone"]["labels"] == {"rollback": "never", "severity": "critical"}


def test_what_has_series_of_its_own_is_missed_while_there_is_traffic() -> None:
    """A share is made of the very series that are counted, a quantile of others."""
    rules = rules_of(
        """\
metrics:
  - {name: requests, record: 'x:requests', expr: 'sum by (namespace, deployment) (all)'}
  - {name: bad_percent, expr: '100 * sum by (namespace, deployment) (all{bad="1"}) / x:requests',
     traffic: {metric: requests, above: 2}}
  - {name: slow_seconds, record: 'x:slow', traffic: {metric: requests, above: 2},
     expr: 'max by (namespace, deployment) (slow) and x:requests'}
rollback_conditions:
  - {name: bad, metric: bad_percent, threshold: 9, duration: 5m, action: rollback}
  - {name: slow, metric: slow_seconds, threshold: 3, duration: 5m, action: rollback}
"""
    )
    absent = {name: rule["expr"] for name, rule in rules.items() if name.endswith("DataAbsent")}
    assert absent == {
        "RequestsDataAbsent": "absent(x:requests)",
        "SlowDataAbsent": "absent(x:slow)\nand on ()\nx:requests > 2",
    }


def test_what_is_made_of_the_plan_alone_has_nothing_that_the_linter_can_see() -> None:
    found = parse(PLAN)
    assert isinstance(found, Conditions)
    report = lint({"plan": build(found, "plan")})
    # But where the metrics come from, and what labels they have, nobody has said.
    assert {f.check for f in report.findings} == {"exporter-named", "no-runbook"}


# --- what is wrong


BAD = """\
rule: {name: x, colour: red}
metrics:
  - name: later
    expr: sum(earlier) / 2
  - name: earlier
    expr: sum(x
  - name: traffic-less
    expr: sum(x)
    traffic: {metric: nobody, above: -1}
rollback_conditions:
  - name: High Errors
    metric: errors
    threshold: ten
    duration: 5
    action: roll back
  - metric: errors
    threshold: 1
    duration: 5m
    action: rollback
    expres: up
health_checks:
  - name: rolls_back
    expr: up == 0
    duration: 5m
    action: rollback
"""


def test_all_that_is_wrong_is_told_at_once_with_path_and_line() -> None:
    problems = said(BAD)
    for start in (
        "rule.colour (line 1): is no word",
        "metrics[1].expr (line 6): is no PromQL",
        "metrics[2].name (line 7): 'traffic-less' is no name",
        "metrics[2].traffic.above (line 9): ",
        "rollback_conditions[0].name (line 11): 'High Errors' is no name",
        "rollback_conditions[0].threshold (line 13): ",
        "rollback_conditions[0].duration (line 14): ",
        "rollback_conditions[0].action (line 15): must be 'rollback' or 'notify'",
        "rollback_conditions[1].name (line 16): is missing",
        "rollback_conditions[1].expres (line 20): is no word",
        "health_checks[0].action (line 25): must be 'notify'",
    ):
        assert any(each.startswith(start) for each in problems), (start, problems)
    lines = [int(each.partition("(line ")[2].partition(")")[0]) for each in problems]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ("{}", "rollback_conditions: names none"),
        (
            "rollback_conditions: [{name: a, metric: m, duration: 5m, action: rollback}]",
            "and threshold belong together",
        ),
        (
            "health_checks: [{name: a, threshold: 1, expr: x, duration: 5m}]",
            "and threshold belong together",
        ),
        ("health_checks: [{name: a, duration: 5m}]", "metric (line 1): is missing, and so is expr"),
        (
            "rollback_conditions: [{name: a, expr: sum(x) > 1, duration: 5m, action: rollback}]",
            "has no label namespace and deployment",
        ),
        (
            (
                "rollback_conditions: [{name: a, metric: m, threshold: 1, duration: 30s,"
                " action: rollback}]"
            ),
            "is too short to roll back on",
        ),
        (
            (
                "health_checks: [{name: a, expr: x > 1, duration: 5m},"
                " {name: a, expr: x > 2, duration: 5m}]"
            ),
            "health_checks[1].name (line 1): a is there twice",
        ),
        (
            "health_checks: [{name: a, expr: x > 1, duration: 5m, labels: {rollback: auto}}]",
            "follows from the action",
        ),
        (
            "health_checks: [{name: a, expr: x > 1, duration: 5m, labels: {v: '{{ $value }}'}}]",
            "holds the value",
        ),
        (
            (
                "metrics: [{name: a, expr: b}, {name: b, expr: c}]\n"
                "health_checks: [{name: a, metric: a, threshold: 1, duration: 5m}]"
            ),
            "metrics[0].expr (line 1): reads b, which is recorded only here or further down",
        ),
        (
            (
                "metrics: [{name: a, expr: b, traffic: {metric: c, above: 1}}]\n"
                "health_checks: [{name: a, metric: a, threshold: 1, duration: 5m}]"
            ),
            "metrics[0].traffic.metric (line 1): c is none of the metrics",
        ),
        (
            (
                "metrics: [{name: a, record: 'x:a', expr: b}]\n"
                "health_checks: [{name: a, metric: 'x:a', threshold: 1, duration: 5m}]"
            ),
            "x:a is the record of a metric: say the metric",
        ),
        (
            (
                "metrics: [{name: a, expr: b, stable: {on: [app], factor: 2}}]\n"
                "health_checks: [{name: a, metric: a, when: below, threshold: 1, duration: 5m}]"
            ),
            "compared only from above",
        ),
        (
            "health_checks: [{name: a, metric: m, threshold: inf, duration: 5m}]",
            "health_checks[0].threshold (line 1): must be a valid number",
        ),
        ("a: [", "line 1: "),
        ("- a", "the top level must be a mapping"),
    ],
)
def test_what_does_not_go_together_is_told(changed: str, problem: str) -> None:
    assert any(problem in each for each in said(changed)), said(changed)


WORDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=6,
)
CONDITION = st.dictionaries(
    st.sampled_from(["name", "metric", "threshold", "duration", "action", "expr", "labels"]),
    WORDS | st.sampled_from(["a", "5m", "rollback", "x > 1"]),
)


@given(
    document=st.fixed_dictionaries(
        {"rollback_conditions": st.lists(CONDITION, max_size=2) | WORDS},
        optional={"metrics": WORDS, "rule": WORDS},
    )
)
def test_no_file_at_all_makes_it_fail_otherwise(document: dict[str, Any]) -> None:
    found = parse(yaml.safe_dump(document))
    if isinstance(found, Conditions):
        assert yaml.safe_load(build(found, "x"))


# --- the command


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["rules", "build", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command_writes_it_out_or_into_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "plan.yaml", tmp_path / "rules.yaml"
    source.write_text(PLAN)
    assert _run(str(source)) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# Made by `rollback-receiver rules build {source}`")
    assert _run(str(source), "-o", str(output)) == 0
    assert output.read_text().partition("\n")[2] == shown.partition("\n")[2]


def test_the_command_says_what_is_wrong_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "plan.yaml", tmp_path / "rules.yaml"
    source.write_text(BAD)
    assert _run(str(source), "-o", str(output)) == 2
    assert not output.exists()
    assert f"{source}: " in capsys.readouterr().err
    assert _run(str(tmp_path / "none.yaml")) == 2
    assert "cannot be read (FileNotFoundError)" in capsys.readouterr().err
