"""How to ask who is who and who may what, and how to read the answers: pure.

What is not said plainly is no identity, and no permission.
"""

from receiver.controller.ports import Act, Identity
from receiver.kube.answers import Obj


def token_review(token: str, audience: str) -> Obj:
    """Return a TokenReview."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }


def identity_of(review: Obj, audience: str) -> Identity | None:
    """Read the answer; None: nobody, or a token that was not made for this audience.

    An authenticator that knows nothing of audiences returns none: the API's text asks us to look.
    """
    status = _dict(review.get("status"))
    audiences = status.get("audiences")
    if status.get("authenticated") is not True or not isinstance(audiences, list):
        return None
    user = _dict(status.get("user"))
    username = user.get("username")
    if audience not in audiences or not isinstance(username, str) or not username:
        return None
    uid = user.get("uid")
    return Identity(
        username=username,
        uid=uid if isinstance(uid, str) else "",
        groups=_texts(user.get("groups")),
        extra={str(key): _texts(values) for key, values in _dict(user.get("extra")).items()},
    )


def access_review(identity: Identity, act: Act) -> Obj:
    """Return a SubjectAccessReview."""
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": identity.username,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": {key: list(values) for key, values in identity.extra.items()},
            "resourceAttributes": {
                "namespace": act.namespace,
                "verb": act.verb,
                "group": act.group,
                "resource": act.resource,
                "name": act.name,
            },
        },
    }


def _dict(value: object) -> Obj:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else []
    return tuple(each for each in found if isinstance(each, str))
