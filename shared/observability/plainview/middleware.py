"""The outermost middleware: one record per request, and the library's own pages."""

import asyncio
from collections.abc import Callable
from time import perf_counter

from opentelemetry import context as otel_context
from opentelemetry import trace
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from .client_address import Networks, handed_on, may_read
from .context import REQUEST_ID_HEADER, accepted_id, current, enter, leave, new_request_id
from .guarded import guarded
from .http_metrics import HttpMetrics
from .record import CLIENT_CLOSED_REQUEST, METHODS, OTHER_METHOD, Record
from .routes import RouteFinder, path_below
from .server_spans import ServerSpans
from .websockets import Connection

# takes the value of Accept; returns status, body and content type
Page = Callable[[str], tuple[int, bytes, str]]

_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
_SCOPE_KEY = "plainview"
_GUARD = guarded("middleware")


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
        metrics: HttpMetrics | None = None,
        app_name: str = "service",
        access: Callable[[Record, Scope], None] | None = None,
        failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`access` and `failure` are called at the end, `failure` if nothing handled an error."""
        self.app = app
        self.routes = routes
        self._pages = pages or {}
        self._allow = allow
        self._trusted = trusted_proxies
        self.spans = spans
        self.traced = traced or spans is not None
        self.metrics = metrics
        self.app_name = app_name
        self.access = access
        self.failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given, traceparents = b"", []
        for name, value in scope["headers"]:
            if name == _ID_HEADER:
                given = given or value
            elif name == b"traceparent":
                traceparents.append(value)
        page = self._page(scope) if kind == "http" else None
        outer = scope.get(_SCOPE_KEY)
        if isinstance(outer, Record):  # this app is mounted in another observed app
            if page is None:
                await self.app(scope, receive, send)
            else:
                outer.silent = True
                await _answer(page, scope, receive, send, outer.request_id)
            return
        record = Record(accepted_id(given.decode("latin-1")) or new_request_id())
        token, attached = enter(record), None
        try:
            if page is not None:
                await _answer(page, scope, receive, send, record.request_id)
                return
            kind_of = Connection if kind == "websocket" else _Exchange
            exchange = kind_of(self, scope, record, send)
            scope[_SCOPE_KEY] = record
            if self.traced:
                scope["fastapi.telemetry"] = None  # else a mounted FastAPI app makes another span
            if self.spans is not None:
                with _GUARD:
                    attached = otel_context.attach(self.spans.begin(record, scope, traceparents))
            await exchange.run(receive)
        finally:
            if attached is not None:
                otel_context.detach(attached)
            leave(token)

    def _page(self, scope: Scope) -> Page | None:
        page = self._pages.get(path_below(scope["path"], scope.get("root_path", "")))
        if page is None or handed_on(scope, self._trusted):
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

    async def run(self, receive: Receive) -> None:
        middleware, record, scope = self.middleware, self.record, self.scope
        if middleware.metrics is not None:
            with _GUARD:
                middleware.metrics.begin(record.method)
            if middleware.metrics.sizes:
                receive = self.counted(receive)
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
