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


async def silent(one: Stranger) -> None:
    await one.wait()


async def half_a_head(one: Stranger) -> None:
    await one.say(one.head()[:-4])
    await one.wait()


async def head_by_bytes(one: Stranger) -> None:
    for byte in one.head():
        await one.say(bytes([byte]))
        await asyncio.sleep(0.2)


async def body_that_never_comes(one: Stranger) -> None:
    await one.say(one.head(b"POST", b"", b"Content-Length: 100") + b"{")
    await one.wait()


async def body_by_bytes(one: Stranger) -> None:
    await one.say(one.head(b"POST", b"", b"Content-Length: 30000") + b"x" * 20_000)
    while True:
        await one.say(b"x")
        await asyncio.sleep(0.2)


async def chunks_by_bytes(one: Stranger) -> None:
    await one.say(one.head(b"POST", b"", b"Transfer-Encoding: chunked"))
    while True:
        await one.say(b"1\r\nx\r\n")
        await asyncio.sleep(0.2)


async def unread_reply(one: Stranger) -> None:
    await one.say(one.head(b"GET", b"400000"))
    await asyncio.sleep(60)


async def dripping_reader(one: Stranger) -> None:
    await one.say(one.head(b"GET", b"8000000"))
    while True:
        await one.hear(100)
        await asyncio.sleep(0.2)


async def reader_of_a_stream(one: Stranger) -> None:
    await one.say(one.head(b"GET", b"flow"))
    while True:
        await one.hear()


async def idle_keep_alive(one: Stranger) -> None:
    await one.say(one.head())
    await one.wait()


async def leaver(one: Stranger) -> None:
    """It asks for what takes long, and is gone before it comes."""
    await one.say(one.head(b"GET", b"late"))
    await asyncio.sleep(0.5)
    one.reset()
    await asyncio.sleep(0.5)


async def leaves_in_its_body(one: Stranger) -> None:
    await one.say(one.head(b"POST", b"", b"Content-Length: 30000") + b"x" * 10_000)
    await asyncio.sleep(0.5)
    one.reset()
    await asyncio.sleep(0.5)


async def pipeliner(one: Stranger) -> None:
    """It sends requests ahead, more than are taken, and reads no reply."""
    await one.say(one.head(b"GET", b"late") + one.head() * 40)
    await asyncio.sleep(4)
    one.reset()


async def asks_to_upgrade(one: Stranger) -> None:
    lines = (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 9")
    await one.say(one.head(b"POST", b"", *lines) + b"{}")
    await one.wait()


async def large_head(one: Stranger) -> None:
    await one.say(one.head(b"GET", b"", b"X-Large: " + b"x" * 20_000))
    await asyncio.sleep(1)


async def asks_for_a_large_head(one: Stranger) -> None:
    while True:
        await one.say(one.head(b"GET", b"head"))
        await one.hear()
        await asyncio.sleep(1)


async def garbage(one: Stranger) -> None:
    await one.say(os.urandom(5000))
    await asyncio.sleep(1)


Kind = Callable[[Stranger], Awaitable[None]]
KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        silent, half_a_head, head_by_bytes, body_that_never_comes, body_by_bytes, chunks_by_bytes,
        unread_reply, dripping_reader, reader_of_a_stream, idle_keep_alive, leaver,
        leaves_in_its_body, pipeliner, asks_to_upgrade, large_head, asks_for_a_large_head, garbage,
    )
}  # fmt: skip


def address(number: int, own: bool) -> str:
    """Where a stranger comes from."""
    return f"127.0.1.{number + 1}" if own else "127.0.1.1"


async def _go_on(one: Stranger, kind: Kind) -> None:
    await asyncio.sleep(one.number * COMING_S / CROWD)
    while True:
        with contextlib.suppress(OSError):
            await one.open()
            with contextlib.closing(one.socket):
                await kind(one)
        await asyncio.sleep(0.2)


async def main(kind: str, port: int, own: bool, tokens: list[str]) -> None:
    """All of one kind, for ever."""
    crowd = [Stranger(n, port, address(n, own), tokens[n]) for n in range(CROWD)]
    going = [asyncio.create_task(_go_on(one, KINDS[kind])) for one in crowd]
    await asyncio.sleep(2.5 * COMING_S)  # the first megabytes of long replies have come as well
    print("all have come", flush=True)  # noqa: T201 - tells the test
    await asyncio.gather(*going)


if __name__ == "__main__":
    _, name, to, where, file = sys.argv
    asyncio.run(main(name, int(to), where == "own", json.loads(Path(file).read_text())))
