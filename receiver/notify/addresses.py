"""Where a message may go: over TLS, and to no private address that the configuration does not name.

What is judged is the address that is connected to, when it is connected to: a name can mean another
address a moment later, and a literal such as `[::ffff:10.0.0.1]` never meets a resolver.
"""

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Seconds that the kernel tries to get bytes over which nobody has confirmed. By itself it tries for
# minutes, also when we have hung up: a page would arrive after a network failure that was longer
# than our patience, and could open again what was resolved meanwhile, where nobody closes it.
UNCONFIRMED = 5.0

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


class ForbiddenError(OSError):
    """Nothing is sent to this address."""


def is_loopback(host: str) -> bool:
    """Return whether a host of a URL is written as this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def acceptable(url: str) -> bool:
    """Return whether secrets may be sent there: https, or http on this machine (tests, demo)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "http":
            return parts.scheme == "https" and bool(host) and parts.port != 0
        return is_loopback(host)
    except ValueError:
        return False


def is_private(address: Address, allowed: tuple[Network, ...] = ()) -> bool:
    """Return whether an address is of no public machine, and not within `allowed`.

    One that carries an IPv4 address in it (mapped, 6to4, NAT64) is as private as that one.
    """
    meanings = tuple(_meanings(address))
    if any(meant in network for meant in meanings for network in allowed):
        return False
    return any(not meant.is_global or meant.is_multicast for meant in meanings)


def _meanings(address: Address) -> Iterator[Address]:
    yield_itself = True
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield_itself = False  # it is that address, in another notation
            yield address.ipv4_mapped
        if address.sixtofour is not None:
            yield address.sixtofour
        if address in _NAT64:
            yield_itself = False  # what NAT64 is for: a public IPv4 address
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if yield_itself:
        yield address


def anywhere(info: Any) -> socket.socket:
    """Make a socket, as aiohttp's `socket_factory`, for any address.

    What is sent by it arrives within `UNCONFIRMED` seconds of being sent, or never (`tcp(7)`,
    `TCP_USER_TIMEOUT`; on Linux): later than that nobody but a proxy can still deliver it.
    """
    family, kind, protocol = info[:3]
    made = socket.socket(family=family, type=kind, proto=protocol)
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNCONFIRMED * 1000))
    return made


def only_loopback(info: Any) -> socket.socket:
    """Make a socket, as aiohttp's `socket_factory`, for what is written as this machine.

    Raises `ForbiddenError` when the name `localhost` means another one.
    """
    if not _address(info).is_loopback:
        raise ForbiddenError("not this machine")
    return anywhere(info)


def guarded(allowed: tuple[Network, ...]) -> Callable[[Any], socket.socket]:
    """Return a maker of sockets for all but private addresses, unless they are in `allowed`.

    For the others it raises `ForbiddenError`.
    """

    def make(info: Any) -> socket.socket:
        if is_private(_address(info), allowed):
            raise ForbiddenError("a private address")
        return anywhere(info)

    return make


def _address(info: Any) -> Address:
    host = str(info[4][0])
    return ipaddress.ip_address(host.partition("%")[0])
