"""Who is who and who may what."""

from typing import Any

import pytest

from receiver.sandbox import Attributes, Token
from tests.kube.http import Answer, set_image
from tests.sandbox.api import API, CONFIGMAPS, DEPLOYMENTS, NAMESPACE, Api, configmap, on_sandbox

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SELF_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
OURS = "rollback-receiver"


async def who_is(api: Api, token: str, *audiences: str) -> Any:
    spec = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    answer = await api.post(TOKEN_REVIEWS, {"spec": spec})
    assert (answer.status, answer.body["kind"]) == (201, "TokenReview")
    return answer.body["status"]


@on_sandbox
async def test_a_token_is_authenticated_for_its_own_audience_alone(api: Api) -> None:
    api.sandbox.reviews.tokens |= {
        "alice-token": Token("alice", ["dev"], [OURS, "more"], "uid-1", {"scopes": ["a"]})
    }
    assert await who_is(api, "alice-token", OURS, "third") == {
        "authenticated": True,
        "user": {
            "username": "alice",
            "uid": "uid-1",
            "groups": ["dev"],
            "extra": {"scopes": ["a"]},
        },
        "audiences": [OURS],
    }
    for status in (
        await who_is(api, "alice-token", "other"),
        await who_is(api, "alice-token"),
        await who_is(api, "nonsense", OURS),
    ):
        assert status["user"] == {}
        assert "authenticated" not in status
        assert "audiences" not in status
        assert "invalid" in status["error"]


@on_sandbox
async def test_a_token_without_an_audience_is_one_of_the_api_server(api: Api) -> None:
    api.sandbox.reviews.tokens["t"] = {"user": "system:serviceaccount:a:b"}
    status = await who_is(api, "t")
    assert status["user"] == {"username": "system:serviceaccount:a:b"}
    assert status["audiences"] == ["https://kubernetes.default.svc"]


@on_sandbox
@pytest.mark.parametrize(
    "review",
    [[], {}, {"spec": []}, {"spec": {}}, {"spec": {"token": 5}}, {"spec": {"token": ""}}]
    + [{"spec": {"token": "x", "audiences": audiences}} for audiences in ("x", [1], {"a": 1})],
    ids=str,
)
async def test_a_token_review_without_sense_is_400(api: Api, review: Any) -> None:
    assert (await api.post(TOKEN_REVIEWS, review)).status == 400


def wish(verb: str, resource: str = "deployments", name: str = "api") -> dict[str, Any]:
    return {
        "verb": verb,
        "group": "apps",
        "resource": resource,
        "namespace": NAMESPACE,
        "name": name,
    }


def allowed(answer: Answer) -> bool:
    assert answer.status == 201
    verdict: bool = answer.body["status"]["allowed"]
    return verdict


@on_sandbox
async def test_an_access_review_asks_about_anybody(api: Api) -> None:
    asked = []

    def allow(user: str, groups: tuple[str, ...], attributes: Attributes) -> bool:
        asked.append((user, groups, attributes))
        return user == "alice" or "admins" in groups

    api.sandbox.allow = allow
    api.sandbox.clear_log()
    for spec, expected in (
        ({"user": "alice"}, True),
        ({"user": "bob"}, False),
        ({"user": "bob", "groups": ["admins"]}, True),
        ({"groups": ["admins"]}, True),
    ):
        review = {"spec": spec | {"resourceAttributes": wish("patch")}}
        assert allowed(await api.post(ACCESS_REVIEWS, review)) is expected
    attributes = Attributes("patch", "apps", "deployments", "", NAMESPACE, "api")
    assert asked[0] == ("alice", (), attributes)
    other = {"spec": {"user": "bob", "nonResourceAttributes": {"verb": "get", "path": "/metrics"}}}
    assert not allowed(await api.post(ACCESS_REVIEWS, other))
    assert asked[-1][2] == Attributes("get", path="/metrics")


@on_sandbox
async def test_without_a_rule_everybody_may_everything(api: Api) -> None:
    review = {"spec": {"user": "bob", "resourceAttributes": wish("delete")}}
    assert allowed(await api.post(ACCESS_REVIEWS, review))


@on_sandbox
@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"user": "x"}, 422),
        ({"resourceAttributes": {"verb": "get"}}, 422),
        ({"user": "x", "resourceAttributes": {}, "nonResourceAttributes": {}}, 422),
        ({"user": 5, "resourceAttributes": {}}, 400),
        ({"user": "x", "groups": "y", "resourceAttributes": {}}, 400),
        ({"user": "x", "resourceAttributes": []}, 400),
        ({"user": "x", "resourceAttributes": {"verb": 5}}, 400),
        ("text", 400),
    ],
    ids=str,
)
async def test_an_access_review_without_sense_is_refused(api: Api, spec: Any, status: int) -> None:
    assert (await api.post(ACCESS_REVIEWS, {"spec": spec})).status == status


@on_sandbox
async def test_what_is_not_authorized_is_403_as_kubernetes_says_it(api: Api) -> None:
    await api.deployed()

    def authorize(
        verb: str, group: str, resource: str, subresource: str, namespace: str, name: str
    ) -> bool:
        return (verb, resource) not in (("patch", "deployments"), ("list", "configmaps"))

    api.sandbox.authorize = authorize
    answer = await api.patch(API, set_image("app:v2"))
    assert answer.status == 403
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": (
            'deployments.apps "api" is forbidden: User "kubernetes-admin" cannot patch resource '
            f'"deployments" in API group "apps" in the namespace "{NAMESPACE}"'
        ),
        "reason": "Forbidden",
        "details": {"name": "api", "group": "apps", "kind": "deployments"},
        "code": 403,
    }
    answer = await api.get("/api/v1/configmaps")
    assert answer.body["message"] == (
        'configmaps is forbidden: User "kubernetes-admin" cannot list resource "configmaps" '
        'in API group "" at the cluster scope'
    )
    assert (await api.get(API)).status == 200
    # A right to the object is none to its subresource, and the other way about.
    assert (await api.get(f"{API}/scale")).status == 200
    for verb, expected in (("patch", False), ("get", True)):
        review = {"spec": {"resourceAttributes": wish(verb)}}
        assert allowed(await api.post(SELF_REVIEWS, review)) is expected


@on_sandbox
async def test_a_right_to_one_name_covers_a_list_of_that_name(api: Api) -> None:
    await api.deployed(replicas=0)

    def authorize(verb: str, group: str, resource: str, sub: str, space: str, name: str) -> bool:
        return resource != "deployments" or name == "api"

    api.sandbox.authorize = authorize
    assert (await api.get(DEPLOYMENTS)).status == 403
    assert (await api.get(DEPLOYMENTS, fieldSelector="metadata.name=api")).status == 200
    assert (await api.get(DEPLOYMENTS, fieldSelector="metadata.name=other")).status == 403
    assert (await api.get(DEPLOYMENTS, fieldSelector="metadata.name!=api")).status == 403
    watch = {"watch": "true", "fieldSelector": "metadata.name=api", "timeoutSeconds": "1"}
    assert (await api.get(DEPLOYMENTS, **watch)).status == 200
    assert (await api.get(DEPLOYMENTS, watch="true")).status == 403


@on_sandbox
async def test_who_shows_a_token_is_its_user(api: Api) -> None:
    api.sandbox.reviews.tokens["t"] = Token("bob", ("dev",))
    api.sandbox.allow = lambda user, groups, wanted: user == "bob" and wanted.verb != "create"
    headers = {"Authorization": "Bearer t"}
    async with api.http.get(api.url + CONFIGMAPS, headers=headers) as answer:
        assert answer.status == 200
    body = configmap("x")
    async with api.http.post(api.url + CONFIGMAPS, json=body, headers=headers) as answer:
        assert answer.status == 403
        assert 'User "bob" cannot create' in (await answer.json())["message"]
    review = {"spec": {"resourceAttributes": wish("get")}}
    async with api.http.post(api.url + SELF_REVIEWS, json=review, headers=headers) as answer:
        assert (await answer.json())["status"] == {"allowed": True}
    assert api.sandbox.requests[0].authorization_present


@on_sandbox
async def test_without_the_required_token_all_is_401(api: Api) -> None:
    api.sandbox.require_token("right")
    for path in (API, "/version", "/apis"):
        answer = await api.get(path)
        assert (answer.status, answer.body["reason"]) == (401, "Unauthorized")
    for bearer, status in (("wrong", 401), ("right", 404)):
        headers = {"Authorization": f"Bearer {bearer}"}
        async with api.http.get(api.url + API, headers=headers) as got:
            assert got.status == status
    api.sandbox.require_token(None)
    assert (await api.get("/version")).status == 200
