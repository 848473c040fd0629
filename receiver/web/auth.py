"""Who is calling: tokens from files, compared by digest, all of them and in the same time."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from receiver.controller.answers import Person, Sender


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
        """Return the SHA-256 of a secret, b"" when there is none: that equals no digest."""
        try:
            status = Path(file).stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._seen.get(file)
            if known is not None and known[0] == stamp:
                return known[1]
            secret = Path(file).read_bytes().strip()
        except OSError:
            self._seen.pop(file, None)
            return b""
        digest = sha256(secret).digest() if secret else b""
        self._seen[file] = (stamp, digest)
        return digest


class Credentials:
    """Who may post alerts."""

    def __init__(self, tokens: Sequence[Token], basic: Basic | None, *, insecure: bool) -> None:
        self._tokens = tuple(tokens)
        self._basic = basic
        self._insecure = insecure
        self._digests = _Digests()

    def sender(self, header: str) -> Sender | None:
        """Return who shows this `Authorization` header; None: nobody we know."""
        scheme, _, rest = header.partition(" ")
        found: Sender | None = None
        if scheme.lower() == "bearer":
            given = sha256(rest.strip().encode("utf-8", "surrogateescape")).digest()
            for token in self._tokens:
                if hmac.compare_digest(given, self._digests.of(token.file)):
                    found = Sender(name=token.name, namespaces=token.namespaces)
        elif scheme.lower() == "basic" and self._basic is not None:
            found = self._by_password(self._basic, rest)
        if found is None and self._insecure and not self._tokens and self._basic is None:
            return Sender(name="anybody")
        return found

    def _by_password(self, basic: Basic, text: str) -> Sender | None:
        try:
            pair = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            return None
        username, _, password = pair.partition(b":")
        right_name = hmac.compare_digest(
            sha256(username).digest(), sha256(basic.username.encode()).digest()
        )
        right = hmac.compare_digest(
            sha256(password).digest(), self._digests.of(basic.password_file)
        )
        return Sender(name=basic.username) if right_name and right else None


class People(Protocol):
    """Who calls by hand, and what they may: the port that Kubernetes tokens join."""

    async def identify(self, header: str) -> Person | None:
        """Return who shows this `Authorization` header; None: nobody we know."""
        ...

    async def may(self, person: Person, verb: str, namespace: str, name: str) -> bool:
        """Return whether a person may `get` or `patch` a Deployment ("" for the switch)."""
        ...


class StaticPeople:
    """Tokens from files, each good for named namespaces."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tuple(tokens)
        self._digests = _Digests()

    async def identify(self, header: str) -> Person | None:
        """Return whose token it is."""
        scheme, _, rest = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        given = sha256(rest.strip().encode("utf-8", "surrogateescape")).digest()
        found: Person | None = None
        for token in self._tokens:
            if hmac.compare_digest(given, self._digests.of(token.file)):
                found = Person(name=token.name, namespaces=token.namespaces)
        return found

    async def may(self, person: Person, verb: str, namespace: str, name: str) -> bool:
        """Allow everything in the token's namespaces, and to everybody the switch."""
        del verb, name
        return not namespace or namespace in person.namespaces
