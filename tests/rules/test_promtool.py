"""Every shipped rule under the real promtool: when it fires, goes on firing, resolves, and not."""

from pathlib import Path

import pytest

from tests.rules import receiver_cases, release_cases
from tests.rules.promtool import At, Case, name_of, run, shipped, write

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CASES = {"release": tuple(release_cases.cases()), "receiver": tuple(receiver_cases.cases())}


@pytest.mark.parametrize("name", CASES)
def test_the_rules_hold_in_every_case(name: str, tmp_path: Path) -> None:
    # One file for each case, so that what is wrong says where.
    files, cases = [], {}
    for at, case in enumerate(CASES[name]):
        for file in write(tmp_path, f"{at}", shipped(name), [case]):
            files.append(file)
            cases[file] = case
    wrong = {cases[file].name: said for file, said in run(files).items() if said}
    assert not wrong, "\n".join([*wrong, *list(wrong.values())[-1:]])


@pytest.mark.parametrize("name", CASES)
def test_every_alert_is_seen_to_fire_and_not_to_fire(name: str) -> None:
    def seen(*, firing: bool) -> set[str]:
        return {
            each.alert
            for case in CASES[name]
            for each in case.expects
            if isinstance(each, At) and bool(each.fires) is firing
        }

    alerts = {name_of(rule) for rule in shipped(name) if "alert" in rule}
    assert seen(firing=True) == alerts
    assert seen(firing=False) == alerts


def test_a_case_that_is_wrong_is_told(tmp_path: Path) -> None:
    case = next(iter(CASES["release"]))
    wrong = Case(
        name="wrong",
        series=case.series,
        expects=(At(when="20m", alert="HighErrorRate"),),
    )
    (file,) = write(tmp_path, "wrong", shipped("release"), [wrong])
    assert "HighErrorRate" in run([file])[file]
