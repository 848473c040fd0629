"""Who is calling: tokens from files, compared by digest, all of them and in the same time.

An absent, empty, malformed or unknown credential is the same: nobody. Rotation: several tokens are
valid at a time, and each file is read again once it has changed.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from receiver.controller.answers import Person, Sender

# `get` and `patch` a Deployment; `list` what one may see; `stop` and `start` the automation of all.
Verb: TypeAlias = Literal["get", "patch", "list", "stop", "start"]

# Equal to no digest, and as long as one: the comparison takes as long as any other.
_NOTHING = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token in a file. `namespaces`: what it is limited to; empty: no limit."""

    name: str
    file: str
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """A user name, and a password in a file."""

    username: str
    password_file: str


class _Digests:
    """The digests of secrets in files; a file is read again when it has changed."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, int, int], bytes]] = {}

    def of(self, file: str) -> bytes:
        """Return the SHA-256 of a secret; of none, something that equals no digest."""
        try:
            # stat follows links: kubelet swaps a link to replace a mounted secret.
            status = Path(file).stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._seen.get(file)
            if known is not None and known[0] == stamp:
                return known[1]
            secret = Path(file).read_bytes().strip()
        except OSError:
            self._seen.pop(file, None)
            return _NOTHING
        digest = _digest(secret) if secret else _NOTHING
        self._seen[file] = (stamp, digest)
        return digest

    def unusable(self, files: Iterable[str]) -> tuple[str, ...]:
        """Return the files that hold no secret right now."""
        return tuple(file for file in files if self.of(file) == _NOTHING)


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()


def _bearer(header: str) -> bytes | None:
    """Return the digest of the token of an `Authorization` header; None: it has none."""
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    # aiohttp hands bytes that are no UTF-8 over as surrogates.
    return _digest(token.encode("utf-8", "surrogateescape"))


def _holder(given: bytes, tokens: Sequence[Token], digests: _Digests) -> Token | None:
    """Return whose token it is. All are compared: the time tells nothing about which one fits."""
    found: Token | None = None
    for token in tokens:
        if hmac.compare_digest(given, digests.of(token.file)):
            found = token
    return found


class Credentials:
    """Who may post alerts."""

    def __init__(self, tokens: Sequence[Token], basic: Basic | None, *, insecure: bool) -> None:
        """`insecure`: where neither a token nor a password is configured, anybody may."""
        self._tokens = tuple(tokens)
        self._basic = basic
        self._open = insecure and not self._tokens and basic is None
        self._digests = _Digests()

    def sender(self, header: str) -> Sender | None:
        """Return who shows this `Authorization` header; None: nobody we know."""
        if self._open:
            return Sender(name="anybody")
        if (given := _bearer(header)) is not None:
            token = _holder(given, self._tokens, self._digests)
            return Sender(name=token.name, namespaces=token.namespaces) if token else None
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
        right_name = hmac.compare_digest(_digest(username), _digest(basic.username.encode()))
        right_password = hmac.compare_digest(
            _digest(password), self._digests.of(basic.password_file)
        )
        return Sender(name=basic.username) if right_name and right_password else None

    def unusable(self) -> tuple[str, ...]:
        """Return the configured files that hold no secret right now: they let nobody in."""
        files = [token.file for token in self._tokens]
        if self._basic is not None:
            files.append(self._basic.password_file)
        return self._digests.unusable(files)


class People(Protocol):
    """Who calls by hand, and what they may: the port that Kubernetes tokens join."""

    async def identify(self, header: str) -> Person | None:
        """Return who shows this `Authorization` header; None: nobody we know."""
        ...

    async def may(self, person: Person, verb: Verb, namespace: str, name: str) -> bool:
        """Return whether a person may do this; namespace and name are of a Deployment, or ""."""
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
        self._digests = _Digests()

    async def identify(self, header: str) -> Person | None:
        """Return whose token it is."""
        given = _bearer(header)
        if given is None:
            return None
        token = _holder(given, self._tokens, self._digests)
        return Person(name=token.name, namespaces=token.namespaces) if token else None

    async def may(self, person: Person, verb: Verb, namespace: str, name: str) -> bool:
        """Allow all in the token's own namespaces. A token without any is good for nothing.

        Whoever we know may stop the automation, which only ever holds back; to start it again
        everywhere needs the namespace of the switch.
        """
        del name
        match verb:
            case "list" | "stop":
                return bool(person.namespaces)
            case "start":
                return self._state_namespace in person.namespaces
            case "get" | "patch":
                return namespace in person.namespaces

    def unusable(self) -> tuple[str, ...]:
        """Return the configured files that hold no token right now."""
        return self._digests.unusable(token.file for token in self._tokens)
