"""Tokens that the API server would not issue: signed with its own key."""

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

# DER of DigestInfo for SHA-256, RFC 8017 section 9.2, note 1.
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


def expired(token: str, key: Path) -> str:
    """Return the same ServiceAccount token, as if it had been issued two hours ago for one."""
    header, body, _ = token.split(".")
    claims: dict[str, Any] = json.loads(_decoded(body))
    now = int(time.time())
    claims |= {"iat": now - 7200, "nbf": now - 7200, "exp": now - 3600}
    signed = f"{header}.{_encoded(json.dumps(claims).encode())}"
    return f"{signed}.{_encoded(_signature(signed.encode(), key))}"


def _signature(text: bytes, key: Path) -> bytes:
    """Sign as RS256 does: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2)."""
    modulus, _, exponent, *_ = _integers(key)
    size = (modulus.bit_length() + 7) // 8
    tail = b"\x00" + _SHA256 + hashlib.sha256(text).digest()
    block = b"\x00\x01" + b"\xff" * (size - 2 - len(tail)) + tail
    return pow(int.from_bytes(block), exponent, modulus).to_bytes(size)


def _integers(key: Path) -> list[int]:
    """Return n, e, d and the rest of an RSA private key in PKCS#1 (RFC 8017, appendix A.1.2)."""
    lines = key.read_text().splitlines()
    assert lines[0] == "-----BEGIN RSA PRIVATE KEY-----"
    der = base64.b64decode("".join(lines[1:-1]))
    _, at = _length(der, 1)  # the SEQUENCE
    found = []
    while at < len(der):
        size, at = _length(der, at + 1)
        found.append(int.from_bytes(der[at : at + size]))
        at += size
    return found[1:]  # the first is the version


def _length(der: bytes, at: int) -> tuple[int, int]:
    """Return the length that stands at `at`, and where the content begins (X.690, 8.1.3)."""
    first = der[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    return int.from_bytes(der[at + 1 : at + 1 + count]), at + 1 + count


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
