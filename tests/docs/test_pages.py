"""The pages as such: each block is tried or says why not, and every link leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, Page, blocks, pages, read

# Those that take their blocks from the pages, all that name them.
OURS = frozenset(
    f"tests/docs/test_{name}.py" for name in ("cluster", "commands", "examples", "releases")
)
README = ROOT / "README.md"


def test_every_block_says_which_test_runs_it_or_why_none_does() -> None:
    # Of expressions test_examples has them all.
    marked = [block for block in blocks() if block.language != "promql"]
    assert {block.language for block in marked} == {"sh", "yaml"}
    assert not [block.place for block in marked if not (block.test or block.why_not)]


@pytest.mark.parametrize("test", sorted({block.test for block in blocks() if block.test}))
def test_a_named_test_exists_and_runs_the_block(test: str) -> None:
    text = (ROOT / test).read_text()
    if test in OURS:
        # It takes all that name it.
        assert f'"{test}"' in text
        return
    # It runs the README's, which has to be the same.
    assert README.name in text
    tried = re.findall(r"(?ms)^<!-- tried: [^\n]+ -->\n```\n(.*?)^```$", README.read_text())
    assert not [block.place for block in blocks(test=test) if block.text not in tried]


def test_a_block_without_a_mark_is_told(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("Do it.\n\n```sh\nrm x\n```\n\n<!-- not tried: no -->\n\n```sh\nrm y\n```\n")
    assert [(b.test, b.why_not) for b in read(file).blocks] == [("", ""), ("", "")]
    file = tmp_path / "list.md"
    file.write_text("- Do it.\n\n  <!-- tried: a.py -->\n  ```sh\n  rm x\n  ```\n")
    (block,) = read(file).blocks
    assert (block.test, block.line, block.text) == ("a.py", 4, "rm x\n")


# --- links


def broken(page: Page) -> Iterator[str]:
    """Yield the links of a page that lead nowhere."""
    for line, target in page.links:
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme != "https" or not parts.netloc:
                yield f"{line}: {target}"
            continue
        path = (page.path.parent / parts.path).resolve() if parts.path else page.path
        if not path.exists() or not path.is_relative_to(ROOT):
            yield f"{line}: {target}: no such file"
        elif parts.fragment and parts.fragment not in read(path).anchors:
            yield f"{line}: {target}: no such heading"


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    linked = (*pages(), read(README))
    assert not [f"{page.path.name}:{each}" for page in linked for each in broken(page)]


def test_a_link_to_nowhere_is_told(tmp_path: Path) -> None:
    page = DOCS / "reasons.md"
    lines = ("[a](nowhere.md) [b](slack.md#the-bot)", "[c](#stopped) [d](slack.md#nothing)")
    found = list(broken(Page(path=page, blocks=(), prose=("### `stopped`", *lines))))
    assert [each.partition(":")[0] for each in found] == ["2", "3"]


def test_every_page_can_be_reached_from_the_first() -> None:
    known = {page.path: page for page in pages()}
    reached, left = set(), {DOCS / "README.md"}
    while left:
        path = left.pop()
        reached.add(path)
        targets = (urlsplit(target).path for _, target in known[path].links)
        found = {(path.parent / target).resolve() for target in targets if target}
        left |= (found & known.keys()) - reached
    assert known.keys() == reached
