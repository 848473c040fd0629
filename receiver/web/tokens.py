"""Secrets that callers show: read from files, and compared by digest alone.

Rotation: several tokens are valid at a time, and each file is read again once it has changed.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

# Equal to no digest, and as long as one: the comparison takes as long as any other.
NOTHING = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token in a file. `namespaces`: what it is limited to; empty: no limit."""

    name: str
    file: str
    namespaces: tuple[str, ...] = ()


class Digests:
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
            return NOTHING
        found = digest(secret) if secret else NOTHING
        self._seen[file] = (stamp, found)
        return found

    def unusable(self, files: Iterable[str]) -> tuple[str, ...]:
        """Return the files that hold no secret right now."""
        return tuple(file for file in files if self.of(file) == NOTHING)


def digest(secret: bytes) -> bytes:
    """Return the SHA-256 of a secret: what is kept and compared in its place."""
    return sha256(secret).digest()


def bearer(header: str) -> bytes | None:
    """Return the token of an `Authorization` header; None: it has none."""
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    # aiohttp hands bytes that are no UTF-8 over as surrogates.
    return token.encode("utf-8", "surrogateescape")


def holder(given: bytes, tokens: Sequence[Token], digests: Digests) -> Token | None:
    """Return whose token has this digest.

    All are compared: the time tells nothing about which one fits.
    """
    found: Token | None = None
    for token in tokens:
        if hmac.compare_digest(given, digests.of(token.file)):
            found = token
    return found
