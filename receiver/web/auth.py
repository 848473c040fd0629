"""Who is calling, and what he may do: static tokens, and tokens that Kubernetes knows.

An absent, empty, malformed or unknown credential is the same: nobody. Static tokens come from files
and are compared by digest, all of them and in the same time.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from receiver.controller.answers import Person, Sender
from receiver.controller.ports import Act, Identity
from receiver.controller.setup import SWITCH
from receiver.errors import Rejected
from receiver.rollout import CANARY_SUFFIX
from receiver.web.identities import Identities, Known
from receiver.web.tokens import Digests, Token, bearer, digest, holder

# `get` and `patch` a Deployment; `list` what one may see; `see` one thing, of which is judged again
# whose it is; `stop` (and look at the switch) and `start` the automation of all.
# To `deploy` gives its canary any image: that takes the right to patch both, also where a rollback
# takes another verb.
Verb: TypeAlias = Literal["get", "patch", "deploy", "list", "see", "stop", "start"]

# Namespaces that are asked about at a time, for one list.
ASKED_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """A user name, and a password in a file."""

    username: str
    password_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSenders:
    """ServiceAccounts that may post, as NAMESPACE/NAME, with tokens made for this audience.

    They are named, for a token of its own for any audience is what any pod can get.
    """

    identities: Identities
    audience: str
    service_accounts: tuple[str, ...]

    async def sender(self, header: str) -> Sender | None:
        """Return who shows this header; None: nobody. `Rejected` (403): one who is not named."""
        known = await self.identities.known(header, self.audience)
        if known is None:
            return None
        names = (name.replace("/", ":") for name in self.service_accounts)
        if known.identity.username not in {f"system:serviceaccount:{name}" for name in names}:
            # Alertmanager logs this answer: whoever forgot the name reads it there.
            text = f"{known.name} is not among auth.webhook.kubernetes.service_accounts"
            raise Rejected(text, status=403, reason="forbidden")
        return Sender(name=known.name)


class Credentials:
    """Who may post alerts."""

    def __init__(
        self,
        tokens: Sequence[Token],
        basic: Basic | None,
        *,
        insecure: bool,
        kubernetes: KubernetesSenders | None = None,
    ) -> None:
        """`insecure`: where no credential at all is configured, anybody may."""
        self._tokens = tuple(tokens)
        self._basic = basic
        self._kubernetes = kubernetes
        self._open = insecure and not self._tokens and basic is None and kubernetes is None
        self._digests = Digests()

    async def sender(self, header: str) -> Sender | None:
        """Return who shows this `Authorization` header; None: nobody we know.

        Raises `Rejected`: 403 for a ServiceAccount that may not post, 503 when it cannot be asked.
        """
        if self._open:
            return Sender(name="anybody")
        if (given := bearer(header)) is not None:
            token = holder(digest(given), self._tokens, self._digests)
            if token is not None:
                return Sender(name=token.name, namespaces=token.namespaces)
            return await self._kubernetes.sender(header) if self._kubernetes is not None else None
        return self._by_password(self._basic, header) if self._basic is not None else None

    def _by_password(self, basic: Basic, header: str) -> Sender | None:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            pair = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            return None
        username, _, password = pair.partition(b":")
        right_name = hmac.compare_digest(digest(username), digest(basic.username.encode()))
        right_password = hmac.compare_digest(
            digest(password), self._digests.of(basic.password_file)
        )
        return Sender(name=basic.username) if right_name and right_password else None

    def unusable(self) -> tuple[str, ...]:
        """Return the configured files that hold no secret right now: they let nobody in."""
        files = [token.file for token in self._tokens]
        if self._basic is not None:
            files.append(self._basic.password_file)
        return self._digests.unusable(files)


class People(Protocol):
    """Who calls by hand, and what they may. What cannot be known is `Rejected` (503)."""

    async def identify(self, header: str) -> Person | None:
        """Return who shows this `Authorization` header; None: nobody we know."""
        ...

    async def may(self, person: Person, verb: Verb, namespace: str, name: str) -> bool:
        """Return whether a person may do this; namespace and name are of a Deployment, or ""."""
        ...

    async def namespaces(self, person: Person) -> tuple[str, ...]:
        """Return the namespaces whose Deployments a person may list; () is none."""
        ...

    def unusable(self) -> tuple[str, ...]:
        """Return the configured files that hold no secret right now: they let nobody in."""
        ...


class StaticPeople:
    """Tokens from files, each good for named namespaces."""

    def __init__(self, tokens: Sequence[Token], *, state_namespace: str = "") -> None:
        """`state_namespace` is where the switch is: who may act there may release it."""
        self._tokens = tuple(tokens)
        self._state_namespace = state_namespace
        self._digests = Digests()

    async def identify(self, header: str) -> Person | None:
        """Return whose token it is."""
        given = bearer(header)
        if given is None:
            return None
        token = holder(digest(given), self._tokens, self._digests)
        return Person(name=token.name, namespaces=token.namespaces) if token else None

    async def may(self, person: Person, verb: Verb, namespace: str, name: str) -> bool:
        """Allow all in the token's own namespaces. A token without any is good for nothing.

        Whoever we know may stop the automation, which only ever holds back; to start it again
        everywhere needs the namespace of the switch.
        """
        del name
        match verb:
            case "list" | "see" | "stop":
                return bool(person.namespaces)
            case "start":
                return self._state_namespace in person.namespaces
            case "get" | "patch" | "deploy":
                return namespace in person.namespaces

    async def namespaces(self, person: Person) -> tuple[str, ...]:
        """Return those of the token."""
        return person.namespaces

    def unusable(self) -> tuple[str, ...]:
        """Return the configured files that hold no token right now."""
        return self._digests.unusable(token.file for token in self._tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who may approve: users and groups by the names that the Kubernetes API gives them."""

    name: str
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def of(self, identity: Identity) -> bool:
        """Return whether somebody has this role; names must be the very same."""
        return identity.username in self.users or not self.groups.isdisjoint(identity.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesPerson(Person):
    """A person whose token the Kubernetes API knows."""

    known: Known = field(repr=False)


class KubernetesPeople:
    """Tokens of Kubernetes, made for our audience, beside other people's.

    Who may patch a Deployment may roll it back, and who may patch the switch may stop and start the
    automation of all: there is no user database.
    """

    def __init__(
        self,
        identities: Identities,
        beside: People,
        *,
        audience: str,
        verb: str,
        namespaces: Sequence[str],
        state_namespace: str,
        roles: Sequence[Role] = (),
    ) -> None:
        """`verb`: what one must be allowed to do with a Deployment to roll it back.

        `beside` is asked first, and its people remain its own: they have no `roles`. `namespaces`:
        those with targets.
        """
        self._identities = identities
        self._beside = beside
        self._audience = audience
        self._verb = verb
        self._namespaces = tuple(namespaces)
        self._roles = tuple(roles)
        self._switch = Act(
            verb="patch", resource="configmaps", namespace=state_namespace, name=SWITCH
        )

    async def identify(self, header: str) -> Person | None:
        """Return who shows this `Authorization` header; None: nobody we know."""
        person = await self._beside.identify(header)
        if person is not None:
            return person
        known = await self._identities.known(header, self._audience)
        if known is None:
            return None
        roles = tuple(role.name for role in self._roles if role.of(known.identity))
        return KubernetesPerson(name=known.name, roles=roles, known=known)

    async def may(self, person: Person, verb: Verb, namespace: str, name: str) -> bool:
        """Return what the API server says of it. To `see` needs no right before it is looked up."""
        if not isinstance(person, KubernetesPerson):
            return await self._beside.may(person, verb, namespace, name)
        match verb:
            case "list":
                return bool(await self.namespaces(person))
            case "see":
                return True
            case "stop" | "start":
                return await self._identities.permits(person.known, self._switch)
            case "get" | "patch":
                act = _deployments("get" if verb == "get" else self._verb, namespace, name)
                return await self._identities.permits(person.known, act)
            case "deploy":
                for each in (name, name + CANARY_SUFFIX):
                    act = _deployments("patch", namespace, each)
                    if not await self._identities.permits(person.known, act):
                        return False
                return True

    async def namespaces(self, person: Person) -> tuple[str, ...]:
        """Return where the API server lets a person list Deployments."""
        if not isinstance(person, KubernetesPerson):
            return await self._beside.namespaces(person)
        gate = asyncio.Semaphore(ASKED_AT_ONCE)
        known = person.known

        async def allowed(namespace: str) -> bool:
            async with gate:
                return await self._identities.permits(known, _deployments("list", namespace))

        answers = await asyncio.gather(*map(allowed, self._namespaces))
        return tuple(each for each, yes in zip(self._namespaces, answers, strict=True) if yes)

    def unusable(self) -> tuple[str, ...]:
        """Return the configured files that hold no token right now."""
        return self._beside.unusable()


def _deployments(verb: str, namespace: str, name: str = "") -> Act:
    return Act(verb=verb, group="apps", resource="deployments", namespace=namespace, name=name)
