"""The real promtool: what a rule file makes of series, in time that nobody waits for.

A case is some series and what must be true of the alerts at some moments; it is written as a unit
test of promtool (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules).
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from receiver import promql as pq

Rule: TypeAlias = dict[str, Any]
Labels: TypeAlias = dict[str, str]

SHIPPED = Path(__file__).parents[2] / "alert_rules"
STEP = 30  # seconds: that of a scrape, and of an evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Fires:
    """One alert that fires: its labels but those the rule sets, and its value as it is told."""

    labels: Labels
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """What must be so at a moment: these alerts of that name, and no other."""

    when: str
    alert: str
    fires: tuple[Fires, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What an expression must give at a moment."""

    when: str
    expr: str
    gives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One story. `rules`: the only ones that are loaded; none: all that its alerts read."""

    name: str
    series: Mapping[str, str]
    expects: tuple[At | Sample, ...]
    rules: frozenset[str] = field(default=frozenset())
    step: int = STEP


def counter(*parts: tuple[float | None, float], step: int = STEP) -> str:
    """Write a counter: (by second, minutes), one after another; None: it is not there."""
    value, written = 0.0, []
    for rate, minutes in parts:
        count = round(minutes * 60 / step)
        if rate is None:
            written.append(f"_x{count}")
            continue
        more = rate * step
        written.append(f"{_number(value)}+{_number(more)}x{count - 1}")
        value += more * count
    return " ".join(written)


def gauge(*parts: tuple[float | None, float], step: int = STEP) -> str:
    """Write a gauge: (value, minutes), one after another; None: it is not there."""
    written = []
    for value, minutes in parts:
        count = round(minutes * 60 / step)
        same = None if value is None else f"{_number(value)}+0x{count - 1}"
        written.append(same if same is not None else f"_x{count}")
    return " ".join(written)


def _number(value: float) -> str:
    return f"{value:.12g}" if value == value else "NaN"  # noqa: PLR0124 - NaN is not


@cache
def shipped(name: str) -> tuple[Rule, ...]:
    """Return the rules of a shipped file, in their order."""
    manifest = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    return tuple(rule for group in manifest["spec"]["groups"] for rule in group["rules"])


def name_of(rule: Rule) -> str:
    """Return the name of an alert or record."""
    name: str = rule.get("alert") or rule["record"]
    return name


@cache
def _reads(expr: str) -> frozenset[str]:
    return pq.names(pq.tree(expr))


def needed(rules: Sequence[Rule], case: Case) -> frozenset[str]:
    """Return the names of the rules that a case has to do with."""
    if case.rules:
        return case.rules
    reads = {name_of(rule): _reads(rule["expr"]) for rule in rules}
    found: set[str] = set()
    waiting: list[str] = []
    for each in case.expects:
        waiting += [each.alert] if isinstance(each, At) else _reads(each.expr)
    while waiting:
        name = waiting.pop()
        if name in reads and name not in found:
            found.add(name)
            waiting += reads[name]
    return frozenset(found)


# --- the files of promtool


def write(folder: Path, name: str, rules: Sequence[Rule], cases: Iterable[Case]) -> list[Path]:
    """Write rules and the tests of them, by step; return the files with the tests.

    Only the rules that the cases need, each of which `rules` holds as it is judged.
    """
    files = []
    by_step: dict[tuple[int, frozenset[str]], list[Case]] = {}
    for case in cases:
        by_step.setdefault((case.step, case.rules), []).append(case)
    for at, ((step, _), some) in enumerate(by_step.items()):
        wanted = frozenset[str]().union(*(needed(rules, case) for case in some))
        some_rules = [rule for rule in rules if name_of(rule) in wanted]
        write_rules(folder / f"{name}.{at}.rules.yaml", some_rules)
        document = {
            "rule_files": [f"{name}.{at}.rules.yaml"],
            "evaluation_interval": f"{step}s",
            "tests": [_test(rules, case) for case in some],
        }
        files.append(folder / f"{name}.{at}.test.yaml")
        files[-1].write_text(_yaml(document))
    return files


def write_rules(path: Path, rules: Sequence[Rule]) -> None:
    """Write a plain rule file: promtool knows no PrometheusRule."""
    path.write_text(_yaml({"groups": [{"name": "g", "rules": list(rules)}]}))


def _yaml(value: Any) -> str:
    return json.dumps(value)  # which is YAML, and written ten times as fast


def _test(rules: Sequence[Rule], case: Case) -> dict[str, Any]:
    by_name = {name_of(rule): rule for rule in rules}
    alerts = [each for each in case.expects if isinstance(each, At)]
    samples = [each for each in case.expects if isinstance(each, Sample)]
    return {
        "name": case.name,
        "interval": f"{case.step}s",
        "input_series": [{"series": name, "values": v} for name, v in case.series.items()],
        "alert_rule_test": [
            {
                "eval_time": at.when,
                "alertname": at.alert,
                "exp_alerts": [_alert(by_name[at.alert], each) for each in at.fires],
            }
            for at in alerts
        ],
        "promql_expr_test": [
            {
                "eval_time": sample.when,
                "expr": sample.expr,
                "exp_samples": [{"labels": name, "value": v} for name, v in sample.gives],
            }
            for sample in samples
        ],
    }


def _alert(rule: Rule, fires: Fires) -> dict[str, Any]:
    def filled(text: str) -> str:
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda m: fires.labels.get(m[1], ""), text)
        return re.sub(r"\{\{ \$value[^}]*\}\}", lambda _: fires.value, text)

    return {
        "exp_labels": fires.labels | rule["labels"],
        "exp_annotations": {n: filled(text) for n, text in rule["annotations"].items()},
    }


# --- the program


def promtool() -> str:
    """Return the program; a test that lacks it is skipped, in CI it fails."""
    found = shutil.which("promtool")
    if found is None:
        said = "there is no promtool (Debian: apt-get install prometheus)"
        # In CI its absence is a failure: there it is installed first.
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


def run(files: Sequence[Path]) -> dict[Path, str]:
    """Run tests; return what was wrong, by file, "" where nothing was."""
    done = subprocess.run(  # noqa: S603 - promtool, and files of our own
        [promtool(), "test", "rules", *(file.name for file in files)],
        cwd=files[0].parent,
        env=os.environ | {"GOGC": "400"},  # memory for a third of the CPU time
        capture_output=True,
        text=True,
        check=False,
    )
    # What is wrong is said on standard error, in the order of the headers on standard output; so
    # each file says for itself whether it failed.
    said = re.split(r"^Unit Testing: +", done.stdout + "\n", flags=re.MULTILINE)[1:]
    assert len(said) == len(files), (done.stdout[-2000:], done.stderr[-2000:])
    verdicts = {}
    for file, text in zip(files, said, strict=True):
        assert text.startswith(file.name), (file.name, text[:200])
        verdicts[file] = "" if "SUCCESS" in text else text + done.stderr[-4000:]
    return verdicts
