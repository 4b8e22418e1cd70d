"""A reply on its way through: the connection fills it, its reader empties it, both bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from shared.web.upstream_connection import UpstreamConnection

AHEAD = 1024 * 1024  # bytes of a reply that are read ahead of its client
AHEAD_SHORT = 64 * 1024  # the same, while replies of more than TOGETHER bytes wait
TOGETHER = 64 * AHEAD  # bytes waiting in this process, beyond which less is read ahead
PIECE = 64 * 1024  # bytes; small chunks are joined up to this size, larger ones are cut

Headers = list[tuple[bytes, bytes]]


class Reply(httpx.AsyncByteStream):
    """A reply's head and body, filled by its connection and emptied by one reader.

    `on_end` is called once, when the last byte of a started reply has come or the reply has
    failed. The reader may take longer, but the upstream has nothing more to do.
    """

    waiting = 0  # unread bytes of all replies of this process

    def __init__(self, idle_s: float | None, on_end: Callable[[], None]) -> None:
        self.status, self.headers = 0, Headers()
        self.started, self.ended = False, False
        self.error: Exception | None = None
        self._idle_s, self._on_end = idle_s, on_end
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self.connection: UpstreamConnection | None = None

    def feed(self, data: bytes) -> bool:
        """Add to the body; False if no more should be read before the reader takes some."""
        self._chunks.extend(data[at : at + PIECE] for at in range(0, len(data), PIECE))
        self._size += len(data)
        Reply.waiting += len(data)
        self.wake()
        return self._has_room()

    def _has_room(self) -> bool:
        return self._size < (AHEAD if Reply.waiting < TOGETHER else AHEAD_SHORT)

    def end(self, error: Exception | None = None) -> None:
        """Mark the end of the body; with an error, the body is incomplete."""
        if not self.ended:
            self.ended, self.error, self.connection = True, error, None
            self.wake()
            if self.started:  # else the exchange raises, and its caller may try it once more
                self._on_end()

    def wake(self) -> None:
        """Make the waiting reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None, late: str) -> None:
        """Wait until something changes; after `seconds` the reply fails with httpx.ReadTimeout."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._give_up, late)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _give_up(self, late: str) -> None:
        if self.connection is not None:
            self.connection.fail(httpx.ReadTimeout(late))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises an httpx.TransportError if it breaks off."""
        while True:
            if self._chunks:
                yield self._take()
            elif self.error is not None:
                raise self.error
            elif self.ended:
                return
            else:
                await self.wait(self._idle_s, "the reply stopped coming")

    def _take(self) -> bytes:
        """The next chunk, or several small ones joined up to PIECE bytes."""
        taken, size = [self._chunks.popleft()], 0
        while self._chunks and (size := size + len(taken[-1])) + len(self._chunks[0]) <= PIECE:
            taken.append(self._chunks.popleft())
        data = taken[0] if len(taken) == 1 else b"".join(taken)
        self._size -= len(data)
        Reply.waiting -= len(data)
        if self.connection is not None and self._has_room():
            self.connection.resume()
        return data

    async def aclose(self) -> None:
        """Stop reading; if the reply has not ended, its connection is closed."""
        self.forget()
        if self.connection is not None:
            self.connection.fail(httpx.ReadError("closed"))

    def forget(self) -> None:
        """Drop the bytes that were not read."""
        self._chunks.clear()
        Reply.waiting -= self._size
        self._size = 0
