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


def test_every_route_is_in_the_readme() -> None:
    text = README.read_text()
    for route in ROUTES:
        assert route.path.split("{")[0].rstrip("/") in text, route.path


def test_the_first_commands_are_those_of_the_makefile() -> None:
    makefile = README.with_name("Makefile").read_text()
    commands = re.findall(r"^make (\w+) ", README.read_text(), re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
