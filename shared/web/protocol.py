"""HTTP/1.1 of our servers: uvicorn's protocol, but strict, and bounded in time and size."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import struct
from contextlib import suppress
from contextvars import Context
from http import HTTPStatus
from termios import FIONREAD
from typing import Any, ClassVar

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from plainview import REQUEST_ID_HEADER, request_context
from plainview.client_address import Networks
from shared.web.bounds import DIGITS, Bounds
from shared.web.connections import Connections
from shared.web.problems import problem

# RFC 3986: a registered name or IPv4 address, or an IP literal in brackets; then a port
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# in absolute form, and without a path, which then is "/" (RFC 9112, section 3.2.2)
_NO_PATH = re.compile(rb"(https?://[^/?]+)(\?.*)?", re.IGNORECASE)
_TARGET = re.compile(rb"(?:/|\*$|https?://[^/?])[^#]*", re.IGNORECASE)

TOGETHER = 16 * 1024  # bytes that are held back at most, to be written together


class _Writer:
    """The transport that uvicorn writes to; counts bytes, and closes by `BoundedProtocol.end`.

    Writes of one turn of the event loop are sent together: the head and body of a reply would
    else be two system calls, each costlier than most other work for a small reply.
    """

    __slots__ = ("_held", "_protocol", "_size", "_transport", "written")

    def __init__(self, protocol: BoundedProtocol, transport: asyncio.Transport) -> None:
        self._protocol, self._transport, self.written = protocol, transport, 0
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self._held.append(data)
        self._size += len(data)
        if self._size > TOGETHER:
            self.flush()
        elif len(self._held) == 1:
            self._protocol.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send the held bytes."""
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        self._protocol.end()

    def is_closing(self) -> bool:
        return self._protocol.ending or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Cycle(RequestResponseCycle):
    """uvicorn's cycle, with two corrections.

    Uvicorn waits for a body of the `Content-Length` that a 304 has, and it sends chunks to clients
    of HTTP/1.0, which do not know them (RFC 9112, section 6.1). The reply also closes a connection
    of a client that has too many.
    """

    protocol: BoundedProtocol
    _until_close = False  # whether the body ends where the connection does

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and self.scope["http_version"] == "1.0":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._until_close = b"content-length" not in names
        if message["type"] == "http.response.start":
            self.keep_alive &= not self.protocol.open_connections.crowded(self.protocol)
        if self._until_close:
            self.chunked_encoding = False
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
        if message["type"] == "http.response.start" and message["status"] == 304:
            self.expected_content_length = 0  # RFC 9110, section 8.6: a 304 has no body


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, stricter and bounded.

    A message that is not HTTP/1.0 or 1.1 by RFC 9112 is answered 400. The connection is closed
    after that, and also after a reply that was given before the whole request had come.
    """

    bounds: ClassVar[Bounds]
    open_connections: ClassVar[Connections]
    # Two guards against smuggled requests. Tests switch one off to show that the other suffices.
    ignores_upgrade: ClassVar[bool] = True
    ends_unread: ClassVar[bool] = True

    ending = False  # whether bytes that still come are dropped
    since = 0.0  # loop time since which the connection is idle
    _begun_at = 0.0  # loop time since which the last request is served
    _taken_before = 0  # bytes that the client had taken by then
    _head = 0
    _unread = 0  # bytes received since the last byte of a body
    _in_head = False
    _arriving = False
    _begun = 0  # messages that begin in the data being parsed
    _full = False  # whether the requests that wait are answered, and nothing else is read
    _upgrading = False
    _refusal = 400
    _keep_alive = False
    _running: RequestResponseCycle | None = None
    _deadline: asyncio.TimerHandle | None = None

    # --- the connection ---
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = _Writer(self, transport)  # type: ignore[assignment]
        self.since = self.loop.time()
        if not self.open_connections.add(self):
            transport.abort()
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unset_keepalive_if_required()  # its timer would keep this object alive until it fires
        self.open_connections.discard(self)
        running = self._running  # with pipelining `self.cycle` may be a later request
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    @property
    def address(self) -> str:
        """The peer's address, "" if it has none."""
        return self.client[0] if self.client else ""

    @property
    def idle(self) -> bool:
        """Whether no request is being served; part of one may have come."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def arriving(self) -> bool:
        """Whether the request being served has not come whole, and no reply to it has begun."""
        running = self._running
        return (
            self._arriving
            and not self._in_head
            and running is self.cycle
            and not (running is None or running.response_started)
        )

    @property
    def taken(self) -> tuple[int, int]:
        """How many bytes were sent to the client so far, and how many wait for it to read."""
        waiting = self.transport.get_write_buffer_size()
        return self.transport.written - waiting, waiting  # type: ignore[attr-defined]

    @property
    def asked(self) -> bool:
        """Whether bytes have come that were not read yet: the next request is here."""
        with suppress(OSError, ValueError):  # the socket is closed already
            descriptor = self.transport.get_extra_info("socket").fileno()
            return any(fcntl.ioctl(descriptor, FIONREAD, b"0000"))  # the number of bytes
        return False

    @property
    def pace(self) -> float:
        """Bytes per second that the client took since its last request began to be served."""
        seconds = max(self.loop.time() - self._begun_at, 0.001)
        return (self.taken[0] - self._taken_before) / seconds

    def drop(self) -> None:
        """Close at once, to make room for another connection or because the client is too slow."""
        self.transport.flush()  # type: ignore[attr-defined]
        transport = self.transport._transport  # type: ignore[attr-defined]
        if self.taken[1]:
            # Close with a reset; else the kernel keeps the unread megabytes for the client.
            reset = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, reset
            )
            transport.abort()
        else:
            transport.close()

    def end(self) -> None:
        """Close after the last reply.

        If the client is still sending, its bytes are dropped for `linger_s` before the close, as
        a close with unread bytes sends a reset and the client may lose the reply.
        """
        self.transport.flush()  # type: ignore[attr-defined]
        if not self._arriving or self.ending:
            self.transport._transport.close()  # type: ignore[attr-defined]
            return
        self.ending = True
        self._disarm()
        self.flow.resume_reading()  # the bytes are read and dropped
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(self.bounds.linger_s, self.transport._transport.close)  # type: ignore[attr-defined]

    # --- bytes ---
    def data_received(self, data: bytes) -> None:
        if self.ending or self._full:
            return
        self._unset_keepalive_if_required()
        self._unread += len(data)
        head, arriving, self._begun = self._head, self._arriving, 0
        try:
            self._feed(memoryview(data))
        except httptools.HttpParserError:
            if self._full:
                self._answer_no_more()
            else:
                self._refuse(self._refusal)
            return
        if self.transport.is_closing():
            return
        if self._in_head:  # counts a header that has not ended, which the parser has not reported
            # only if the data holds nothing but this head, else its part of it is unknown
            if self._begun == (not arriving):
                self._head = max(self._head, head + len(data))
            if self._head > self.bounds.head:
                self._refuse(431)
        elif self._arriving and self._unread > self.bounds.head:
            self._refuse(400)  # endless chunk extensions or trailers
        elif self._deadline is None and self.timeout_keep_alive_task is None and self.idle:
            # A client may send blank lines between requests. Start the deadline again, or
            # such a connection would stay open for ever.
            self._arm()

    def _feed(self, data: memoryview) -> None:
        """Parse the data; a head with `Upgrade` that is ignored is parsed again without it."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stopped:
                # The parser ends a request to upgrade after its head, even if it has a body, so
                # the body could pass for another request. A server may ignore `Upgrade` (RFC 9110,
                # section 7.8): parse the head again without that header.
                if not self._upgrading:
                    if self._should_upgrade():
                        self._disarm()
                        self.handle_websocket_upgrade()
                    return
                data = data[stopped.args[0] :]
                head = self._head_without_upgrade()
                self._upgrading = False
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # --- what the parser found ---
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._in_head, self._arriving = 0, True, True
        self._begun += 1
        self._arm()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer must not pass for a header (RFC 9110, section 6.5.1)
        super().on_header(name, value.rstrip(b" \t"))  # the parser keeps trailing spaces
        self._count(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= self.bounds.ahead:
            self._full = True
            raise ValueError("too many")
        if len(self.headers) > self.bounds.fields:
            self._refusal = 431
        if self._refusal != 400 or not self._is_http():
            raise ValueError("refused")  # stops the parser; data_received replies
        if self.ignores_upgrade and self.parser.should_upgrade() and not self._should_upgrade():
            self._upgrading = True
            return
        if bare := _NO_PATH.fullmatch(self.url):
            self.url = b"%b/%b" % (bare[1], bare[2] or b"")
        super().on_headers_complete()
        self._in_head, self._unread = False, 0
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        self.cycle.__class__ = _Cycle  # uvicorn has no setting for this
        self.cycle.protocol = self  # type: ignore[attr-defined]
        if self.scope["http_version"] == "1.0":
            self.cycle.waiting_for_100_continue = False  # RFC 9110, section 10.1.1
        self.scope["query_string"] = self.url.partition(b"?")[2]
        self._keep_alive = self.cycle.keep_alive
        if self.ends_unread:
            self.cycle.keep_alive = False  # set again when the whole request has come

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._arriving = False
        self._disarm()
        if self.cycle is not None and not self.cycle.response_started:
            # A draining server closes after the reply, so pooled clients connect elsewhere.
            draining = getattr(self.server_state, "draining", False)
            self.cycle.keep_alive = self._keep_alive and not draining
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        """Whether this becomes a WebSocket: only if they are served, and without a body."""
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        return not framed and super()._should_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._begun_at, self._taken_before = self.loop.time(), self.taken[0]
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def _is_http(self) -> bool:
        """Whether version, target, `Host` and the fields of framing are valid by RFC 9112."""
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return (
            version in ("1.0", "1.1")
            and self.parser.get_method() != b"CONNECT"
            and _TARGET.fullmatch(self.url) is not None
            # section 3.2: exactly one valid Host; HTTP/1.0 needs none
            and (len(hosts) == 1 or (version == "1.0" and not hosts))
            and all(_HOST.fullmatch(host) for host in hosts)
            # section 6.1: the only coding is chunked, and only in HTTP/1.1
            and (not codings or (codings == [b"chunked"] and version == "1.1"))
            and all(len(length) <= DIGITS for length in lengths)
        )

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self.bounds.head:
            self._refusal = 431

    # --- deadlines and refusals ---
    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.bounds.message_s, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refuse(408)
        elif self.idle:  # while a request is served, `BodyLimit` has the deadline
            self.transport.close()

    def _answer_no_more(self) -> None:
        """Read no further, and close after the reply to the last request that is here."""
        self._disarm()
        self._full = self._arriving = True  # the latter makes `end` drop what still comes
        last = self.pipeline[0][0] if self.pipeline else self._running or self.cycle
        last.keep_alive = False

    def _refuse(self, status: int) -> None:
        """Reply instead of the application, which has not got the whole request, and close.

        If replies to earlier requests of the connection are still to come, they are sent, and no
        refusal: it would land in the middle of one of them.
        """
        served = not self._in_head and self._arriving  # whether its head became a request
        self._arriving = True  # makes `end` drop the rest
        if not self.idle:
            if served and self.pipeline:
                self.pipeline.popleft()  # the last of those that wait will never be whole
                served = False
            if not served:
                self._answer_no_more()
                return
            running = self._running or self.cycle
            if running.response_started:
                self.ending = True
                self.transport.close()
                return
            running.disconnected = True  # the application has this request's head: it is over
            running.message_event.set()
        # in a context of its own: the current one may be that of an earlier request
        reply = Context().run(_refusal, status)
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % pair for pair in reply.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", reply.body]))
        self.end()


def _refusal(status: int) -> Response:
    with request_context() as context:
        headers = {REQUEST_ID_HEADER: context.request_id, "Connection": "close"}
        return problem(status, headers=headers)


def bounded_protocol(
    bounds: Bounds, trusted: Networks = (), base: type[BoundedProtocol] = BoundedProtocol
) -> type[BoundedProtocol]:
    """The protocol class of one server; its connections share one count.

    `trusted` are the networks of proxies that carry many clients.
    """
    values = {"bounds": bounds, "open_connections": Connections(bounds, trusted)}
    return type("ServerProtocol", (base,), values)
