"""The commands that need no cluster: typed page by page, beside the files that the page has."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, Page, blocks, pages, said_by, tool

pytestmark = pytest.mark.e2e

HERE = "tests/docs/test_commands.py"
ITS = [page for page in pages() if any(b.test == HERE for b in page.blocks)]


def typed(page: Page, folder: Path) -> str:
    """Type what a page says beside its files, the project's, and secrets; return what is said."""
    for name in ("k8s", "alert_rules"):
        (folder / name).symlink_to(ROOT / name)
    secrets = folder / "secrets"
    secrets.mkdir()
    shipped = (ROOT / "k8s" / "overlays" / "prod" / "receiver.yaml").read_text()
    for name in re.findall(r"/etc/rollback-receiver/secrets/([\w-]+)", shipped):
        (secrets / name).write_text("x" * 32)
    for block in page.blocks:
        if block.name:
            (folder / block.name).write_text(block.text)
    commands = [b.text for b in page.blocks if b.test == HERE and b.language == "sh"]
    for program in ("amtool", "promtool"):
        if any(line.startswith(program) for text in commands for line in text.splitlines()):
            tool(program)
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return said_by("bash", "-eu", "-c", "\n".join(commands), cwd=folder, environment=path)


@pytest.mark.parametrize("page", ITS, ids=lambda page: str(page.path.relative_to(DOCS)))
def test_the_commands_of_a_page_work(page: Page, tmp_path: Path) -> None:
    said = typed(page, tmp_path)
    if page.path.name == "alertmanager.md":
        # "Both must name rollback-receiver."
        routed = [line for line in said.splitlines() if line.startswith("rollback-receiver")]
        assert routed == ["rollback-receiver,on-call", "rollback-receiver"]
        made = (tmp_path / "prometheusrule.yaml").read_text()
        assert "rollback: auto" in made


def test_a_configuration_that_is_to_be_built_stands_beside_the_command() -> None:
    assert {block.name for block in blocks("yaml", HERE)} == {"conditions.yaml"}


def test_a_command_that_fails_fails_the_test(tmp_path: Path) -> None:
    page = ITS[0]
    text = "amtool check-config nowhere.yml\ntrue\n"
    wrong = replace(page.blocks[0], language="sh", test=HERE, text=text)
    with pytest.raises(AssertionError, match=r"nowhere\.yml"):
        typed(replace(page, blocks=(wrong,)), tmp_path)
