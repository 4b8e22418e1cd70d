"""One request through the gateway: limited, guarded, streamed to its upstream and back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import headers
from gateway.admission import admit
from gateway.operations import Operation
from shared.errors import NotFound
from shared.web.client import IDEMPOTENT
from shared.web.client_address import client_address

if TYPE_CHECKING:
    from gateway.deps import Deps

# Our IDs are of these letters. Anything else would have to be encoded again, and what two
# servers decode differently is how `..` and `%2f` get past a gateway.
_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,127}")
BUFFERED = 64 * 1024  # a body up to here is read first, so that it can be sent twice


class Body:
    """The request's body as UpstreamClient wants it, and the news that the client has gone."""

    def __init__(self, receive: Receive, length: int | None) -> None:
        self._receive = receive
        self._chunks: bytes | None = b"" if length == 0 else None
        self.on_end: Callable[[], None] = lambda: None
        self.error: BaseException | None = None
        self.complete = length == 0
        self._ended = asyncio.Event()
        if self.complete:
            self._ended.set()

    @property
    def replayable(self) -> bool:
        """Whether all of it is kept."""
        return self._chunks is not None

    def open(self) -> bytes | AsyncIterator[bytes] | None:
        """The whole body, or its chunks as they arrive."""
        return (self._chunks or None) if self._chunks is not None else self._stream()

    async def buffer(self) -> None:
        """Read all of it."""
        self._chunks = b"".join([chunk async for chunk in self._stream()])

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            more = True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                more = message.get("more_body", False)
                if not more:
                    self.complete = True
                    self.on_end()
                    self._ended.set()
                if message.get("body"):
                    yield message["body"]
        except Exception as error:
            self.error = error
            raise

    async def disconnected(self) -> None:
        """Return when the client has gone."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


class ProxyRoute(Route):
    """All operations of one path: a real route with the upstream's template as its path."""

    def __init__(self, path: str, methods: dict[str, Operation]) -> None:
        self._operations = methods
        super().__init__(path, self._serve, methods=[*methods], include_in_schema=False)
        self.app = self._serve  # an ASGI app: the reply is streamed by us
        self.methods = set(methods)  # Starlette adds HEAD, which the upstreams do not serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        deps: Deps = scope["app"].state.deps
        operation = self._operations[scope["method"]]
        if not all(_ID.fullmatch(value) for value in scope["path_params"].values()):
            raise NotFound("There is nothing at this address")
        address = client_address(scope, deps.trusted_proxies)
        await admit(Request(scope), operation, deps, address)
        await _relay(scope, receive, send, operation, address)


async def _relay(
    scope: Scope, receive: Receive, send: Send, operation: Operation, address: str
) -> None:
    """Stream to the upstream and back; a client that leaves ends the work there too."""
    given = dict(scope["headers"])
    has_length = given.get(b"content-length", b"").isdigit()
    length = int(given[b"content-length"]) if has_length else None
    if length is None and b"transfer-encoding" not in given:
        length = 0
    body = Body(receive, length)
    keyed = operation.idempotency_key and b"idempotency-key" in given
    retry = scope["method"] in IDEMPOTENT or keyed
    if retry and length is not None and 0 < length <= BUFFERED:
        await body.buffer()
    target = operation.path.format_map(
        {name: quote(value, safe="") for name, value in scope["path_params"].items()}
    )
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    deps: Deps = scope["app"].state.deps
    upstream = deps.upstreams[operation.upstream]
    sent = headers.for_upstream(scope["headers"], address)

    async def work() -> None:
        exchange = upstream.exchange(scope["method"], target, sent, body, retry=retry)
        async with exchange as response:
            start = {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": headers.for_client(response.headers.raw),
            }
            await send(start)
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    working = asyncio.ensure_future(work())
    leaving = asyncio.ensure_future(body.disconnected())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            with suppress(ClientDisconnect):  # it left while it sent: nobody waits for a reply
                await working
    finally:
        for task in (working, leaving):
            task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.gather(working, leaving, return_exceptions=True)
