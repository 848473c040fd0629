"""Where messages may go: judged by the address that is connected to."""

import ipaddress
import socket
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from receiver.notify import Network
from receiver.notify.addresses import (
    UNCONFIRMED,
    ForbiddenError,
    acceptable,
    anywhere,
    guarded,
    is_private,
    only_loopback,
)
from receiver.notify.transport import CONNECT, TOTAL

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
PRIVATE = [
    "10.0.0.1",
    "172.16.5.5",
    "192.168.1.1",
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "2002:a00:1::",  # 6to4 of 10.0.0.1
    "64:ff9b::a00:1",  # NAT64 of 10.0.0.1
    "64:ff9b::7f00:1",
]
PUBLIC = [
    "1.1.1.1",
    "3.5.140.2",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",  # NAT64 of 1.1.1.1: how a cluster with IPv6 alone gets out
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_in_whatever_notation(address: str) -> None:
    assert is_private(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_fine(address: str) -> None:
    assert not is_private(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("network", "address", "private"),
    [
        ("10.1.0.0/16", "10.1.2.3", False),
        ("10.1.0.0/16", "10.2.2.3", True),
        ("10.1.0.0/16", "::ffff:10.1.2.3", False),
        ("10.1.0.0/16", "64:ff9b::a01:203", False),
        ("fd00::/8", "fd12::1", False),
        ("fd00::/8", "fe80::1", True),
        ("fd00::/8", "10.1.2.3", True),
    ],
)
def test_what_the_configuration_names_is_fine_too(
    network: str, address: str, *, private: bool
) -> None:
    allowed = (ipaddress.ip_network(network),)
    assert is_private(ipaddress.ip_address(address), allowed) is private


def info(address: str) -> Any:
    """Return what aiohttp gives to a maker of sockets."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    where = (address, 443, 0, 0) if ":" in address else (address, 443)
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)


def test_a_socket_is_made_for_what_may_be_spoken_to_and_for_nothing_else() -> None:
    make = guarded(())
    with make(info("1.1.1.1")) as made:
        assert made.family is socket.AF_INET
    for address in ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"):
        with pytest.raises(ForbiddenError):
            make(info(address))
    with only_loopback(info("127.0.0.1")) as made:
        assert made.family is socket.AF_INET
    for address in ("10.0.0.1", "1.1.1.1"):
        with pytest.raises(ForbiddenError):
            only_loopback(info(address))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the option")
@pytest.mark.parametrize("make", [anywhere, only_loopback, guarded((LOOPBACK,))])
def test_what_nobody_confirms_is_not_sent_again_after_we_gave_it_up(
    make: Callable[[Any], socket.socket],
) -> None:
    with make(info("127.0.0.1")) as made:
        milliseconds = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert milliseconds / 1000 == UNCONFIRMED
    assert 0 < CONNECT + UNCONFIRMED <= TOTAL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the option")
@pytest.mark.parametrize("network", [Network(), Network(proxy="http://proxy:3128")])
@pytest.mark.parametrize("local", [True, False])
def test_every_way_out_makes_such_sockets(network: Network, *, local: bool) -> None:
    with network.guard(local=local)(info("127.0.0.1" if local else "1.1.1.1")) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 0


def test_aiohttp_still_asks_for_each_socket() -> None:
    assert "socket_factory" in aiohttp.TCPConnector.__init__.__annotations__


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://events.eu.pagerduty.com", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://events.pagerduty.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("https://x:99999", False),
        ("events.pagerduty.com", False),
        ("", False),
    ],
)
def test_a_secret_goes_over_tls_or_stays_on_this_machine(url: str, *, fine: bool) -> None:
    assert acceptable(url) is fine
