"""The tests of the rules are worth something: each mutant of a shipped rule fails one of them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rules import receiver_cases, release_cases
from tests.rules.mutants import Mutant, mutants
from tests.rules.promtool import (
    At,
    Case,
    Rule,
    name_of,
    needed,
    promtool,
    run,
    shipped,
    write,
    write_rules,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CASES = {"release": tuple(release_cases.cases()), "receiver": tuple(receiver_cases.cases())}


def _of(name: str) -> Iterator[Mutant]:
    for rule in shipped(name):
        yield from mutants(rule)


@pytest.mark.parametrize("name", CASES)
def test_the_mutants_are_many_and_each_is_a_rule(name: str, tmp_path: Path) -> None:
    found = list(_of(name))
    assert len({mutant.title for mutant in found}) > 100
    for at, mutant in enumerate(found):
        write_rules(tmp_path / f"{at}.yaml", [mutant.rule])
    done = subprocess.run(  # noqa: S603 - promtool, and files of our own
        [promtool(), "check", "rules", "--lint=none", *(f"{at}.yaml" for at in range(len(found)))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", CASES)
def test_whatever_is_changed_in_a_rule_a_test_fails(name: str, tmp_path: Path) -> None:
    rules = shipped(name)
    alive = [(mutant, _likeliest_first(mutant, rules, CASES[name])) for mutant in _of(name)]
    # Round after round each mutant that is left meets another case that has to do with it.
    number = 0
    while fights := [(mutant, cases[number]) for mutant, cases in alive if number < len(cases)]:
        dead = _dead(tmp_path / str(number), rules, fights)
        alive = [(mutant, cases) for mutant, cases in alive if mutant.title not in dead]
        number += 1
    assert not alive, "\n".join(mutant.title for mutant, _ in alive)


def _likeliest_first(mutant: Mutant, rules: Sequence[Rule], cases: Sequence[Case]) -> list[Case]:
    """Return the cases that the rule has to do with: first those that look at it themselves."""
    name = name_of(mutant.rule)

    def unlikely(case: Case) -> tuple[bool, bool, int]:
        own = any(
            each.alert == name if isinstance(each, At) else name in each.expr
            for each in case.expects
        )
        moves = len(case.expects) > 2
        return not own, moves is not mutant.timing, len(case.series)

    return sorted((case for case in cases if name in needed(rules, case)), key=unlikely)


def _dead(
    folder: Path, rules: Sequence[Rule], fights: Sequence[tuple[Mutant, Case]]
) -> frozenset[str]:
    """Return the titles of the mutants that did not survive their case."""
    folder.mkdir()
    files = {}
    for at, (mutant, case) in enumerate(fights):
        (file,) = write(folder, str(at), mutant.among(rules), [case])
        files[file] = mutant.title
    workers = os.cpu_count() or 1
    batches = [list(files)[at::workers] for at in range(min(workers, len(files)))]
    with ThreadPoolExecutor(workers) as pool:
        verdicts = [item for said in pool.map(run, batches) for item in said.items()]
    shutil.rmtree(folder)
    return frozenset(files[file] for file, wrong in verdicts if wrong)
