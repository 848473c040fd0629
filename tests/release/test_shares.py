from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import release as rl
from receiver import rollout as ro
from receiver.journal import Step
from receiver.release.shares import share_of
from tests.builders import template
from tests.release.worlds import Pair, at_step, note


@given(st.integers(0, 5000), st.integers(1, 99))
def test_a_share_is_the_nearest_number_of_pods_halves_up_and_never_none(n: int, w: int) -> None:
    exact = Fraction(n * w, 100 - w)
    found = rl.pods(n, w)
    assert found >= 1
    if exact >= Fraction(1, 2):
        assert found - Fraction(1, 2) <= exact < found + Fraction(1, 2)
    else:
        assert found == 1


@pytest.mark.parametrize(
    ("n", "w", "pods"),
    [(1, 10, 1), (10, 10, 1), (20, 10, 2), (13, 10, 1), (14, 10, 2), (3, 50, 3), (9, 25, 3)],
)
def test_a_share_is_as_the_table_says(n: int, w: int, pods: int) -> None:
    assert rl.pods(n, w) == pods


@given(st.integers(1, 5000))
def test_half_of_the_traffic_is_as_many_pods_again(n: int) -> None:
    assert rl.pods(n, 50) == n
    assert share_of(n, n) == 50


def test_the_share_of_nothing_is_nothing() -> None:
    assert share_of(0, 0) == 0


@pytest.mark.parametrize(
    ("step", "pods"),
    [
        ("preparing", 0),
        ("scaling", 1),
        ("soaking", 1),
        ("waiting", 1),
        ("promoting", 10),
        ("watching", 0),
        ("completed", 0),
    ],
)
def test_each_step_wants_its_pods(step: str, pods: int) -> None:
    pair = at_step(step)
    assert rl.wanted(pair.release, pair.stable) == pods


@pytest.mark.parametrize("step", ["aborting", "aborted"])
def test_what_is_aborted_wants_no_pods_whatever_its_stage(step: str) -> None:
    pair = at_step("soaking")
    pair.release = pair.release.enter(Step(step), pair.now, "over")
    assert rl.wanted(pair.release, pair.stable) == 0


def test_the_note_says_whose_the_canary_is_and_an_abort_says_so() -> None:
    pair = at_step("soaking")
    assert note(pair) == {"id": "rel-1", "replicas": 1, "stage": "canary"}
    pair.look(rollback="inc-1")
    pair.act(pair.look())
    assert note(pair) == {"id": "rel-1", "replicas": 0, "stage": "canary", "aborted": True}


def test_other_images_are_set_and_all_else_stays() -> None:
    found = rl.templates(template("v1", initContainers=None), {"app": "new"})
    assert found == template("v1", initContainers=None) | {
        "spec": template("v1", initContainers=None)["spec"]
        | {"containers": [template("v1")["spec"]["containers"][0] | {"image": "new"}]}
    }
    with pytest.raises(KeyError, match="sidecar"):
        rl.templates(template("v1"), {"sidecar": "x"})


def test_everybody_gets_the_pod_spec_and_keeps_the_labels() -> None:
    pair = Pair()
    found = rl.promoted(pair.stable.template, pair.wanted_template())
    assert found["spec"] == pair.wanted_template()["spec"]
    assert found["metadata"] == pair.stable.template["metadata"]
    assert ro.code_of(found) != pair.stable.code


def _spec(**changes: Any) -> ro.Obj:
    return template("v1", **changes)


@pytest.mark.parametrize(
    ("canary", "paths"),
    [
        pytest.param(template("v2"), (), id="only the image"),
        pytest.param(_spec(hostNetwork=True), ("spec.hostNetwork",), id="a field"),
        pytest.param(
            _spec(nodeSelector={"x.image": "a"}), ("spec.nodeSelector",), id="a key called image"
        ),
        pytest.param(
            _spec(volumes=[{"name": "tmp", "image": {"reference": "r"}}]),
            ("spec.volumes[tmp].emptyDir", "spec.volumes[tmp].image"),
            id="the image of a volume",
        ),
    ],
)
def test_what_differs_beside_images_is_named(canary: ro.Obj, paths: tuple[str, ...]) -> None:
    assert rl.differences(template("v1"), canary) == paths


def test_of_many_differences_the_number_is_said() -> None:
    many = _spec(**{f"f{n:02}": n for n in range(25)})
    found = rl.differences(template("v1"), many)
    assert len(found) == 21
    assert found[-1] == "and 5 more"
