"""The tables of the README, held against the code: each row, in order, no more and no fewer."""

import re
from pathlib import Path

import pytest

from receiver.config import described
from receiver.reasons import Reason, about
from receiver.rollout import ANNOTATIONS
from receiver.telemetry import METRICS, PREFIX
from receiver.web import ROUTES

README = Path(__file__).parent.parent / "README.md"


def settings() -> list[str]:
    """Return the rows of the settings."""
    return [f"| `{path}` | `{default}` | {meaning} |" for path, default, meaning in described()]


def annotations() -> list[str]:
    """Return the rows of the labels and annotations."""
    return [f"| `{name}` | {meaning} |" for name, meaning in ANNOTATIONS.items()]


def reasons() -> list[str]:
    """Return the rows of the reasons."""
    rows = []
    for reason in Reason:
        meant = about(reason)
        tell = meant.tell.value if meant.tell else "-"
        manual = meant.manual.value.replace("not_applicable", "-").replace("_", " ")
        rows.append(f"| `{reason.value}` | {meant.text} | {tell} | {manual} |")
    return rows


def metrics() -> list[str]:
    """Return the rows of the metrics."""
    return [
        f"| `{PREFIX}{name}` | {kind} | {', '.join(labels) or '-'} | {meaning} |"
        for name, kind, labels, meaning in METRICS
    ]


@pytest.mark.parametrize(
    "table", [settings, annotations, reasons, metrics], ids=lambda t: t.__name__
)
def test_a_table_of_the_readme_is_what_the_code_says(table: object) -> None:
    assert callable(table)
    name = getattr(table, "__name__", "")
    text = README.read_text()
    section = text.split(f"<!-- {name} -->")[1].split("\n\n")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == table()


def listed() -> list[tuple[str, str]]:
    """Return (method, path) of each route in the table of routes.

    Between backticks: methods, if any, and a path; `/x` after a longer one stands in its place.
    """
    found = []
    for row in README.read_text().split("<!-- routes -->")[1].split("\n\n")[0].splitlines()[2:]:
        methods: list[str] = []
        above = ""
        for words in re.findall(r"`([^`]+)`", row.split("|")[1]):
            *before, last = words.split()
            methods = [*methods, *before] if not above else methods
            if not last.startswith("/"):
                methods.append(last)
                continue
            path = last.partition("?")[0]
            if above.startswith("/api/") and not path.startswith("/api/"):
                path = above.rpartition("/")[0] + path
            above = path
            found += [(method, path) for method in methods]
    return found


def test_every_route_is_in_the_readme_once() -> None:
    # One has a chapter of its own, and one is the page that lists them all.
    shown = {("POST", "/api/v1/deployments/{ns}/{name}/rollback"), ("GET", "/")}
    routes = {(route.method, route.path.replace("{namespace}", "{ns}")) for route in ROUTES}
    assert sorted(listed()) == sorted(routes - shown)


def test_the_first_commands_are_those_of_the_makefile() -> None:
    makefile = README.with_name("Makefile").read_text()
    commands = re.findall(r"^make (\w+) ", README.read_text(), re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
