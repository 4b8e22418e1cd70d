"""A request through the gateway: admitted, read, sent to its upstream; its reply streams back."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import headers
from gateway.admission import admit
from gateway.body import read_body
from gateway.client import IDEMPOTENT
from gateway.operations import Operation
from plainview.client_address import client_address
from shared.errors import NotFound

if TYPE_CHECKING:
    from gateway.deps import Deps

# The characters of our IDs. Others would have to be percent-encoded again for the upstream, and
# where two servers decode differently, `..` and `%2f` get past a gateway.
_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,127}")
WATCH_S = 0.05  # most calls are over by then and never pay for watching whether the client left


class ProxyRoute(Route):
    """All operations of one path; a route with the template as its path, as telemetry needs it."""

    def __init__(self, path: str, methods: dict[str, Operation]) -> None:
        self._operations = methods
        super().__init__(path, self._serve, methods=[*methods], include_in_schema=False)
        self.app = self._serve  # an ASGI app instead of an endpoint, to stream the reply
        self.methods = set(methods)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        deps: Deps = scope["app"].state.deps
        operation = self._operations[scope["method"]]
        if not all(_ID.fullmatch(value) for value in scope["path_params"].values()):
            raise NotFound("There is nothing at this address")
        address = client_address(scope, deps.trusted_proxies)
        client = await admit(Request(scope), operation, deps, address)
        try:
            body = await read_body(receive, scope["headers"], operation.max_body)
            with _Watch(receive):
                async with _exchange(scope, body, operation, address, client) as response:
                    await _reply(response, scope["method"], send)
        except ClientDisconnect:
            return  # nobody waits for a reply


class _Watch:
    """Cancels the block and raises ClientDisconnect when the client leaves; its body was read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI server runs us in one
        self._task = task
        self._timer = self._loop.call_later(WATCH_S, self._look)

    def _look(self) -> None:
        self._watching = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._left and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise ClientDisconnect


def _exchange(
    scope: Scope, body: bytes, operation: Operation, address: str, client: str
) -> AbstractAsyncContextManager[httpx.Response]:
    """The call of the upstream for this request; it is made when the context is entered."""
    deps: Deps = scope["app"].state.deps
    target = operation.path.format_map(scope["path_params"]).encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    sent = headers.for_upstream(scope["headers"], address)
    keyed = operation.idempotency_key and any(name == b"idempotency-key" for name, _ in sent)
    return deps.upstreams[operation.upstream].exchange(
        operation.method,  # GET for a HEAD, so that upstreams need no routes for HEAD
        target,
        sent,
        body,
        client=client,
        retry=operation.method in IDEMPOTENT or keyed,
    )


async def _reply(response: httpx.Response, method: str, send: Send) -> None:
    """Pass on head and body as they come.

    With a `Content-Length` the last chunk is known and sent as the last, which saves a message.
    """
    raw = response.headers.raw
    status = response.status_code
    sent = headers.for_client(raw, status)
    await send({"type": "http.response.start", "status": status, "headers": sent})
    left = headers.length(raw)
    ended = False
    if method != "HEAD" and status not in (204, 304):
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it is from one
        async for chunk in response.stream:
            left = None if left is None else left - len(chunk)
            ended = left == 0
            await send({"type": "http.response.body", "body": chunk, "more_body": not ended})
    if not ended:
        await send({"type": "http.response.body", "body": b""})
