"""How many connections a server has open, in all and of one client, and who goes first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest

from plainview.client_address import parse_networks
from shared.web.bounds import Bounds
from shared.web.protocol import BoundedProtocol, bounded_protocol
from tests.support.gateway_app import served
from tests.support.waiting import soon

LONG = 16 * 1024 * 1024  # more than the kernel keeps for a client that does not read
GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


async def _whole(receive: Any) -> bool:
    while (message := await receive()).get("more_body"):
        pass
    return bool(message["type"] == "http.request")


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: bytes = b"") -> None:
        self.writer.write(GET % path)
        assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    async def is_closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def server(
    trusted: str = "", **bounds: Any
) -> AsyncIterator[tuple[Any, type[BoundedProtocol]]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow" and not await _whole(receive):
            return
        length = b"%d" % (LONG if scope["path"] == "/long" else 0)
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/busy":
            await asyncio.sleep(60)
        if scope["path"] == "/long":
            await send({"type": "http.response.body", "body": b"x" * LONG})
        else:
            await send({"type": "http.response.body", "body": b""})

    bounded = bounded_protocol(Bounds(**bounds), parse_networks(trusted))
    async with served(app, bounded) as url:

        async def connect(address: str = "127.0.0.1") -> Client:
            port = int(url.rpartition(":")[2])
            own = (address, 0)
            return Client(*await asyncio.open_connection("127.0.0.1", port, local_addr=own))

        yield connect, bounded


async def test_at_the_bound_the_longest_idle_one_goes() -> None:
    async with server(connections=3) as (connect, bounded):
        clients = [await connect(f"127.0.0.{n}") for n in (2, 3, 4)]
        for number in (1, 2, 0):  # the second one is idle for the longest time
            await clients[number].ask()
            await asyncio.sleep(0.01)
        new = await connect("127.0.0.5")
        await new.ask()
        assert await clients[1].is_closed()
        await clients[0].ask()
        await clients[2].ask()
        assert len(bounded.open_connections) == 3


async def test_whoever_waits_for_a_reply_stays() -> None:
    async with server(connections=2) as (connect, _):
        busy, idle = await connect(), await connect()
        await busy.ask(b"busy")
        await idle.ask()
        new = await connect()
        await new.ask(b"busy")
        assert await idle.is_closed()
        assert await (await connect()).is_closed()  # all are at work: the new one is refused
        busy.writer.close()
        await asyncio.sleep(0.05)
        await (await connect()).ask()


async def test_a_client_whose_connections_are_all_at_work_gets_a_few_more() -> None:
    async with server(connections=10, connections_per_client=2) as (connect, bounded):
        busy = []  # kept, as a stream that is not referenced closes its connection
        for _ in range(3):
            busy.append(await connect())
            await busy[-1].ask(b"busy")
        more = await connect()
        more.writer.write(GET % b"")
        assert b"\r\nconnection: close\r\n" in await more.reader.readuntil(b"\r\n\r\n")
        assert await more.is_closed()
        busy.append(await connect())
        await busy[-1].ask(b"busy")
        assert await (await connect()).is_closed()  # it has twice as many as its share
        other = await connect("127.0.0.2")
        await other.ask()
        assert len(bounded.open_connections) == 5


async def test_one_that_was_idle_for_a_moment_stays_if_its_client_has_a_few_more() -> None:
    async with server(connections=10, connections_per_client=2, settled_s=60) as (connect, _):
        clients = []
        for _ in range(4):
            clients.append(await connect())
            await clients[-1].ask()
        assert await clients[2].is_closed()  # by its reply, as the third of two
        await clients[0].ask()
        await clients[1].ask()


async def test_slow_bodies_keep_nobody_out() -> None:
    async with server(connections=3) as (connect, _):
        busy = await connect("127.0.0.2")
        await busy.ask(b"busy")
        slow = [await connect(f"127.0.0.{n}") for n in (3, 4, 5)]
        for client in slow:
            client.writer.write(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await (await connect("127.0.0.6")).ask()
        await (await connect("127.0.0.7")).ask()
        assert [await client.is_closed() for client in slow[:2]] == [True, True]
        busy.writer.write(GET % b"")  # is still there
        assert not busy.reader.at_eof()


async def test_an_idle_one_whose_next_request_is_here_stays() -> None:
    """Its bytes are in the socket, and the server has not had the time to read them."""
    async with server(connections=2) as (connect, bounded):
        first, second = await connect(), await connect()
        await first.ask()
        await asyncio.sleep(0.01)
        await second.ask()
        first.writer.write(GET % b"")  # is sent now; the server reads it after this yields
        new = Mock(address="127.0.0.9", loop=asyncio.get_running_loop())
        assert bounded.open_connections.add(new)
        assert (await first.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await second.is_closed()
        bounded.open_connections.discard(new)


async def test_the_slowest_reader_goes_which_is_none_that_was_idle_for_long() -> None:
    async with server(connections=3) as (connect, _):
        quick = await connect()
        await asyncio.sleep(0.5)
        busy, slow = await connect(), await connect()
        await busy.ask(b"busy")
        for client in (slow, quick):
            await client.ask(b"long")
        await quick.reader.readexactly(LONG // 4)
        await asyncio.sleep(0.1)
        new = await connect()
        await new.ask(b"busy")
        await quick.reader.readexactly(LONG // 4)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await slow.reader.readexactly(LONG)


async def test_a_body_that_arrives_stays_while_its_client_may_have_a_few_more() -> None:
    async with server(connections=10, connections_per_client=2, settled_s=0) as (connect, _):
        uploads = [await connect() for _ in range(2)]
        for client in uploads:
            client.writer.write(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        await asyncio.sleep(0.05)
        more = await connect()
        await more.ask(b"busy")
        for client in uploads:
            client.writer.write(b"}")
            assert b" 200 " in await client.reader.readuntil(b"\r\n\r\n")


async def test_one_client_takes_its_own_and_not_those_of_others() -> None:
    async with server(connections=10, connections_per_client=2, settled_s=0) as (connect, bounded):
        other = await connect("127.0.0.9")
        await other.ask()
        mine = [await connect("127.0.0.2") for _ in range(5)]
        await mine[4].ask()
        assert [await client.is_closed() for client in mine[:3]] == [True] * 3
        await other.ask()
        await soon(lambda: len(bounded.open_connections) == 3)


@pytest.mark.parametrize("trusted", ["127.0.0.0/8", "127.0.0.2"])
async def test_a_trusted_proxy_speaks_for_many(trusted: str) -> None:
    async with server(trusted, connections=10, connections_per_client=2) as (connect, _):
        clients = [await connect("127.0.0.2") for _ in range(6)]
        for client in clients:
            await client.ask()
