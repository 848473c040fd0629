"""When a list of unknown age is as new as the Deployment beside it."""

from typing import Any

import pytest

from receiver.kube.freshness import HASH, REVISION, is_fresh, owned_by, selector_text

Obj = dict[str, Any]


def _template(image: str, **labels: str) -> Obj:
    return {
        "metadata": {"labels": {"app": "api"} | labels},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def _object(
    image: str, revision: str | None, *, hashed: bool = False, owner: Obj | None = None
) -> Obj:
    meta: Obj = {"annotations": {} if revision is None else {REVISION: revision}, "uid": "u1"}
    if owner is not None:
        meta["ownerReferences"] = [owner]
    labels = {HASH: "abc"} if hashed else {}
    return {"metadata": meta, "spec": {"template": _template(image, **labels)}}


@pytest.mark.parametrize(
    ("replicasets", "fresh"),
    [
        pytest.param([("app:2", "2")], True, id="number_and_template"),
        pytest.param([("app:1", "1"), ("app:2", "2")], True, id="among_others"),
        pytest.param([("app:1", "2")], False, id="number_of_another_template"),
        pytest.param([("app:2", "1")], False, id="template_under_an_older_number"),
        pytest.param([("app:1", "2"), ("app:2", "1")], False, id="never_in_one_object"),
        pytest.param([("app:2", None)], False, id="no_number"),
        pytest.param([], False, id="none"),
    ],
)
def test_a_list_is_fresh_when_it_holds_the_revision_the_deployment_speaks_of(
    replicasets: list[tuple[str, str | None]], fresh: bool
) -> None:
    listed = [_object(image, number, hashed=True) for image, number in replicasets]
    assert is_fresh(_object("app:2", "2"), listed) is fresh


def test_a_deployment_without_a_number_makes_no_list_fresh() -> None:
    assert not is_fresh(_object("app:2", None), [_object("app:2", None, hashed=True)])


def test_an_object_without_annotations_makes_no_list_fresh() -> None:
    bare = _object("app:2", None)
    del bare["metadata"]["annotations"]
    assert not is_fresh(bare, [bare])


def test_only_the_hash_label_and_an_empty_creation_time_may_differ() -> None:
    listed = _object("app:2", "2", hashed=True)
    listed["spec"]["template"]["metadata"]["creationTimestamp"] = None
    assert is_fresh(_object("app:2", "2"), [listed])
    listed["spec"]["template"]["metadata"]["labels"]["other"] = "x"
    assert not is_fresh(_object("app:2", "2"), [listed])


def test_what_is_compared_is_left_as_it_was() -> None:
    listed = _object("app:2", "2", hashed=True)
    is_fresh(_object("app:2", "2"), [listed])
    assert listed == _object("app:2", "2", hashed=True)


@pytest.mark.parametrize(
    ("owner", "owned"),
    [
        pytest.param({"uid": "u1", "controller": True}, True, id="controller"),
        pytest.param({"uid": "u1", "controller": False}, False, id="owner_only"),
        pytest.param({"uid": "u1"}, False, id="not_said"),
        pytest.param({"uid": "u0", "controller": True}, False, id="another_uid"),
        pytest.param(None, False, id="orphan"),
    ],
)
def test_a_replicaset_is_owned_by_the_uid_of_its_controller(owner: Obj | None, owned: bool) -> None:
    listed = _object("app:1", "1", owner=owner)
    assert owned_by(_object("app:1", "1"), [listed]) == ((listed,) if owned else ())


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": {"app": "api", "tier": ""}}, "app=api,tier="),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]},
            "a in (x,y)",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a notin (x)"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "a"),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a"),
        (
            {
                "matchLabels": {"app": "api"},
                "matchExpressions": [{"key": "a", "operator": "Exists"}],
            },
            "app=api,a",
        ),
    ],
)
def test_a_selector_is_written_as_a_query(selector: Obj, text: str) -> None:
    assert selector_text(selector) == text


def test_an_operator_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="Near"):
        selector_text({"matchExpressions": [{"key": "a", "operator": "Near"}]})
