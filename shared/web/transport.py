"""An httpx transport to one upstream that passes on requests and replies byte for byte.

HTTP clients, httpx too, normalise targets and decode headers. A gateway must not: where it and an
upstream read a target differently, access checks can be evaded.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import httpx

from shared.web.upstream_connection import UpstreamConnection
from shared.web.upstream_reply import Reply

IDLE_S = 15.0  # shorter than a server's keep-alive (ours: 75 s), so this side closes first
CLOSE_EVERY_S = 1.0
LOOK_S = 5.0  # after so long the name is looked up again, so a new replica soon gets its share
_FRAMING = (b"content-length", b"transfer-encoding", b"connection")


# looks up a host and a port; the addresses that it has now
Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses as the system knows them, each once; OSError if it knows none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Replicas:
    """Knows the addresses of one host. An old look-up serves until the next one has ended."""

    def __init__(self, host: str, port: int, resolve: Resolve = resolve) -> None:
        self._host, self._port, self._resolve = host, port, resolve
        self._known: list[str] = []
        self._look_at = 0.0
        self._turn = 0
        self._looking: asyncio.Task[None] | None = None

    def in_turn(self) -> list[str]:
        """The known addresses, first the one whose turn it is; none before the first `look`."""
        if not self._known:
            return []
        if self._looking is None and asyncio.get_running_loop().time() > self._look_at:
            self._looking = asyncio.create_task(self._look_again())
        self._turn = (self._turn + 1) % len(self._known)
        return self._known[self._turn :] + self._known[: self._turn]

    async def look(self) -> list[str]:
        """The host's addresses now; OSError if it has none."""
        known = await self._resolve(self._host, self._port)
        if not known:
            raise OSError(f"{self._host} has no address")
        self._known, self._look_at = known, asyncio.get_running_loop().time() + LOOK_S
        return known

    async def _look_again(self) -> None:
        try:
            with suppress(OSError):  # what was known before may still be right
                await self.look()
        finally:
            self._look_at = asyncio.get_running_loop().time() + LOOK_S
            self._looking = None

    def refused(self, address: str) -> None:
        """Ask the others until the next look-up, if there are any."""
        if address in self._known and len(self._known) > 1:
            self._known.remove(address)


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Connections of one origin: its addresses are asked in turn, each on the last used one.

    It uses these extensions of a request: `target` (path and query as bytes), `timeout` in seconds
    (`connect`; `read` from the end of sending to the reply's head; `idle` between two parts of the
    body, by default `read`), and `on_end`, called when the upstream has sent its whole reply, or
    has broken it off.

    A request's body is read whole before it is sent, and its `Content-Length` is counted here;
    headers about framing that the request has are dropped.
    """

    def __init__(self, base_url: str, resolve: Resolve = resolve) -> None:
        url = httpx.URL(base_url)
        self._ssl = ssl.create_default_context() if url.scheme == "https" else None
        self._host, self._port = url.host, url.port or (443 if self._ssl else 80)
        self._authority = url.netloc
        self._replicas = Replicas(self._host, self._port, resolve)
        self._free: dict[str, deque[UpstreamConnection]] = {}
        self._close_at, self._closed = 0.0, False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; returns when the head of the reply has come."""
        extensions = request.extensions
        timeout = extensions.get("timeout", {})
        on_end: Callable[[], None] = extensions.get("on_end", lambda: None)
        body = await request.aread()
        head = self._head(request, body)
        connection = await self._connection(timeout.get("connect"))
        reply = Reply(timeout.get("idle", timeout.get("read")), on_end)
        await connection.exchange(
            head + body, reply, bodiless=request.method == "HEAD", head_s=timeout.get("read")
        )
        return httpx.Response(
            reply.status,
            headers=reply.headers,
            stream=reply,
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close the idle connections now, and those in use when they become idle."""
        self._closed = True
        for free in self._free.values():
            while free:
                free.pop().close()

    def _head(self, request: httpx.Request, body: bytes) -> bytes:
        method = request.method.encode("ascii")
        target = request.extensions.get("target") or request.url.raw_path
        lines = [b"%b %b HTTP/1.1" % (method, target), b"host: %b" % self._authority]
        lines += [
            b"%b: %b" % (name, value)
            for name, value in request.headers.raw
            if (lower := name.lower()) != b"host" and lower not in _FRAMING
        ]
        lines += self._framing(request, body)
        head = b"\r\n".join([*lines, b"", b""])
        if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
            raise httpx.LocalProtocolError("a header or the target holds a line break")
        if lines[0].count(b" ") != 2 or b"\0" in head:
            raise httpx.LocalProtocolError("the target holds a space, or the head a NUL")
        return head

    def _framing(self, request: httpx.Request, body: bytes) -> list[bytes]:
        if body or request.method in ("POST", "PUT", "PATCH"):
            return [b"content-length: %d" % len(body)]
        return []

    async def _connection(self, seconds: float | None) -> UpstreamConnection:
        """A connection to the replica whose turn it is, or to the next that takes one."""
        self._close_idle()
        addresses, address = self._replicas.in_turn(), ""
        if addresses and (kept := self._kept(addresses[0])):
            return kept
        try:
            async with asyncio.timeout(seconds):
                addresses = addresses or await self._replicas.look()
                for number, address in enumerate(addresses, 1):
                    try:
                        return self._kept(address) or await self._connect(address)
                    except OSError:
                        self._replicas.refused(address)
                        if number == len(addresses):
                            raise
        except TimeoutError as error:
            self._replicas.refused(address)
            raise httpx.ConnectTimeout("the upstream does not take connections") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        raise httpx.ConnectError("the upstream has no address")

    def _kept(self, address: str) -> UpstreamConnection | None:
        free = self._free.get(address)
        while free:
            connection = free.pop()
            if not connection.closed:
                return connection
        return None

    def _close_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._close_at:
            return
        self._close_at = now + CLOSE_EVERY_S
        for address, free in [*self._free.items()]:
            while free and (free[0].closed or now - free[0].free_since > IDLE_S):
                free.popleft().close()
            if not free:
                del self._free[address]

    def _put(self, address: str, connection: UpstreamConnection) -> None:
        if self._closed:
            connection.close()
        else:
            self._free.setdefault(address, deque()).append(connection)

    async def _connect(self, address: str) -> UpstreamConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: UpstreamConnection(partial(self._put, address)),
            address,
            self._port,
            ssl=self._ssl,
            server_hostname=self._host if self._ssl else None,
        )
        return connection
