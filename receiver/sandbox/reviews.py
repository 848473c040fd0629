"""Who is who and who may what: TokenReview, SubjectAccessReview, and the authorizer's refusals."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from receiver.sandbox.objects import Obj
from receiver.sandbox.status import bad_request


class Attributes(NamedTuple):
    """What somebody wants to do, as an authorizer is asked."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass
class Token:
    """Whose token it is, and for which audiences it was made."""

    user: str
    groups: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ("https://kubernetes.default.svc",)


@dataclass
class Reviews:
    """The tables behind the reviews. `may` judges everybody, us included; None: all is allowed."""

    tokens: dict[str, Token] = field(default_factory=dict)
    may: Callable[[str, tuple[str, ...], Attributes], bool] | None = None

    def allows(self, user: str, groups: tuple[str, ...], wanted: Attributes) -> bool:
        """Say whether this user may do that."""
        return self.may is None or self.may(user, groups, wanted)

    def token(self, review: Obj) -> Obj:
        """Answer a TokenReview: always 201, the verdict is in the status."""
        spec = _spec(review)
        known = self.tokens.get(str(spec.get("token")))
        asked = spec.get("audiences") or ["https://kubernetes.default.svc"]
        shared = [a for a in asked if known is not None and a in known.audiences]
        status: Obj = {"user": {}, "error": "[invalid bearer token]"}
        if known is not None and shared:
            user = {"username": known.user, "uid": known.user, "groups": list(known.groups)}
            status = {"authenticated": True, "user": user, "audiences": shared}
        elif known is not None:
            status["error"] = f"token audiences {list(known.audiences)} is invalid for {asked}"
        return review | {"status": status}

    def access(self, review: Obj, user: str | None) -> Obj:
        """Answer a SubjectAccessReview; `user` is who asks about himself, None for any subject."""
        spec = _spec(review)
        wanted = spec.get("resourceAttributes")
        if not isinstance(wanted, dict):
            raise bad_request("resourceAttributes is required")
        attributes = Attributes(
            verb=wanted.get("verb", ""),
            group=wanted.get("group", ""),
            resource=wanted.get("resource", ""),
            subresource=wanted.get("subresource", ""),
            namespace=wanted.get("namespace", ""),
            name=wanted.get("name", ""),
        )
        who = spec.get("user", "") if user is None else user
        groups = tuple(spec.get("groups") or ()) if user is None else ()
        return review | {"status": {"allowed": self.allows(who, groups, attributes)}}


def _spec(review: Any) -> Obj:
    spec = review.get("spec") if isinstance(review, dict) else None
    if not isinstance(spec, dict):
        raise bad_request("spec is required")
    return spec
