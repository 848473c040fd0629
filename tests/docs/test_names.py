"""Every name that the pages give to something of the project is one that it has."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from receiver.config import described
from receiver.journal import Phase
from receiver.reasons import Reason
from receiver.rollout import ANNOTATIONS
from receiver.telemetry import METRICS, PREFIX
from receiver.web import ROUTES
from receiver.web.application import REJECTIONS
from tests.docs.pages import DOCS, ROOT, Page, pages, read

SETTINGS = tuple(path for path, *_ in described())
PARTS = frozenset(path.partition(".")[0] for path in SETTINGS)
OURS = ("k8s/", "receiver/", "alert_rules/", "tests/", ".github/", "docs/")
# What others call their settings and metrics, and fields of our API that have no list.
THEIRS = frozenset(
    {
        "alertmanager_notifications_failed_total",
        "credentials_file",
        "dedup_key",
        "dry_run",
        "exported_namespace",
        "expect_current",
        "follow_redirects",
        "grafana_dashboard",
        "group_by",
        "group_interval",
        "group_wait",
        "kube_pod_owner",
        "kube_replicaset_owner",
        "max_alerts",
        "metric_relabel_configs",
        "mute_time_intervals",
        "not_heard_yet",
        "repeat_interval",
        "resolved_soon",
        "rollback_conditions",
        "runbook_url",
        "send_resolved",
        "soak_left_seconds",
        "to_revision",
        "tokens_unusable",
        "undone_by_people",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of names: what of a page looks like one, whether it is one, and one that is none."""

    found: Callable[[Page], Iterable[str]]
    known: Callable[[str], bool]
    wrong: str


def words(page: Page) -> list[str]:
    """Return what stands between backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", "\n".join(page.prose))


def matching(pattern: str) -> Callable[[Page], Iterable[str]]:
    """Return what finds a pattern in all of a page, its blocks included."""
    return lambda page: re.findall(
        pattern, "\n".join((*page.prose, *(b.text for b in page.blocks)))
    )


def metric(name: str) -> bool:
    """Return whether it is a metric of ours, or a series of a histogram."""
    return any(
        name == PREFIX + each
        or (kind == "histogram" and re.fullmatch(rf"{PREFIX}{each}_(bucket|sum|count)", name))
        for each, kind, *_ in METRICS
    )


def settings(page: Page) -> Iterable[str]:
    """Yield the paths whose first step is a part of the configuration; files end otherwise."""
    for code in words(page):
        name = code.partition(":")[0]
        whole = re.fullmatch(r"(\w+)\.[\w.\[\]]+", name)
        if whole and whole[1] in PARTS and not name.endswith((".yml", ".yaml")):
            yield name


def setting(name: str) -> bool:
    """Return whether there is such a setting, or a part of that name."""
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for path in SETTINGS)


def route(name: str) -> bool:
    """Return whether there is such a route; what a shell fills in is one step of it."""
    given = name.rstrip("/").split("/")
    return any(
        len(given) == len(path)
        and all(
            step == each or each.startswith("{") for step, each in zip(given, path, strict=True)
        )
        for path in (route.path.split("/") for route in ROUTES)
    )


def snake(name: str) -> bool:
    """Return whether it is a reason, a phase, why a request is rejected, or a step of a setting."""
    steps = {step for path in SETTINGS for step in re.split(r"[.\[\]]+", path)}
    ours = name.startswith(PREFIX)  # that is a kind of its own
    return ours or name in {*Reason, *Phase, *REJECTIONS, *steps, *THEIRS}


@cache
def records() -> frozenset[str]:
    """Return what the shipped rules record."""
    return frozenset(
        rule.get("record", "")
        for file in (ROOT / "alert_rules").glob("*.yaml")
        for group in yaml.safe_load(file.read_text()).get("spec", {}).get("groups", ())
        for rule in group["rules"]
    )


KINDS = {
    "metric": Kind(
        found=matching(rf"\b{PREFIX}\w*\w(?!\()\b"),
        known=metric,
        wrong="`rollback_receiver_notices_lost`",
    ),
    "annotation or label": Kind(
        found=matching(r"(?<![\w/-])(?<!\w\.)(rollback-receiver/[\w-]+)"),
        known={*ANNOTATIONS, "rollback-receiver/kind"}.__contains__,
        wrong="`rollback-receiver/enable`",
    ),
    "setting": Kind(found=settings, known=setting, wrong="`policy.mood: act`"),
    "route": Kind(
        found=matching(r"(/api/v1/[\w$/-]*(?:\.md)?)"), known=route, wrong="`$RR/api/v1/breakers`"
    ),
    "word": Kind(
        found=lambda page: [
            code for code in words(page) if re.fullmatch(r"[a-z]+(_[a-z]+)+", code)
        ],
        known=snake,
        wrong="`budget_spend`",
    ),
    "file": Kind(
        found=lambda page: [
            code for code in words(page) if code.startswith(OURS) and re.fullmatch(r"\S+", code)
        ],
        known=lambda name: any(ROOT.glob(name.rstrip("/"))),
        wrong="`k8s/base/receiver.yaml`",
    ),
    "series": Kind(
        found=lambda page: [
            name
            for block in page.blocks
            if block.language == "promql"
            for name in re.findall(r"\b[a-z_]+:[\w:]+", block.text)
        ],
        known=lambda name: name in records(),
        wrong="```promql\nrelease:http:rate2m > 1\n```",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_the_pages_is_one_of_the_project(kind: str) -> None:
    names = KINDS[kind]
    found = [(page.path.relative_to(DOCS), name) for page in pages() for name in names.found(page)]
    assert found
    assert not [f"{path}: {name}" for path, name in found if not names.known(name)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_there_is_not_is_told(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(f"{KINDS[kind].wrong}\n")
    (name,) = KINDS[kind].found(read(file))
    assert not KINDS[kind].known(name)
