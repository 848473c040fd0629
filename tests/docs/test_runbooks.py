"""A page for every alert, an entry for every reason, a row for every message; none is stale."""

import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from receiver.messages.headlines import HEADLINES
from receiver.reasons import Reason, about
from tests.docs.pages import DOCS, ROOT, read

RUNBOOKS = DOCS / "runbooks"
RULES = ROOT / "alert_rules"


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Return the rule of every shipped alert."""
    return {
        rule["alert"]: rule
        for file in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(file.read_text()).get("spec", {}).get("groups", ())
        for rule in group["rules"]
        if "alert" in rule
    }


def conditions() -> list[Any]:
    """Return all that the rules are built from, each with the name of its alert."""
    found = []
    for file in sorted((RULES / "conditions").glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        for part in ("rollback_conditions", "health_checks"):
            for each in document.get(part, ()):
                name = "".join(word.capitalize() for word in each["name"].split("_"))
                found.append(pytest.param(name, each, id=name))
    return found


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == alerts().keys()
    for name in pages:
        assert (RUNBOOKS / f"{name}.md").read_text().startswith(f"# {name}\n"), name


def test_the_link_of_an_alert_ends_at_its_runbook() -> None:
    for name, rule in alerts().items():
        path = urlsplit(rule["annotations"]["runbook_url"]).path
        assert path.partition("/docs/")[2] == f"runbooks/{name}.md"


def test_the_list_of_runbooks_has_each_of_them() -> None:
    targets = {target for _, target in read(RUNBOOKS / "README.md").links}
    assert {f"{name}.md" for name in alerts()} <= targets


@pytest.mark.parametrize("name", alerts())
def test_a_runbook_says_what_fires_it_whether_it_is_urgent_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    # What to do may depend on how it ended.
    do = ("## did_not_help", "## rollout_failed") if name == "RollbackDidNotHelp" else ("## Do",)
    parts = ("**Fires:** ", "**Urgent: ", "## Look", *do, "## Afterwards")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize(("name", "condition"), conditions())
def test_a_runbook_names_the_threshold_and_the_time_of_its_rule(
    name: str, condition: dict[str, Any]
) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    fires = text.split("**Fires:** ")[1].split("\n\n")[0]
    if "threshold" in condition:
        assert re.search(rf"\b{re.escape(str(condition['threshold']))}(%| )", fires)
    if condition["duration"] == "0s":
        assert "at once" in fires
    else:
        assert f"for {condition['duration']}" in fires.replace("\n", " ")


@pytest.mark.parametrize("state", HEADLINES)
def test_what_a_message_says_is_in_the_table_of_the_runbooks(state: str) -> None:
    text = (RUNBOOKS / "README.md").read_text()
    section = text.split("## What the message says")[1].split("\n## ")[0]
    first = [row.split("|")[1] for row in section.splitlines() if row.startswith("| ")]
    assert any(HEADLINES[state].words in cell for cell in first)


@cache
def entries() -> dict[str, list[str]]:
    """Return the lines below the heading of each reason."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (DOCS / "reasons.md").read_text().splitlines():
        if (heading := re.fullmatch(r"### `(\w+)`", line)) is not None:
            assert heading[1] not in found
            lines = found[heading[1]] = []
        elif line.startswith("#"):
            lines = []
        elif line:
            lines.append(line)
    return found


def test_every_reason_has_its_entry_and_no_entry_is_stale() -> None:
    assert entries().keys() == {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", Reason)
def test_an_entry_says_how_loudly_it_is_told_and_what_it_means_by_hand(reason: Reason) -> None:
    meant = about(reason)
    tell = meant.tell.value if meant.tell else "-"
    manual = meant.manual.value.replace("not_applicable", "-").replace("_", " ")
    said, *rest = entries()[reason]
    assert said == f"*told: {tell}; by hand: {manual}*"
    assert rest, "what it is, and what to do"


@pytest.mark.parametrize("reason", [r for r in Reason if about(r).tell == "critical"])
def test_who_is_paged_for_a_reason_reads_what_to_do_now(reason: Reason) -> None:
    told = " ".join(entries()[reason])
    nothing_now = (Reason.ROLLED_BACK, Reason.DELETING, Reason.NOT_OBSERVED)
    assert "**Now:**" in told or reason in nothing_now
