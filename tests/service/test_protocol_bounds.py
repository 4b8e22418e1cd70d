"""What one connection may make its server keep, and what HTTP/1.0 and pipelining ask of it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.web.bounds import Bounds
from shared.web.protocol import BoundedProtocol, bounded_protocol
from tests.support.gateway_app import served
from tests.support.waiting import soon

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


class Server:
    def __init__(self) -> None:
        self.made: list[BoundedProtocol] = []
        self.go_on = asyncio.Event()
        self.asked = 0
        self.asked_for: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        self.asked_for.append((scope["path"], scope["query_string"]))
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/wait":
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"one", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def server(message_s: float = 10) -> AsyncIterator[tuple[Server, int]]:
    app = Server()

    class Protocol(BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            app.made.append(self)

    async with served(app, bounded_protocol(Bounds(message_s=message_s), base=Protocol)) as url:
        yield app, int(url.rpartition(":")[2])


async def rest(reader: asyncio.StreamReader, wait_s: float = 20) -> bytes:
    """All until the end of the connection."""
    got = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(wait_s):
            while chunk := await reader.read(65536):
                got += chunk
    return got


async def test_a_connection_that_is_reset_leaves_no_timer_that_keeps_it() -> None:
    async with server() as (app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"")
        await reader.readuntil(b"0\r\n\r\n")
        (connection,) = app.made
        assert connection.timeout_keep_alive_task is not None
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.close()
        await soon(lambda: not connection.open_connections)
        assert connection.timeout_keep_alive_task is None


async def test_requests_that_wait_for_others_are_few_and_all_are_answered() -> None:
    ahead = Bounds().ahead
    async with server() as (app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"wait" + (GET % b"") * 1000)
        await soon(lambda: app.made and app.made[0].pipeline)
        assert len(app.made[0].pipeline) <= ahead
        app.go_on.set()
        got = await rest(reader)
        assert got.count(b"HTTP/1.1 200") == app.asked == ahead + 1
        assert got.count(b"connection: close") == 1  # the last one says it
        writer.close()


async def test_a_head_is_not_as_long_as_what_came_before_it() -> None:
    async with server() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        size = Bounds().head + 1000
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
        writer.write(head + b"x" * size + (GET % b"")[:10])
        await reader.readuntil(b"0\r\n\r\n")
        writer.write((GET % b"")[10:])
        got = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
        assert got.startswith(b"HTTP/1.1 200")
        writer.close()


async def test_http_1_0_gets_neither_chunks_nor_100() -> None:
    async with server() as (_, port):
        for more in (b"", b"Expect: 100-continue\r\nContent-Length: 2\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.0\r\n" + more + b"\r\n" + b"{}" * bool(more))
            head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"transfer-encoding" not in head
            assert b"connection: close" in head
            assert body == b"onetwo"
            writer.close()


@pytest.mark.parametrize(
    "broken",
    [
        b"GET / HTTP/1.1\r\nHost: ",  # half a head, until its deadline
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5g\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n5g\r\n",
    ],
)
async def test_what_is_broken_takes_no_earlier_request_with_it(broken: bytes) -> None:
    """RFC 9112, section 9.3.2: replies in the order of the requests; then the connection ends."""
    async with server(message_s=0.3) as (app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"wait" + (GET % b"") * 3)
        await soon(lambda: app.asked == 1)
        writer.write(broken)
        await soon(lambda: app.made[0]._full)
        app.go_on.set()
        got = await rest(reader)
        assert got.count(b"HTTP/1.1 200") == app.asked == 4
        assert got.count(b"HTTP/1.1 ") == 4
        assert got.endswith(b"0\r\n\r\n")
        writer.close()


async def test_an_absolute_target_without_a_path_is_the_root() -> None:
    """RFC 9112, section 3.2.2, and RFC 9110, section 4.2.3."""
    async with server() as (app, port):
        for target in (b"http://x", b"http://x?a=1", b"HTTPS://x:1"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
            assert (await rest(reader)).startswith(b"HTTP/1.1 200")
            query = target.partition(b"?")[2]
            assert app.asked_for[-1] == ("/", query)
            writer.close()
