"""A request's body as it really comes, whatever its head announced."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.headers import Headers
from shared.errors import BadRequest

BUFFERED = 64 * 1024  # bytes: up to here a body is read before an upstream is bothered with it


def announced_length(headers: Headers) -> int | None:
    """What `Content-Length` says; None without one, which is a body in chunks or none at all."""
    lengths = [value for name, value in headers if name == b"content-length"]
    if not lengths:
        return None
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise BadRequest("The length of the body is not a number")
    return int(lengths[0])


class Body(httpx.AsyncByteStream):
    """The body, of which no more than `BUFFERED` bytes are kept.

    Raises BadRequest when it ends before its announced length, and ClientDisconnect.
    """

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive, self._announced = receive, announced_length(headers)
        chunked = any(name == b"transfer-encoding" for name, _ in headers)
        self.complete = not self._announced and not chunked
        if not self.complete:
            check_not_upgraded(headers)
        self._read = 0

    async def start(self) -> bytes | Body:
        """All of it, or, if that is more than is kept, something to read it from."""
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
    """BadRequest if the server below may have ended a message after its head.

    Parsers do so upon a request to upgrade. Our server takes such headers away and reads on, so
    that here is none of them, unless another one serves this application.
    """
    asked = [value.lower() for name, value in headers if name == b"connection"]
    if any(name == b"upgrade" for name, _ in headers) and b"upgrade" in b",".join(asked):
        raise BadRequest("A request with a body cannot ask for another protocol")


def check_complete(announced: int | None, read: int) -> None:
    """BadRequest unless as much was read as was announced, if it was."""
    if announced is not None and announced != read:
        raise BadRequest("The body is not as long as was announced", code="body_incomplete")
