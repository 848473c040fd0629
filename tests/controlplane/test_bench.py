"""The scale run in small: it still measures, and the README keeps the table that it prints."""

import re
from pathlib import Path

import pytest

from tests.controlplane.bench import Size, measure
from tests.controlplane.plane import ControlPlane
from tests.controlplane.world import REAL

pytestmark = REAL
README = (Path(__file__).parents[2] / "README.md").read_text()


def _rows(text: str) -> list[tuple[str, str]]:
    """Return the rows of a Markdown table with two columns, the head first."""
    return re.findall(r"^\| (.+?) \|(?: (.*))? \|$", text, re.MULTILINE)


def _shape(text: str) -> str:
    return re.sub(r"\d[\d.,]*(?=\D|$)", "N", text)


@pytest.mark.timeout(120)
async def test_the_scale_run_in_small_measures_each_row_that_the_readme_keeps(
    tmp_path: Path, plane: ControlPlane
) -> None:
    said: list[str] = []
    size = Size(deployments=8, revisions=3, alerting=3)
    measured = await measure(plane, tmp_path, size, said.append)
    assert said[0].startswith("24 revisions")
    assert measured.last_patch > 0
    assert measured.complete > 0
    assert measured.bare > 0
    assert 10 < measured.idle <= measured.peak
    assert measured.verbs["patch deployments"] >= 1
    (head, _), *rows = _rows(measured.table())
    assert rows.pop()[0] == "of them"  # the requests by verb: not for the README
    (kept_head, _), *kept = _rows(README.split("## At scale")[1].split("\n## ")[0])
    assert _shape(kept_head) == _shape(head)
    assert [(what, _shape(value)) for what, value in kept] == [
        (what, _shape(value)) for what, value in rows
    ]
