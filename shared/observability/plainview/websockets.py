"""A WebSocket connection: span, metrics and log line from one record."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from . import stdlib_logs
from .context import REQUEST_ID_HEADER
from .guarded import guarded
from .record import Record
from .signals import WEBSOCKET_CLOSED, WEBSOCKET_CONNECTIONS, WEBSOCKET_DURATION

if TYPE_CHECKING:
    from .middleware import RequestMiddleware

_GUARD = guarded("middleware")
_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
_ABNORMAL, _INTERNAL_ERROR = 1006, 1011  # RFC 6455, section 7.4.1


class Connection:
    """Follows a connection; its close code is that of the side that closed it first.

    A connection that the application did not accept has status 403 and no code. The code is 1006
    if the connection ended without one, and 1011 if the application failed.
    """

    def __init__(
        self, middleware: RequestMiddleware, scope: Scope, record: Record, send: Send
    ) -> None:
        self.middleware = middleware
        self.scope = scope
        self.record = record
        self.send = send
        self.root_path = scope.get("root_path", "")
        self.close_code: int | None = None
        record.method, record.websocket, record.status = "GET", True, 403

    async def run(self, receive: Receive) -> None:
        """Serve the connection; a client that has left is no failure."""
        middleware, record = self.middleware, self.record
        if middleware.metrics is not None:
            WEBSOCKET_CONNECTIONS.inc(app_name=middleware.app_name)

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect" and self.close_code is None:
                self.close_code = message.get("code") or _ABNORMAL
            return message

        try:
            await middleware.app(self.scope, receiving, self.on_send)
        except WebSocketDisconnect as error:
            setattr(error, stdlib_logs.LOGGED, True)
            raise
        except Exception as error:
            record.error = error
            self.end()
            if middleware.failure is not None:
                with _GUARD:
                    middleware.failure(error)
            raise
        finally:
            self.end()

    async def on_send(self, message: Message) -> None:
        if self.middleware.spans is None:  # another instrumentation may have made a span
            self.record.span = trace.get_current_span()
        if message["type"] == "websocket.accept":
            self.record.status = 101
            kept = [item for item in message.get("headers", ()) if item[0] != _ID_HEADER]
            kept.append((_ID_HEADER, self.record.request_id.encode()))
            message = {**message, "headers": kept}
        elif message["type"] == "websocket.close" and self.close_code is None:
            self.close_code = message.get("code", 1000)
        await self.send(message)

    def end(self) -> None:
        """Write metrics, line and span, once."""
        middleware, record = self.middleware, self.record
        if record.ended:
            return
        record.ended = True
        record.duration_s = perf_counter() - record.start
        if record.status == 101:
            code = self.close_code or _ABNORMAL
            record.close_code = code if record.error is None else _INTERNAL_ERROR
        with _GUARD:
            record.route = record.route or middleware.routes.template(self.scope, self.root_path)
        if middleware.metrics is not None:
            about: dict[str, Any] = {"path": record.path, "app_name": middleware.app_name}
            WEBSOCKET_CONNECTIONS.inc(-1, app_name=middleware.app_name)
            WEBSOCKET_CLOSED.inc(close_code=record.close_code or "refused", **about)
            WEBSOCKET_DURATION.observe(record.duration_s, **about)
        if middleware.access is not None:
            with _GUARD:
                middleware.access(record, self.scope)
        if middleware.spans is not None:
            with _GUARD:
                middleware.spans.end(record, self.scope)
