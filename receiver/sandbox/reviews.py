"""Who is who and who may what: TokenReview, SubjectAccessReview, and the authorizer's refusals.

k/k pkg/registry/{authentication/tokenreview,authorization}, pkg/apis/authorization/validation.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from receiver.sandbox.objects import Obj
from receiver.sandbox.status import bad_request, cause, invalid

API_AUDIENCE = "https://kubernetes.default.svc"
ADMIN = "kubernetes-admin"
_KINDS = {
    "apis/authentication.k8s.io/v1/tokenreviews": "TokenReview",
    "apis/authorization.k8s.io/v1/subjectaccessreviews": "SubjectAccessReview",
    "apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "SelfSubjectAccessReview",
}


class Attributes(NamedTuple):
    """What somebody wants to do, as an authorizer is asked. `path`: no resource, but a URL."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass
class Token:
    """Whose token it is, and for which audiences it was made."""

    user: str
    groups: tuple[str, ...] | list[str] = ()
    audiences: tuple[str, ...] | list[str] = (API_AUDIENCE,)
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)


NOBODY_ELSE = Token(ADMIN, ("system:masters", "system:authenticated"))

May = Callable[[str, tuple[str, ...], Attributes], bool]
Authorize = Callable[[str, str, str, str, str, str], bool]


@dataclass
class Reviews:
    """The tables behind the reviews; without `may` and `authorize`, all is allowed.

    `may(user, groups, attributes)` judges everybody, in reviews and at the door. `authorize(verb,
    group, resource, subresource, namespace, name)` judges only whoever knocks, and what he asks
    about himself. A token may be given as a Token or as a mapping of its fields.
    """

    tokens: dict[str, Token | Mapping[str, Any]] = field(default_factory=dict)
    may: May | None = None
    authorize: Authorize | None = None

    def token_of(self, bearer: str) -> Token | None:
        """Return whose bearer token this is."""
        known = self.tokens.get(bearer)
        return known if isinstance(known, Token) or known is None else Token(**known)

    def allows(self, user: str, groups: tuple[str, ...], wanted: Attributes) -> bool:
        """Say whether this user may do that."""
        return self.may is None or self.may(user, groups, wanted)

    def allows_me(self, me: Token, wanted: Attributes) -> bool:
        """Say whether who sent this request may do that."""
        if self.authorize is not None and not self.authorize(*wanted[:6]):
            return False
        return self.allows(me.user, tuple(me.groups), wanted)

    def answer(self, path: str, review: Any, me: Token) -> Obj:
        """Answer a review that was posted: the verdict is in its status."""
        kind = _KINDS[path]
        group = path.split("/")[1]
        spec = review.get("spec") if isinstance(review, dict) else None
        if not isinstance(spec, dict):
            raise bad_request(
                f'{kind} in version "v1" cannot be handled as a {kind}: spec must be an object'
            )
        if kind == "TokenReview":
            status = self._token(spec)
        elif kind == "SubjectAccessReview":
            status = self._access(spec)
        else:
            status = {"allowed": self.allows_me(me, _attributes(spec, kind, group))}
        return {
            "kind": kind,
            "apiVersion": f"{group}/v1",
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": status,
        }

    def _token(self, spec: Obj) -> Obj:
        bearer, asked = spec.get("token"), spec.get("audiences") or [API_AUDIENCE]
        if not isinstance(bearer, str) or not bearer:
            raise bad_request("token is required for TokenReview in authentication")
        if not _is_strings(asked):
            raise bad_request("json: cannot unmarshal into Go struct field spec.audiences")
        known = self.token_of(bearer)
        if known is None:
            return {"user": {}, "error": "[invalid bearer token]"}
        shared = [audience for audience in asked if audience in known.audiences]
        if not shared:
            had, wanted = (json.dumps([*a]).replace(",", "") for a in (known.audiences, asked))
            text = f"token audiences {had} is invalid for the target audiences {wanted}"
            return {"user": {}, "error": f"[invalid bearer token, {text}]"}
        user: Obj = {"username": known.user, "uid": known.uid, "groups": [*known.groups]}
        user |= {"extra": dict(known.extra)}
        return {
            "authenticated": True,
            "user": {key: value for key, value in user.items() if value},
            "audiences": shared,
        }

    def _access(self, spec: Obj) -> Obj:
        kind, group = "SubjectAccessReview", "authorization.k8s.io"
        wanted = _attributes(spec, kind, group)
        user, groups = spec.get("user") or "", spec.get("groups") or []
        if not isinstance(user, str) or not _is_strings(groups):
            raise bad_request("json: cannot unmarshal into Go struct field SubjectAccessReviewSpec")
        if not user and not groups:
            text = 'Invalid value: "": at least one of user or group must be specified'
            raise invalid(kind, group, "", [cause("FieldValueInvalid", "spec.user", text)])
        return {"allowed": self.allows(user, tuple(groups), wanted)}


def is_review(path: str) -> bool:
    """Say whether reviews are posted to this path."""
    return path in _KINDS


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _attributes(spec: Obj, kind: str, group: str) -> Attributes:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (other is None):
        text = (
            "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be "
            "specified"
        )
        causes = [cause("FieldValueInvalid", "spec.resourceAttributes", text)]
        raise invalid(kind, group, "", causes)
    wanted = other if resource is None else resource
    fields = ("verb", "path") if resource is None else Attributes._fields[:6]
    if not isinstance(wanted, dict) or not all(
        isinstance(wanted.get(field) or "", str) for field in fields
    ):
        raise bad_request("json: cannot unmarshal into Go struct field spec.resourceAttributes")
    return Attributes(**{"verb": ""} | {field: wanted.get(field) or "" for field in fields})
