"""The outermost middleware: one record per request, and the library's own pages."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from .client_address import Networks, is_within, may_read
from .context import REQUEST_ID_HEADER, accepted_id, current, enter, leave, new_request_id
from .guarded import guarded
from .record import CLIENT_CLOSED_REQUEST, METHODS, OTHER_METHOD, Record, Writer
from .routes import RouteFinder, path_below
from .server_spans import ServerSpans
from .websockets import Connection

# takes the value of Accept; returns status, body and content type
Page = Callable[[str], tuple[int, bytes, str]]
# is called with an exception that nothing handled
FailureLog = Callable[[BaseException], None]

_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
_FORWARDED = (b"x-forwarded-for", b"forwarded")
_SCOPE_KEY = "plainview"
_GUARD = guarded("middleware")


class Metrics(Protocol):
    """What counts requests."""

    sizes: bool  # whether bytes of requests are counted

    def begin(self, method: str) -> None:
        """Count a request as in progress."""

    def end(self, record: Record, scope: Scope) -> None:
        """Count a request as over."""

    def failed_late(self, record: Record, phase: str) -> None:
        """Count an exception that came after a good status was sent."""


class RequestMiddleware:
    """Pure ASGI, outside of everything else, so that replies to failures have the ID too."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: RouteFinder,
        pages: dict[str, Page] | None = None,
        allow: Networks | None = None,
        trusted_proxies: Networks = (),
        spans: ServerSpans | None = None,
        traced: bool = False,
        metrics: Metrics | None = None,
        app_name: str = "service",
        access: Writer | None = None,
        failure: FailureLog | None = None,
    ) -> None:
        self.app = app
        self.routes = routes
        self._pages = pages or {}
        self._allow = allow
        self._trusted = trusted_proxies
        self.spans = spans
        self.traced = traced or spans is not None
        self.metrics = metrics
        self._app_name = app_name
        self.access = access
        self.failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given, traceparents, forwarded = b"", [], False
        for name, value in scope["headers"]:
            if name == _ID_HEADER:
                given = given or value
            elif name == b"traceparent":
                traceparents.append(value)
            elif name in _FORWARDED:
                forwarded = True
        page = self._page(scope, forwarded=forwarded) if kind == "http" else None
        outer = scope.get(_SCOPE_KEY)
        if isinstance(outer, Record):  # this app is mounted in another observed app
            if page is None:
                await self.app(scope, receive, send)
            else:
                outer.silent = True
                await _answer(page, scope, receive, send, outer.request_id)
            return
        record = Record(accepted_id(given.decode("latin-1")) or new_request_id())
        token = enter(record)
        try:
            if page is not None:
                await _answer(page, scope, receive, send, record.request_id)
            elif kind == "websocket":
                await self._websocket(record, scope, receive, send, traceparents)
            else:
                await _Exchange(self, scope, record, send).run(receive, traceparents)
        finally:
            leave(token)

    async def _websocket(
        self, record: Record, scope: Scope, receive: Receive, send: Send, traceparents: list[bytes]
    ) -> None:
        scope[_SCOPE_KEY] = record
        if self.traced:
            scope["fastapi.telemetry"] = None
        error = await Connection(scope, record, self.routes, self._app_name).run(
            self.app,
            receive,
            send,
            self.spans,
            traceparents,
            metrics=self.metrics is not None,
            access=self.access is not None,
        )
        if error is not None:
            if record.error is not None and self.failure is not None:
                with _GUARD:
                    self.failure(record.error)
            raise error

    def _page(self, scope: Scope, *, forwarded: bool) -> Page | None:
        page = self._pages.get(path_below(scope["path"], scope.get("root_path", "")))
        if page is None:
            return None
        peer = scope.get("client")
        # the client of a forwarded request is known only if a trusted proxy forwarded it
        if forwarded and not (peer and is_within(str(peer[0]), self._trusted)):
            return None
        return page if may_read(scope, self._allow, self._trusted) else None


class _Exchange:
    """One request: adds the ID to the reply, fills the record and writes it at the end."""

    __slots__ = ("middleware", "record", "root_path", "scope", "send")

    def __init__(
        self, middleware: RequestMiddleware, scope: Scope, record: Record, send: Send
    ) -> None:
        self.middleware = middleware
        self.scope = scope
        self.record = record
        self.send = send
        self.root_path = scope.get("root_path", "")
        method = scope["method"]
        record.method = method if method in METHODS else OTHER_METHOD
        scope[_SCOPE_KEY] = record

    async def run(self, receive: Receive, traceparents: list[bytes]) -> None:
        middleware, record, scope = self.middleware, self.record, self.scope
        token: Any = None
        if middleware.traced:
            scope["fastapi.telemetry"] = None  # else a mounted FastAPI app makes another span
        if middleware.metrics is not None:
            with _GUARD:
                middleware.metrics.begin(record.method)
            if middleware.metrics.sizes:
                receive = self.counted(receive)
        if middleware.spans is not None:
            with _GUARD:
                token = otel_context.attach(middleware.spans.begin(record, scope, traceparents))
        try:
            await middleware.app(scope, receive, self.on_send)
            if not record.status and not await Request(scope, receive).is_disconnected():
                record.status = 500  # the server's own reply when the app sent none
        except Exception as error:
            record.error = error
            if 0 < record.status < 500 and middleware.metrics is not None:
                phase = "background" if record.ended else "body"
                self.end()
                with _GUARD:
                    middleware.metrics.failed_late(record, phase)
            if middleware.failure is not None:
                with _GUARD:
                    middleware.failure(error)
            if not record.status:  # the application's own handler of errors failed
                reply = PlainTextResponse("Internal Server Error", 500)
                await reply(scope, receive, self.on_send)
            raise
        finally:
            self.end()
            if token is not None:
                otel_context.detach(token)

    def counted(self, receive: Receive) -> Receive:
        async def counting() -> Message:
            message = await receive()
            self.record.received += len(message.get("body", b""))
            return message

        return counting

    async def on_send(self, message: Message) -> None:
        kind, record = message["type"], self.record
        if kind == "http.response.start":
            record.status = message["status"]
            if self.middleware.spans is None:  # another instrumentation may have made it
                record.span = trace.get_current_span()
            kept = [item for item in message.get("headers", ()) if item[0].lower() != _ID_HEADER]
            kept.append((_ID_HEADER, record.request_id.encode()))
            message = {**message, "headers": kept}
        elif kind == "http.response.body":
            record.size += len(message.get("body", b""))
            if not message.get("more_body"):
                self.end()  # before the last byte is sent, so without background tasks
        elif kind == "http.response.pathsend":
            self.end()
        await self.send(message)

    def end(self) -> None:
        record, middleware = self.record, self.middleware
        if record.ended:
            return
        record.ended = True
        record.duration_s = perf_counter() - record.start
        if not record.status:  # nothing was sent, because the client has gone
            record.status = CLIENT_CLOSED_REQUEST
        with _GUARD:
            record.route = record.route or middleware.routes.template(self.scope, self.root_path)
            if record.method == OTHER_METHOD and record.status in (405, 501):
                record.route = None  # no route takes an unknown method
        if middleware.metrics is not None:
            with _GUARD:
                middleware.metrics.end(record, self.scope)
        if record.silent:  # its span is not ended, so not exported
            return
        if middleware.access is not None:
            with _GUARD:
                middleware.access(record, self.scope)
        if middleware.spans is not None:
            with _GUARD:
                middleware.spans.end(record, self.scope)


class Watch:
    """Notes exceptions that the application did not handle; inside of Starlette's error handler.

    That handler replies before it raises again, so the outermost middleware, which writes the
    record with the reply, would learn of the exception too late.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            record = current()
            if isinstance(record, Record) and not isinstance(error, WebSocketDisconnect):
                record.error = error
            raise


async def _answer(page: Page, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
    """Reply with a page of the library; made in a thread, as a long one would block the loop."""
    headers = {REQUEST_ID_HEADER: request_id, "Cache-Control": "no-store"}
    if scope["method"] not in ("GET", "HEAD"):
        response = Response(None, 405, {**headers, "Allow": "GET, HEAD"})
    else:
        accept = ",".join(Headers(scope=scope).getlist("accept"))
        status, body, content_type = await asyncio.to_thread(page, accept)
        response = Response(body, status, headers, content_type)
    await response(scope, receive, send)
