"""The pages below `docs/`: their blocks, each with what says that it was tried, links and anchors.

Above a block of commands or configuration stands one comment: `<!-- tried: TEST -->` names the test
that runs it, `<!-- not tried: WHY -->` says why none does.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_MARK = re.compile(r"\s*<!-- (tried|not tried): (.+) -->")
_FENCE = re.compile(r"\s*```(.*)")
_HEADING = re.compile(r"#{1,6} (.+)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"<!--.*?-->")
_NAME = re.compile(r"# ([\w-]+\.ya?ml)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `test` is the test that runs it, `why_not` why none does; "" where unsaid."""

    page: Path
    line: int
    language: str
    text: str
    test: str = ""
    why_not: str = ""

    @property
    def place(self) -> str:
        """Return where it is, as compilers say it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def name(self) -> str:
        """Return the name of the file that it is to be, from its first line; "" for none."""
        found = _NAME.match(self.text)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: its blocks, and its lines with those of the blocks left empty."""

    path: Path
    blocks: tuple[Block, ...]
    prose: tuple[str, ...]

    @property
    def anchors(self) -> frozenset[str]:
        """Return the anchors of its headings, as GitHub makes them."""
        found = (_HEADING.fullmatch(line) for line in self.prose)
        return frozenset(anchor(heading[1]) for heading in found if heading)

    @property
    def links(self) -> Iterator[tuple[int, str]]:
        """Return the target of each link, with its line."""
        for number, line in enumerate(self.prose, 1):
            yield from ((number, target) for target in _LINK.findall(line))


def anchor(heading: str) -> str:
    """Return the anchor of a heading: lower case, blanks to hyphens, other marks left out."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


@cache
def read(path: Path) -> Page:
    """Read one page, once."""
    blocks: list[Block] = []
    prose: list[str] = []
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    above = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            prose.append(_COMMENT.sub("", line))
            above = line
            continue
        inside: list[str] = []
        for _, text in lines:
            if _FENCE.fullmatch(text):
                break
            inside.append(text)
        else:
            raise ValueError(f"{path}:{number}: the block has no end")
        prose += [""] * (len(inside) + 2)
        mark = _MARK.fullmatch(above)
        said = (mark[1], mark[2]) if mark else ("", "")
        blocks.append(
            Block(
                page=path,
                line=number,
                language=fence[1],
                text=dedent("\n".join(inside)) + "\n",
                test=said[1] if said[0] == "tried" else "",
                why_not=said[1] if said[0] == "not tried" else "",
            )
        )
        above = ""
    return Page(path=path, blocks=tuple(blocks), prose=tuple(prose))


@cache
def pages() -> tuple[Page, ...]:
    """Return all pages, each of them once."""
    return tuple(read(path) for path in sorted(DOCS.rglob("*.md")))


def blocks(language: str = "", test: str = "") -> tuple[Block, ...]:
    """Return the blocks of a language, of those that a test says it runs."""
    return tuple(
        block
        for page in pages()
        for block in page.blocks
        if language in ("", block.language) and test in ("", block.test)
    )


def tool(name: str) -> str:
    """Return where a program is; without it the test is skipped, and in CI it fails."""
    found = shutil.which(name)
    if found is None:
        said = f"{name} is not installed"
        # In CI its absence is a failure: there it is installed first.
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


def said_by(*command: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program; return all that it says, and fail with it when it fails."""
    done = subprocess.run(  # noqa: S603 - what our own pages say
        command,
        cwd=cwd,
        env=None if environment is None else os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
