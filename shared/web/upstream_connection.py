"""One HTTP/1.1 connection to an upstream: sends a request, reads its reply, then is used again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools
import httpx

from shared.web.bounds import DIGITS
from shared.web.upstream_reply import Reply

SLOW_S = 1.0  # a reader that paused the upstream this long is blamed if the reply breaks off
MAX_HEAD = 32 * 1024  # bytes of a reply's status line and headers


class BadReply(httpx.RemoteProtocolError):
    """The bytes from the upstream are not a valid HTTP/1.1 reply."""


class ReplyTooLarge(BadReply):
    """The head of the reply is larger than MAX_HEAD; the breaker does not count it as a failure."""


class SlowReader(httpx.ReadError):
    """The reply broke off after its reader had kept the upstream waiting."""


def _too_large() -> ReplyTooLarge:
    return ReplyTooLarge(f"the reply's head is larger than {MAX_HEAD} bytes")


class UpstreamConnection(asyncio.Protocol):
    """Does one exchange at a time; calls `on_free` when it may be used for the next one.

    It is used again only if both sides have certainly finished: the whole request was sent,
    exactly one reply has come without bytes behind it, and the upstream keeps the connection open.
    """

    def __init__(self, on_free: Callable[[UpstreamConnection], None]) -> None:
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = None
        self._reply: Reply | None = None
        self._writable: asyncio.Future[None] | None = None
        self.closed = False
        self.free_since = 0.0
        self._paused_at: float | None = None
        self._slow_reader = False

    # --- asyncio's side ---
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.resume_writing()
        if self._reply is not None:
            if self._until_close and exc is None:
                self._finish()
            elif self._slow_reader:
                self.fail(SlowReader("the connection was closed"))
            else:
                self.fail(httpx.RemoteProtocolError("the connection was closed"))

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.close()  # unasked bytes would pass for the reply to the next request
            return
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                cause = error.__context__
                self.fail(cause if isinstance(cause, BadReply) else BadReply(str(cause or error)))
                return
            self._excess = True
        if self._in_head and self._head_size > MAX_HEAD:
            self.fail(_too_large())
        elif self._complete:
            self._finish()

    # --- one exchange ---
    async def exchange(
        self,
        request: bytes,
        reply: Reply,
        *,
        bodiless: bool,
        head_s: float | None,
    ) -> None:
        """Send the request, head and body; returns when the reply's head has come.

        `head_s` are the seconds from the end of sending to the head. Failures of the upstream are
        raised as httpx.TransportError.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._reply, reply.connection = reply, self
        self._bodiless, self._until_close = bodiless, False
        self._in_head, self._head_size = True, 0
        self._complete = self._excess = self._interim = False
        self._may_stay = True
        self._paused_at, self._slow_reader = None, False
        try:
            self._transport.write(request)
            await self._drain(head_s)
            while not reply.started and not reply.ended:
                await reply.wait(head_s, "the upstream did not answer in time")
        except BaseException:
            self.close()
            reply.forget()
            raise
        if reply.error is not None and not reply.started:
            raise reply.error

    async def _drain(self, seconds: float | None) -> None:
        if self._writable is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self._writable
            except TimeoutError:
                raise httpx.WriteTimeout("the upstream does not take the request") from None

    def resume(self) -> None:
        """Go on reading, as the reader has taken some of the reply."""
        if self._paused_at is not None:
            self._slow_reader |= self._loop.time() - self._paused_at >= SLOW_S
            self._paused_at = None
        if not self.closed:
            self._transport.resume_reading()

    def fail(self, error: Exception) -> None:
        """End the exchange with an error and close the connection."""
        reply, self._reply, self._parser = self._reply, None, None
        self.close()
        if reply is not None:
            reply.end(error)

    def close(self) -> None:
        """Close at once."""
        self.closed = True
        reply, self._reply, self._parser = self._reply, None, None
        self._transport.abort()
        if reply is not None:
            reply.end(httpx.ReadError("closed"))

    def _finish(self) -> None:
        reply, self._reply, self._parser = self._reply, None, None
        sent = not self._transport.get_write_buffer_size()
        if sent and self._may_stay and not self._excess and not self.closed:
            self._transport.resume_reading()
            self.free_since = self._loop.time()
            self._on_free(self)
        else:
            self.closed = True
            self._transport.abort()
        if reply is not None:
            reply.end()

    # --- what the parser found ---
    def on_message_begin(self) -> None:
        if self._complete:
            self._excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self._complete and self._reply is not None:
            self._reply.headers.append((name, value))  # trailers are dropped

    def on_headers_complete(self) -> None:
        parser, reply = self._parser, self._reply
        if self._complete or parser is None or reply is None:
            return
        status = parser.get_status_code()
        if not 100 <= status < 600:
            raise ValueError("there is no such status")
        if status < 200:
            if status == 101:
                raise ValueError("the upstream changed the protocol")
            self._interim = True
            reply.headers.clear()
            return
        if sum(len(name) + len(value) + 4 for name, value in reply.headers) > MAX_HEAD:
            raise _too_large()
        names = {name.lower() for name, _ in reply.headers}
        self._in_head = False
        codings = [v.lower() for n, v in reply.headers if n.lower() == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise ValueError("the reply has a transfer coding that is not known here")
        if any(len(v.strip()) > DIGITS for n, v in reply.headers if n.lower() == b"content-length"):
            raise ValueError("the reply's length has too many digits")
        self._may_stay = parser.should_keep_alive()
        if self._bodiless or status in (204, 304):
            self._complete = True  # no body, whatever its length says (RFC 9110, 8.6)
        else:
            self._until_close = not codings and b"content-length" not in names
        reply.status, reply.started = status, True
        reply.wake()

    def on_chunk_header(self) -> None:
        self._excess = self._excess or self._complete

    def on_body(self, data: bytes) -> None:
        if self._interim:
            raise ValueError("an interim reply has a body")
        if self._complete:
            self._excess = True
        elif self._reply is not None and not self._reply.feed(data):
            self._paused_at = self._paused_at or self._loop.time()
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True
