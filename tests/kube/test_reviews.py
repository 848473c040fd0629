"""How reviews are asked and read: what is not said plainly is nobody, and no permission."""

from typing import Any

import pytest

from receiver.controller.ports import Act, Identity
from receiver.kube.reviews import access_review, identity_of, token_review

US = "rollback-receiver"
USER: dict[str, Any] = {
    "username": "system:serviceaccount:shop:alice",
    "uid": "1-2",
    "groups": ["system:serviceaccounts", "system:authenticated"],
    "extra": {"authentication.kubernetes.io/pod-name": ["shell"]},
}
ALICE = Identity(
    username="system:serviceaccount:shop:alice",
    uid="1-2",
    groups=("system:serviceaccounts", "system:authenticated"),
    extra={"authentication.kubernetes.io/pod-name": ("shell",)},
)


def review(**status: Any) -> dict[str, Any]:
    return {"status": {"authenticated": True, "audiences": [US], "user": USER} | status}


def test_a_token_is_asked_about_with_our_audience_alone() -> None:
    asked = token_review("a.b.c", US)
    assert (asked["apiVersion"], asked["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
    assert asked["spec"] == {"token": "a.b.c", "audiences": [US]}


def test_an_identity_has_all_that_the_api_server_says_of_it() -> None:
    assert identity_of(review(), US) == ALICE
    assert identity_of(review(audiences=["other", US]), US) == ALICE


NOBODY: dict[str, dict[str, Any]] = {
    "no status": {},
    "a status that is none": {"status": []},
    "not authenticated": review(authenticated=False),
    "authenticated is no boolean": review(authenticated="true"),
    "no audiences, as an authenticator that knows none": review(audiences=None),
    "audiences that are a text": review(audiences=US),
    "another audience": review(audiences=["https://kubernetes.default.svc"]),
    "an audience that begins like ours": review(audiences=[US + "-2"]),
    "no user": review(user=None),
    "no name": review(user={"uid": "1"}),
    "an empty name": review(user={"username": ""}),
    "a name that is none": review(user={"username": ["alice"]}),
    "an error": {"status": {"user": {}, "error": "[invalid bearer token]"}},
}


@pytest.mark.parametrize("answer", NOBODY.values(), ids=NOBODY)
def test_what_is_not_said_plainly_is_nobody(answer: dict[str, Any]) -> None:
    assert identity_of(answer, US) is None


def test_parts_of_an_identity_that_are_not_there_are_empty() -> None:
    assert identity_of(review(user={"username": "alice"}), US) == Identity(username="alice")
    odd = {"username": "alice", "uid": 5, "groups": "admins", "extra": [], "more": 1}
    assert identity_of(review(user=odd), US) == Identity(username="alice")
    odd = {"username": "alice", "groups": ["a", 5], "extra": {"k": ["v", None], "l": "text"}}
    assert identity_of(review(user=odd), US) == Identity(
        username="alice", groups=("a",), extra={"k": ("v",), "l": ()}
    )


def test_a_permission_is_asked_for_with_the_whole_identity_and_the_very_object() -> None:
    act = Act(verb="patch", group="apps", resource="deployments", namespace="shop", name="checkout")
    asked = access_review(ALICE, act)
    assert asked["apiVersion"] == "authorization.k8s.io/v1"
    assert asked["kind"] == "SubjectAccessReview"
    assert asked["spec"] == {
        "user": "system:serviceaccount:shop:alice",
        "uid": "1-2",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/pod-name": ["shell"]},
        "resourceAttributes": {
            "namespace": "shop",
            "verb": "patch",
            "group": "apps",
            "resource": "deployments",
            "name": "checkout",
        },
    }
