"""A hundred slow, silent or broken clients of one kind: `python -m tests.support.strangers`.

They are a process of their own, so that what they cost is not taken for what the others wait.
Arguments: kind, port, address ("own": each from one of its own), file of tokens (a JSON list).
It writes a line when all have come, and goes on until it is ended.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

CROWD = 100
COMING_S = 1.0
EVENTS = b"/api/v1/events"


class Stranger:
    """One of them; `number` tells them apart. It has a connection while it does its act."""

    def __init__(self, number: int, port: int, address: str, token: str) -> None:
        self._port, self._address, self._token = port, address, token.encode()
        self._loop = asyncio.get_running_loop()
        self.number = number

    async def open(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind((self._address, 0))
        await self._loop.sock_connect(self.socket, ("127.0.0.1", self._port))

    def head(self, method: bytes = b"GET", query: bytes = b"", *lines: bytes) -> bytes:
        line = b"%b %b?%b HTTP/1.1" % (method, EVENTS, query)
        who = b"Authorization: " + self._token
        return b"\r\n".join([line, b"Host: x", who, *lines, b"", b""])

    async def say(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def hear(self, size: int = 4096) -> bytes:
        got = await self._loop.sock_recv(self.socket, size)
        if not got:
            raise ConnectionError("closed")
        return got

    async def wait(self) -> None:
        """Do nothing until the other side closes; what it sends first is read."""
        while True:
            await self.hear()

    def reset(self) -> None:
        """End the connection by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Says = Callable[[Stranger], bytes]
Then = Callable[[Stranger], Awaitable[None]]


def idles(seconds: float) -> Then:
    return lambda _: asyncio.sleep(seconds)


def leaves(seconds: float) -> Then:
    async def then(one: Stranger) -> None:
        await asyncio.sleep(seconds)
        one.reset()
        await asyncio.sleep(0.5)

    return then


def drips(data: bytes) -> Then:
    async def then(one: Stranger) -> None:
        while True:
            await one.say(data)
            await asyncio.sleep(0.2)

    return then


async def spells_its_head(one: Stranger) -> None:
    for byte in one.head():
        await one.say(bytes([byte]))
        await asyncio.sleep(0.2)


async def reads_by_drops(one: Stranger) -> None:
    while True:
        await one.hear(100)
        await asyncio.sleep(0.2)


async def asks_for_large_heads(one: Stranger) -> None:
    while True:
        await one.say(one.head(b"GET", b"head"))
        await one.hear()
        await asyncio.sleep(1)


POST = (b"POST", b"")
LONG = b"Content-Length: 30000"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 9")
#: what one says first, and what it does then
KINDS: dict[str, tuple[Says, Then]] = {
    "silent": (lambda _: b"", Stranger.wait),
    "half_a_head": (lambda one: one.head()[:-4], Stranger.wait),
    "head_by_bytes": (lambda _: b"", spells_its_head),
    "body_that_never_comes": (
        lambda one: one.head(*POST, b"Content-Length: 100") + b"{",
        Stranger.wait,
    ),
    "body_by_bytes": (lambda one: one.head(*POST, LONG) + b"x" * 20_000, drips(b"x")),
    "chunks_by_bytes": (
        lambda one: one.head(*POST, b"Transfer-Encoding: chunked"),
        drips(b"1\r\nx\r\n"),
    ),
    "unread_reply": (lambda one: one.head(b"GET", b"400000"), idles(60)),
    "dripping_reader": (lambda one: one.head(b"GET", b"8000000"), reads_by_drops),
    "reader_of_a_stream": (lambda one: one.head(b"GET", b"flow"), Stranger.wait),
    "idle_keep_alive": (lambda one: one.head(), Stranger.wait),
    # it asks for what takes long, and is gone before it comes
    "leaver": (lambda one: one.head(b"GET", b"late"), leaves(0.5)),
    "leaves_in_its_body": (lambda one: one.head(*POST, LONG) + b"x" * 10_000, leaves(0.5)),
    # it sends requests ahead, more than are taken, and reads no reply
    "pipeliner": (lambda one: one.head(b"GET", b"late") + one.head() * 40, leaves(4)),
    "asks_to_upgrade": (lambda one: one.head(*POST, *UPGRADE) + b"{}", Stranger.wait),
    "large_head": (lambda one: one.head(b"GET", b"", b"X-Large: " + b"x" * 20_000), idles(1)),
    "asks_for_a_large_head": (lambda _: b"", asks_for_large_heads),
    "garbage": (lambda _: os.urandom(5000), idles(1)),
}


def address(number: int, own: bool) -> str:
    """Where a stranger comes from."""
    return f"127.0.1.{number + 1}" if own else "127.0.1.1"


async def _go_on(one: Stranger, says: Says, then: Then) -> None:
    await asyncio.sleep(one.number * COMING_S / CROWD)
    while True:
        with contextlib.suppress(OSError):
            await one.open()
            with contextlib.closing(one.socket):
                await one.say(says(one))
                await then(one)
        await asyncio.sleep(0.2)


async def main(kind: str, port: int, own: bool, tokens: list[str]) -> None:
    """All of one kind, for ever."""
    crowd = [Stranger(n, port, address(n, own), tokens[n]) for n in range(CROWD)]
    going = [asyncio.create_task(_go_on(one, *KINDS[kind])) for one in crowd]
    await asyncio.sleep(2.5 * COMING_S)  # the first megabytes of long replies have come as well
    print("all have come", flush=True)  # noqa: T201 - tells the test
    await asyncio.gather(*going)


if __name__ == "__main__":
    _, name, to, where, file = sys.argv
    asyncio.run(main(name, int(to), where == "own", json.loads(Path(file).read_text())))
