"""The body of a request: read, buffered when small, and checked against its announced length."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.headers import Headers
from shared.errors import BadRequest

BUFFERED = 64 * 1024  # bytes: a body up to this size is read in full before the upstream is called


def announced_length(headers: Headers) -> int | None:
    """The value of `Content-Length`; None without one, as the body is chunked or there is none."""
    lengths = [value for name, value in headers if name == b"content-length"]
    if not lengths:
        return None
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise BadRequest("The length of the body is not a number")
    return int(lengths[0])


class Body(httpx.AsyncByteStream):
    """The body, of which no more than `BUFFERED` bytes are kept.

    Reading raises BadRequest if its length is not the announced one, and ClientDisconnect.
    """

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive, self._announced = receive, announced_length(headers)
        chunked = any(name == b"transfer-encoding" for name, _ in headers)
        self.complete = not self._announced and not chunked
        if not self.complete:
            check_not_upgraded(headers)
        self._read = 0

    async def start(self) -> bytes | Body:
        """The whole body as bytes, or, if it is longer than `BUFFERED`, this stream."""
        kept: list[bytes] = []
        while not self.complete and self._read <= BUFFERED:
            kept.append(await self._next())
        self._first = b"".join(kept)
        return self._first if self.complete else self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        while not self.complete:
            yield await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self._read += len(chunk)
        if not message.get("more_body", False):
            check_complete(self._announced, self._read)
            self.complete = True
        return chunk


def check_not_upgraded(headers: Headers) -> None:
    """Raise BadRequest for a body with `Upgrade`, as its end may not have been parsed.

    HTTP parsers end a message after the head of a request to upgrade, whatever its length. Our
    own server removes such headers and reads on, so this matters only under another server.
    """
    asked = [value.lower() for name, value in headers if name == b"connection"]
    if any(name == b"upgrade" for name, _ in headers) and b"upgrade" in b",".join(asked):
        raise BadRequest("A request with a body cannot ask for another protocol")


def check_complete(announced: int | None, read: int) -> None:
    """Raise BadRequest if a length was announced and another one was read."""
    if announced is not None and announced != read:
        raise BadRequest("The body is not as long as was announced", code="body_incomplete")
