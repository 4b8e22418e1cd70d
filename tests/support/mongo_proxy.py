"""A proxy in front of a MongoDB server that can withhold the reply of a chosen write.

It reads OP_MSG (opcode 2013, a document in section kind 0) as far as the command's name and
collection; everything else passes as it is. Runs in a thread, with an event loop of its own.
"""

import asyncio
import struct
import threading
from typing import Any, Self

import bson

WRITES = frozenset(["insert", "update", "delete", "findAndModify"])
OP_MSG = 2013


async def _message(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    """Request ID, response to, opcode and all bytes of the next message."""
    head = await reader.readexactly(16)
    length, request_id, response_to, opcode = struct.unpack("<iiii", head)
    return request_id, response_to, opcode, head + await reader.readexactly(length - 16)


def command(opcode: int, message: bytes) -> tuple[str, Any]:
    """Name and collection of a command; ("", "") if it is none."""
    if opcode != OP_MSG:
        return "", ""
    position = 20
    while position < len(message):
        size = struct.unpack_from("<i", message, position + 1)[0]
        if message[position] == 0:
            name, value = next(
                iter(bson.decode(message[position + 1 : position + 1 + size]).items())
            )
            return str(name), value
        position += 1 + size  # a document sequence; the body may follow
    return "", ""


class MongoProxy:
    """`hold(3)` keeps back the reply of the third write from now; `held` is set when it does."""

    def __init__(self, server_port: int, collections: frozenset[str]) -> None:
        self._server_port = server_port
        self._collections = collections
        self._left = 0
        self._withheld: tuple[int, int] | None = None
        self.held = threading.Event()
        self.writes: list[tuple[str, str]] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def hold(self, write: int) -> None:
        self.held.clear()
        self.writes.clear()
        self._withheld = None
        self._left = write

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", self._server_port)
        connection = id(writer)
        ways = [
            asyncio.ensure_future(self._requests(reader, upstream[1], connection)),
            asyncio.ensure_future(self._replies(upstream[0], writer, connection)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            upstream[1].close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        while True:
            request_id, _, opcode, message = await _message(reader)
            name, collection = command(opcode, message)
            if name in WRITES and collection in self._collections:
                self.writes.append((name, collection))
                self._left -= 1
                if self._left == 0:
                    self._withheld = (connection, request_id)
            writer.write(message)
            await writer.drain()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        while True:
            _, response_to, _, message = await _message(reader)
            if self._withheld == (connection, response_to):
                self.held.set()
                await asyncio.Event().wait()  # until the client goes away
            writer.write(message)
            await writer.drain()
