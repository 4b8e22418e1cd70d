"""shared.serve as a real process: drain on signals, hostile clients, taken ports."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.servers import free_port, listens
from tests.support.waiting import until


class Served:
    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.port, self.process = port, process
        self.url = f"http://127.0.0.1:{port}"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=20, verify=False)  # plain HTTP

    async def draining(self, client: httpx.AsyncClient) -> httpx.Response:
        """The first reply that says not ready."""
        async with asyncio.timeout(8):
            while (reply := await client.get("/ready")).json():
                await asyncio.sleep(0.05)
        return reply

    async def talk(self, data: bytes, wait_s: float = 10.0) -> bytes:
        """Send bytes as they are; everything that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            async with asyncio.timeout(wait_s):
                return await reader.read()
        finally:
            writer.close()


def start(port: int, **env: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("serve_app.py"))],
        env={**os.environ, "PYTHONPATH": ".", "PORT": str(port), **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@contextmanager
def serving(drain: float = 1.0) -> Iterator[Served]:
    port = free_port()
    process = start(port, DRAIN_SECONDS=str(drain))
    try:
        until(lambda: listens(port), what="the server")
        yield Served(port, process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """One process for the tests that leave it as it was."""
    with serving() as server:
        yield server


async def test_sigterm_under_load_fails_nothing_and_ends_with_0() -> None:
    with serving(drain=4) as server:
        async with server.client() as client:
            slow = [asyncio.create_task(client.get("/slow?seconds=6")) for _ in range(5)]
            statuses: list[int] = []
            not_ready = 0
            await asyncio.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            begin = time.monotonic()
            while time.monotonic() - begin < 1.7:  # well inside the drain: kept and new connections
                statuses.append((await client.get("/slow?seconds=0.01")).status_code)
                async with server.client() as other:
                    response = await other.get("/ready")
                    statuses.append(response.status_code)
                    not_ready += response.json() is False
            assert len(statuses) > 10
            assert set(statuses) == {200}
            assert not_ready > 2
            assert [reply.json() for reply in await asyncio.gather(*slow)] == [6.0] * 5
            assert await asyncio.to_thread(server.process.wait, 10) == 0
            assert time.monotonic() - begin < 15
            assert b"flushed" in server.process.stderr.read()  # type: ignore[union-attr]


async def test_replies_during_the_drain_ask_pooled_clients_to_leave() -> None:
    with serving(drain=10) as server:
        async with server.client() as client:
            assert "connection" not in (await client.get("/ready")).headers
            server.process.send_signal(signal.SIGINT)
            assert (await server.draining(client)).headers["connection"] == "close"


async def test_second_signal_ends_at_once() -> None:
    with serving(drain=10) as server:
        async with server.client() as client:
            server.process.send_signal(signal.SIGTERM)
            await server.draining(client)
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 6) == 128 + signal.SIGTERM


async def test_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(port)
        _, text = await asyncio.to_thread(process.communicate, timeout=20)
        assert process.returncode == 1
        assert text.decode().splitlines() == [
            f"cannot listen on 127.0.0.1:{port}: Address already in use (set PORT or HOST)"
        ]


HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"
GET = b"GET /ready HTTP/1.1\r\nhost: x\r\n"
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"
REFUSED = [
    (400, b"NONSENSE\r\n\r\n"),
    (400, b"FOO / HTTP/1.1\r\nhost: x\r\n\r\n"),
    (400, HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    (400, HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"),
    (400, HEAD + b"content-length: 3, 4\r\n\r\nabc"),
    (400, HEAD + b"content-length: -1\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"bad header: 1\r\n\r\n"),
    (431, GET + b"x-big: " + b"a" * 17000 + b"\r\n\r\n"),
    (431, GET + b"x-endless: " + b"a" * 200_000),
    (431, b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
    (431, GET + b"".join(b"h%d: 1\r\n" % n for n in range(3000)) + b"\r\n"),
    (431, GET + b"".join(b"h%d: 1\r\n" % n for n in range(101)) + b"\r\n"),
    (413, HEAD + b"content-length: 104857600\r\n\r\n" + b"x" * 1000),
    (413, HEAD + b"transfer-encoding: chunked\r\n\r\n" + CHUNK * 17),
]


@pytest.mark.parametrize(("status", "request_bytes"), REFUSED)
async def test_refused_and_closed(shared: Served, status: int, request_bytes: bytes) -> None:
    answer = await shared.talk(request_bytes)
    assert answer.split(b" ")[1] == b"%d" % status, answer[:300]
    assert b"connection: close" in answer.lower()
    assert b"problem+json" in answer
    assert answer.count(b"HTTP/1.1") == 1


async def test_slow_clients_are_closed_within_ten_seconds_and_slow_replies_are_not(
    shared: Served,
) -> None:
    begin = time.monotonic()

    async def drip(head: bytes) -> tuple[bytes, float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.port)
        answer = asyncio.create_task(reader.read())
        writer.write(head)
        while not answer.done() and time.monotonic() - begin < 14:
            writer.write(b"a")  # 1 byte/s
            await asyncio.wait([answer], timeout=1)
        writer.close()
        return await answer, time.monotonic() - begin

    async def silent() -> float:
        await shared.talk(b"", wait_s=14)
        return time.monotonic() - begin

    crowd = [await asyncio.open_connection("127.0.0.1", shared.port) for _ in range(300)]
    for _, writer in crowd:
        writer.write(b"GET /ready HTTP/1.1\r\nx: ")
    async with asyncio.timeout(40):
        head, body, ignored, quiet, normal, _ = await asyncio.gather(
            drip(b"GET /ready HTTP/1.1\r\nx: "),
            drip(HEAD + b"content-length: 5000\r\n\r\n"),
            drip(HEAD.replace(b"echo", b"ignore") + b"content-length: 5000\r\n\r\n"),
            silent(),
            _keeps_working(shared),
            _slow_replies_and_pipelined_requests(shared),
        )
    assert head[0].split(b" ")[1] == b"408"
    assert body[0].split(b" ")[1] == b"408"
    assert ignored[0].split(b" ")[1] == b"200"
    assert max(head[1], body[1], ignored[1], quiet) < 13  # 14 is when the clients end it
    assert min(head[1], body[1]) > 9
    assert normal < 1
    for reader, writer in crowd:
        assert b" 408 " in await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def _keeps_working(server: Served) -> float:
    """The median of 20 requests, in seconds."""
    took = []
    async with server.client() as client:
        for _ in range(20):
            begin = time.monotonic()
            assert (await client.post("/echo", content=b"x" * 1024 * 1024)).json() == 1024 * 1024
            took.append(time.monotonic() - begin)
            await asyncio.sleep(0.05)
    return sorted(took)[10]


async def _slow_replies_and_pipelined_requests(server: Served) -> None:
    one = b"GET /slow?seconds=0.3 HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /slow?seconds=0.1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = await server.talk(one * 3 + last)
    assert answer.count(b"HTTP/1.1 200") == 4
    reply = await server.talk(last.replace(b"0.1", b"10.5"), wait_s=20)
    assert reply.startswith(b"HTTP/1.1 200")
