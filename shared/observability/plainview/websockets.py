"""Writes span, metrics and log line of a WebSocket connection from one record."""

from time import perf_counter
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from . import logs, stdlib_logs
from .context import REQUEST_ID_HEADER
from .guarded import guarded
from .record import Record
from .routes import RouteFinder
from .server_spans import ServerSpans
from .signals import WEBSOCKET_CLOSED, WEBSOCKET_CONNECTIONS, WEBSOCKET_DURATION

_GUARD = guarded("middleware")
_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
ABNORMAL, INTERNAL_ERROR = 1006, 1011  # RFC 6455, section 7.4.1


class Connection:
    """Follows a connection; `close_code` is the code of the side that closed it first.

    A connection that the application did not accept has status 403 and no code. The code is 1006
    if the connection ended without one, and 1011 if the application failed.
    """

    def __init__(self, scope: Scope, record: Record, routes: RouteFinder, app_name: str) -> None:
        self._scope = scope
        self._record = record
        self._routes = routes
        self._app_name = app_name
        self._root_path = scope.get("root_path", "")
        self._close_code: int | None = None
        self._accepted = False
        record.method, record.websocket = "GET", True

    async def run(
        self,
        app: ASGIApp,
        receive: Receive,
        send: Send,
        spans: ServerSpans | None,
        traceparents: list[bytes],
        *,
        metrics: bool,
        access: bool,
    ) -> BaseException | None:
        """Serve the connection; returns the exception that the application raised, if any.

        WebSocketDisconnect, raised when the client has left, is not counted as a failure.
        """
        record, scope, token = self._record, self._scope, None
        raised: BaseException | None = None
        if metrics:
            WEBSOCKET_CONNECTIONS.inc(app_name=self._app_name)
        if spans is not None:
            with _GUARD:
                token = otel_context.attach(spans.begin(record, scope, traceparents))
        try:
            sending = self._sending(send, traced=spans is not None)
            await app(scope, self._receiving(receive), sending)
        except WebSocketDisconnect as error:
            raised = error
            setattr(error, stdlib_logs.LOGGED, True)
        except Exception as error:
            raised = record.error = error
        finally:
            self._end(metrics=metrics, access=access)
            if spans is not None and token is not None:
                with _GUARD:
                    spans.end(record, scope)
                otel_context.detach(token)
        return raised

    def _receiving(self, receive: Receive) -> Receive:
        async def watched() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect" and self._close_code is None:
                self._close_code = message.get("code") or ABNORMAL
            return message

        return watched

    def _sending(self, send: Send, *, traced: bool) -> Send:
        async def watched(message: Message) -> None:
            if not traced:  # another instrumentation may have made a span
                self._record.span = trace.get_current_span()
            if message["type"] == "websocket.accept":
                self._accepted = True
                kept = [item for item in message.get("headers", ()) if item[0] != _ID_HEADER]
                kept.append((_ID_HEADER, self._record.request_id.encode()))
                message = {**message, "headers": kept}
            elif message["type"] == "websocket.close" and self._close_code is None:
                self._close_code = message.get("code", 1000)
            await send(message)

        return watched

    def _end(self, *, metrics: bool, access: bool) -> None:
        record = self._record
        record.ended = True
        record.duration_s = perf_counter() - record.start
        record.status = 101 if self._accepted else 403
        code = INTERNAL_ERROR if record.error is not None else self._close_code or ABNORMAL
        with _GUARD:
            record.route = record.route or self._routes.template(self._scope, self._root_path)
        if metrics:
            about: dict[str, Any] = {"path": record.path, "app_name": self._app_name}
            WEBSOCKET_CONNECTIONS.inc(-1, app_name=self._app_name)
            WEBSOCKET_CLOSED.inc(close_code=code if self._accepted else "refused", **about)
            WEBSOCKET_DURATION.observe(record.duration_s, **about)
        if access:
            with _GUARD:
                logs.websocket(record, code if self._accepted else None, self._scope)
