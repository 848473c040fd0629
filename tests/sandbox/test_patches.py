"""The three kinds of patch, as functions (receiver/sandbox/patch.py, strategic.py)."""

from typing import Any

import pytest

from receiver.sandbox import ApiError
from receiver.sandbox.patch import json_patch, merge_patch, same
from receiver.sandbox.status import REJECTED
from receiver.sandbox.strategic import strategic_merge
from tests.kube.http import add, expect, replace

DOCUMENT = {"a": {"b": [1, 2, 3], "c/d": "slash", "e~f": "tilde"}, "n": None, "g": 5}


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        (add("/a/x", 1), ["a", "x"], 1),
        (add("/a/b/1", 9), ["a", "b"], [1, 9, 2, 3]),
        (add("/a/b/-", 9), ["a", "b"], [1, 2, 3, 9]),
        (add("/a/b/3", 9), ["a", "b"], [1, 2, 3, 9]),
        (add("/g", {"deep": []}), ["g"], {"deep": []}),
        (replace("/a/c~1d", "new"), ["a", "c/d"], "new"),
        (replace("/a/e~0f", "new"), ["a", "e~f"], "new"),
        (replace("/a/b/0", 7), ["a", "b"], [7, 2, 3]),
        ({"op": "remove", "path": "/a/b/0"}, ["a", "b"], [2, 3]),
        ({"op": "move", "from": "/g", "path": "/a/g"}, ["a", "g"], 5),
        ({"op": "copy", "from": "/a/b", "path": "/h"}, ["h"], [1, 2, 3]),
        (expect("/g", 5), ["g"], 5),
        (expect("/a/b", [1, 2, 3]), ["g"], 5),
        (expect("/n", None), ["g"], 5),
        (expect("/absent", None), ["g"], 5),
    ],
    ids=str,
)
def test_a_json_patch_applies(operation: Any, path: list[str], expected: Any) -> None:
    result: Any = json_patch(DOCUMENT, [operation])
    for key in path:
        result = result[key]
    assert result == expected


@pytest.mark.parametrize(
    "operation",
    [
        expect("/g", 6),
        expect("/g", 5.0),
        expect("/g", True),
        expect("/absent", 1),
        expect("/absent/deeper", 1),
        expect("/a/b/7", 1),
        expect("/n", 0),
        replace("/absent", 1),
        replace("/a/b/3", 1),
        add("/absent/x", 1),
        add("/a/b/4", 1),
        add("/a/b/01", 1),
        add("/g/x", 1),
        {"op": "remove", "path": "/absent"},
        {"op": "remove", "path": "/a/b/9"},
        {"op": "copy", "from": "/absent", "path": "/x"},
        {"op": "move", "from": "/absent", "path": "/x"},
        {"op": "move", "path": "/x"},
        {"op": "add", "path": "/x"},
        {"op": "nonsense", "path": "/x"},
        {"op": "add", "path": "no/slash", "value": 1},
        {"op": "add", "value": 1},
        {},
    ],
    ids=str,
)
def test_what_does_not_apply_is_one_and_the_same_422_without_causes(operation: Any) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch(DOCUMENT, [add("/first", 1), operation])
    assert caught.value.body() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": REJECTED,
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }
    assert "first" not in DOCUMENT


@pytest.mark.parametrize("operations", [{}, None, "text", [1], [[]]], ids=str)
def test_a_json_patch_that_is_no_list_of_operations_is_400(operations: Any) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch(DOCUMENT, operations)
    assert caught.value.code == 400


def test_a_json_patch_may_hold_ten_thousand_operations_and_no_more() -> None:
    assert json_patch({}, [add("/x", 1)] * 10_000) == {"x": 1}
    with pytest.raises(ApiError) as caught:
        json_patch({}, [add("/x", 1)] * 10_001)
    assert caught.value.code == 413


def test_what_a_patch_puts_in_is_its_own_copy() -> None:
    value: dict[str, Any] = {"list": []}
    patched = json_patch({}, [add("/x", value), add("/x/list/-", 1)])
    assert (patched, value) == ({"x": {"list": [1]}}, {"list": []})


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    # The test cases of RFC 7386, appendix A, that concern objects, and a few of our own.
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_a_merge_patch_applies(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


SPEC = {
    "containers": [
        {"name": "app", "image": "a:1", "env": [{"name": "A", "value": "1"}]},
        {"name": "side", "image": "s:1"},
    ],
    "nodeSelector": {"disk": "ssd"},
}


@pytest.mark.parametrize(
    ("patch", "images"),
    [
        ({"containers": [{"name": "app", "image": "a:2"}]}, "a:2 s:1"),
        ({"containers": [{"name": "new", "image": "n:1"}]}, "a:1 s:1 n:1"),
        ({"containers": [{"name": "side", "$patch": "delete"}]}, "a:1"),
        ({"containers": [{"$patch": "replace"}, {"name": "x", "image": "x:1"}]}, "x:1"),
        (
            {"$setElementOrder/containers": [{"name": "side"}, {"name": "app"}]},
            "s:1 a:1",
        ),
        ({"containers": None}, ""),
        ({"$patch": "replace", "containers": [{"name": "x", "image": "x:1"}]}, "x:1"),
        ({"$patch": "delete"}, ""),
        ({"$retainKeys": ["nodeSelector"]}, ""),
    ],
    ids=str,
)
def test_a_strategic_merge_merges_lists_by_their_key(patch: Any, images: str) -> None:
    merged = strategic_merge(SPEC, patch)
    assert " ".join(c["image"] for c in merged.get("containers", ())) == images


def test_a_strategic_merge_goes_down_to_the_lists_within_lists() -> None:
    patch = {"containers": [{"name": "app", "env": [{"name": "B", "value": "2"}]}]}
    merged = strategic_merge(SPEC, patch)
    assert merged["containers"][0] == {
        "name": "app",
        "image": "a:1",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    }


def test_a_strategic_merge_treats_finalizers_as_a_set() -> None:
    document = {"finalizers": ["a/b", "c/d"]}
    assert strategic_merge(document, {"finalizers": ["c/d", "e/f"]})["finalizers"] == [
        "a/b",
        "c/d",
        "e/f",
    ]
    dropped = strategic_merge(document, {"$deleteFromPrimitiveList/finalizers": ["a/b"]})
    assert dropped == {"finalizers": ["c/d"]}


def test_no_name_has_a_meaning_in_a_map_of_strings() -> None:
    patch = {"data": {"containers": "text"}, "labels": {"env": "prod"}}
    assert strategic_merge({"data": {"k": "v"}}, patch) == {
        "data": {"k": "v", "containers": "text"},
        "labels": {"env": "prod"},
    }


@pytest.mark.parametrize(
    "patch",
    [
        [],
        {"$patch": "nonsense"},
        {"$nonsense": 1},
        {"$setElementOrder/containers": "app"},
        {"containers": [{"image": "without a name"}]},
        {"containers": ["text"]},
    ],
    ids=str,
)
def test_a_strategic_merge_that_makes_no_sense_is_400(patch: Any) -> None:
    with pytest.raises(ApiError) as caught:
        strategic_merge(SPEC, patch)
    assert caught.value.code == 400


def test_json_is_compared_strictly() -> None:
    assert same({"a": [1, "x", None]}, {"a": [1, "x", None]})
    assert not same(5, 5.0)
    assert not same(True, 1)
    assert not same({"a": 1}, {"a": 1, "b": None})
    assert not same([1], [1, 2])
