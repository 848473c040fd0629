"""The way out: our own CA, a proxy, and addresses that are not for us."""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from receiver.controller.ports import Delivery, Failure, Receipt
from receiver.notify import Network, SlackWebhook
from tests.messages.stories import story
from tests.notify.sites import CANARY, HOST, Site, alone, listening, secret
from tests.virtual import virtual

HERE = Path(__file__).parent
CA = str(HERE / "ca.pem")


@contextlib.asynccontextmanager
async def over_tls() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a Slack that speaks TLS, with a certificate of our test CA; yield port and requests."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(HERE / "trusted.pem")
    async with listening(answer, context) as port:
        yield port, asked


@dataclass(slots=True)
class Proxy:
    """An HTTP proxy that connects whatever it is asked for with `port`, unless it says no."""

    port: int = 0
    says: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    url: str = ""
    asked: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Proxy"]:
        async with listening(self._connect) as port:
            self.url = f"http://{HOST}:{port}"
            yield self

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0].decode())
        writer.write(self.says)
        await writer.drain()
        if b" 200 " in self.says:
            to, back = await asyncio.open_connection(HOST, self.port)
            try:
                await asyncio.gather(_copy(reader, back), _copy(to, writer))
            finally:
                back.close()
                with contextlib.suppress(OSError):
                    await back.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def told(folder: Path, url: str, network: Network) -> Receipt:
    where = secret(folder, f"{url}/services/{CANARY}")
    async with alone(lambda t: SlackWebhook(url=where, transport=t), network) as it:
        return await it.deliver("it", story())


@virtual
async def test_a_ca_of_our_own_is_trusted_beside_the_usual_ones(tmp_path: Path) -> None:
    async with over_tls() as (port, asked):
        url = f"https://{HOST}:{port}"
        stranger = await told(tmp_path, url, Network())
        assert (stranger.delivery, stranger.failure) == (Delivery.NOT_SENT, Failure.TLS)
        assert asked == []
        assert (await told(tmp_path, url, Network(ca_file=CA))).delivery is Delivery.DELIVERED
    usual = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert Network(ca_file=CA).tls().cert_store_stats()["x509_ca"] == usual + 1


@virtual
async def test_a_ca_file_that_went_away_is_told_and_nothing_is_sent(tmp_path: Path) -> None:
    async with over_tls() as (port, asked):
        receipt = await told(tmp_path, f"https://{HOST}:{port}", Network(ca_file="/nope"))
    assert receipt == Receipt(
        delivery=Delivery.NOT_SENT, detail="ca_file cannot be read", failure=Failure.TLS
    )
    assert asked == []


@virtual
async def test_through_a_proxy_the_name_is_the_proxys_to_resolve_and_tls_is_ours(
    tmp_path: Path,
) -> None:
    async with over_tls() as (port, asked), Proxy(port=port).serve() as proxy:
        network = Network(proxy=proxy.url, ca_file=CA)
        receipt = await told(tmp_path, "https://hooks.example.com", network)
        assert receipt.delivery is Delivery.DELIVERED
        assert proxy.asked == ["CONNECT hooks.example.com:443 HTTP/1.1"]
        assert len(asked) == 1
        # The certificate is that of the host, not of whoever the proxy connects us with.
        wrong = await told(tmp_path, "https://elsewhere.example.com", network)
        assert (wrong.delivery, wrong.failure) == (Delivery.NOT_SENT, Failure.TLS)
        assert len(asked) == 1


@virtual
async def test_this_machine_is_not_spoken_to_through_the_proxy(tmp_path: Path) -> None:
    async with Site().serve() as site, Proxy().serve() as proxy:
        receipt = await told(tmp_path, site.url, Network(proxy=proxy.url))
        assert receipt.delivery is Delivery.DELIVERED
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("says", "delivery"),
    [
        (b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n", Delivery.UNAUTHORIZED),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", Delivery.NOT_SENT),
        (b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", Delivery.NOT_SENT),
    ],
)
@virtual
async def test_what_the_proxy_refuses_was_not_sent(
    says: bytes, delivery: Delivery, tmp_path: Path
) -> None:
    async with Proxy(says=says).serve() as proxy:
        network = Network(proxy=proxy.url)
        receipt = await told(tmp_path, "https://hooks.example.com", network)
    assert (receipt.delivery, receipt.failure) == (delivery, Failure.CONNECT)
    assert CANARY not in receipt.detail


@virtual
async def test_a_proxy_that_is_not_there_was_sent_nothing(tmp_path: Path) -> None:
    async with Proxy().serve() as proxy:
        pass
    receipt = await told(tmp_path, "https://hooks.example.com", Network(proxy=proxy.url))
    assert (receipt.delivery, receipt.failure) == (Delivery.NOT_SENT, Failure.CONNECT)


@pytest.mark.parametrize(
    "host",
    [
        "10.255.255.1",
        "192.168.0.1",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "0.0.0.0",  # noqa: S104 - an address to refuse
    ],
)
@virtual
async def test_a_private_address_is_refused_before_it_is_connected_to(
    host: str, tmp_path: Path
) -> None:
    receipt = await told(tmp_path, f"https://{host}:1", Network())
    assert receipt == Receipt(
        delivery=Delivery.UNAUTHORIZED,
        detail=f"{host.strip('[]')} has a private address",
        failure=Failure.ADDRESS,
    )


@virtual
async def test_a_mapped_address_of_this_machine_is_reached_when_the_configuration_says_so(
    tmp_path: Path,
) -> None:
    async with over_tls() as (port, asked):
        allowed = (ipaddress.ip_network("127.0.0.0/8"),)
        receipt = await told(
            tmp_path, f"https://[::ffff:{HOST}]:{port}", Network(private=allowed, ca_file=CA)
        )
    # It was connected to; the certificate is for another name of it.
    assert (receipt.delivery, receipt.failure) == (Delivery.NOT_SENT, Failure.TLS)
    assert asked == []


async def test_a_name_that_nobody_knows_was_sent_nothing(tmp_path: Path) -> None:
    # In real time, for the resolver is a thread. `.invalid` is nobody's (RFC 2606).
    receipt = await told(tmp_path, "https://hooks.invalid", Network())
    assert receipt.delivery is Delivery.NOT_SENT
    # A resolver that is out of reach itself takes longer than we wait.
    assert receipt.failure in (Failure.CONNECT, Failure.TIMEOUT)
    assert CANARY not in receipt.detail
