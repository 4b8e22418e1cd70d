"""What is held of replies and of places, whatever readers and upstreams do."""

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.client import Places, UpstreamClient, UpstreamUnavailable
from shared.tokens import Role
from shared.web.bounds import Bounds
from shared.web.protocol import bounded_protocol
from shared.web.transport import UpstreamTransport
from shared.web.upstream_connection import SLOW_S, UpstreamConnection
from shared.web.upstream_reply import AHEAD, Reply
from tests.support.gateway_app import gateway, listening, served
from tests.support.gateway_app import upstream as upstream_app
from tests.support.waiting import soon

MIB = 1024 * 1024
LARGE = 100 * MIB


def client(url: str, **more: Any) -> UpstreamClient:
    return UpstreamClient("event", url, UpstreamTransport(url), places=Places(9, 9), **more)


def resident() -> int:
    """Bytes of memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_reply_is_passed_on_in_parts(issuer, announced):
    """Upstream, gateway and client are all in this process, so the bound is for the three."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(LARGE).encode())] if announced else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(LARGE // MIB):
            await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with upstream_app(app=app) as up, gateway(event_url=up.url, auth_url=issuer.url) as gw:
        headers = issuer.headers("ann", Role.USER)
        got, most, before = 0, 0, resident()
        async with gw.client.stream("GET", "/api/v1/events", headers=headers) as reply:
            async for chunk in reply.aiter_raw():
                got += len(chunk)
                most = max(most, resident())
    assert got == LARGE
    assert most - before <= 16 * MIB, f"{(most - before) / MIB:.1f} MiB more"


async def test_a_slow_reader_makes_nobody_read_ahead_more_and_more():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(32):
            body = b"x" * MIB
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    got, most = 0, 0
    async with served(app) as url:
        exchange = client(url).exchange("GET", b"/", [], b"", client="ann")
        async with exchange as response:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                got += len(chunk)
                most = max(most, Reply.waiting)
                await asyncio.sleep(0.001)  # the upstream is quicker than the reader
    assert got == 32 * MIB
    assert most < 2 * AHEAD
    assert Reply.waiting == 0


async def test_an_upstream_that_gives_up_on_a_slow_reader_is_not_to_blame():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 32 * MIB})

    cutting = bounded_protocol(Bounds(taking_s=0.3))
    async with served(app, cutting) as url:
        upstream = client(url)

        async def read_late() -> None:
            async with upstream.exchange("GET", b"/", [], b"", client="ann") as response:
                assert isinstance(response.stream, httpx.AsyncByteStream)
                await soon(lambda: Reply.waiting >= AHEAD)
                await soon(lambda: not cutting.open_connections)  # it has waited long enough
                await asyncio.sleep(SLOW_S)
                async for _ in response.stream:
                    pass

        with pytest.raises(UpstreamUnavailable):
            await read_late()
        assert upstream.breaker._failures == 0


async def test_a_call_that_is_cancelled_as_its_reply_comes_leaves_nothing_behind():
    class Transport(asyncio.Transport):
        def write(self, data: Any) -> None: ...
        def abort(self) -> None: ...
        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...

    connection = UpstreamConnection(lambda _: None)
    connection.connection_made(Transport())
    reply = Reply(None, lambda: None)
    call = asyncio.create_task(connection.exchange(b"GET", reply, bodiless=False, head_s=None))
    await soon(lambda: reply._waiter is not None)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert Reply.waiting == 0


async def test_a_call_that_is_repeated_keeps_its_place_and_body():
    bodies, go_on = [], asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        bodies.append(await reader.readexactly(4))
        if len(bodies) > 1:
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with listening(serve) as url:
        upstream = client(url)

        async def call() -> int:
            exchange = upstream.exchange("POST", b"/", [], b"body", client="ann", retry=True)
            async with exchange as response:
                return response.status_code

        calling = asyncio.create_task(call())
        await soon(lambda: bodies == [b"body"] * 2)
        assert upstream._places.taken == 1
        go_on.set()
        assert await calling == 200
        assert upstream._places.taken == 0


async def test_no_client_decides_how_long_a_trial_takes():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/flow":
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(60)
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as url:
        upstream = client(url, breaker_open_s=0)
        upstream.breaker._limit = 1

        async def ask() -> None:
            async with upstream.exchange("POST", b"/", [], b"", client="ann"):
                pass

        async with upstream.exchange("GET", b"/flow", [], b"", client="ann"):
            upstream.breaker.failed(upstream.breaker.allow())
            trial = upstream.breaker.allow()
            assert trial
        assert not upstream.breaker.allow()  # a call from before has ended, the trial has not
        upstream.breaker.abandoned(trial)
        await ask()
        assert not upstream.breaker.is_open
