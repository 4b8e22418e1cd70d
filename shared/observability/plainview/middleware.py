"""The outermost middleware: request ID, context of the request, probes, metrics page, log lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address, ip_address
from time import perf_counter

from opentelemetry import context as otel_context
from opentelemetry import trace
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .context import REQUEST_ID_HEADER, RequestContext, accepted_id, request_context
from .guarded import guarded
from .http_metrics import METHODS, OTHER_METHOD, UNKNOWN, route_template
from .settings import Network

# the value of Accept to status, body and content type
Page = Callable[[str], tuple[int, bytes, str]]
# after a request: method, route, status, duration in seconds
AccessLog = Callable[[str, str, int, float], None]
# an exception that nothing handled
FailureLog = Callable[[BaseException], None]

_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
_GUARD = guarded("middleware")


def allowed(client: tuple[str, int] | None, networks: tuple[Network, ...] | None) -> bool:
    """Whether a peer is inside the networks; None is everyone, an unknown peer is outside."""
    if networks is None:
        return True
    try:
        address = ip_address((client or ("",))[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _route_path(scope: Scope) -> str:
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


class RequestMiddleware:
    """Pure ASGI, around everything else, so that replies to failures have the ID too."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        pages: dict[str, Page],
        allow: tuple[Network, ...] | None = None,
        access: AccessLog | None = None,
        failure: FailureLog | None = None,
    ) -> None:
        self.app = app
        self._pages = pages
        self._allow = allow
        self.access = access
        self.failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; websockets only get a context."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with request_context(
            accepted_id(Headers(scope=scope).get(REQUEST_ID_HEADER, ""))
        ) as context:
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
                return
            page = self._pages.get(_route_path(scope))
            if page is not None and allowed(scope.get("client"), self._allow):
                await _answer(page, scope, receive, send, context.request_id)
                return
            if scope["method"] not in METHODS:
                scope["method"] = OTHER_METHOD
            await _Exchange(self, scope, context, send).run(receive)


class _Exchange:
    """One request on its way: adds the header, sees status and end."""

    def __init__(
        self, middleware: RequestMiddleware, scope: Scope, context: RequestContext, send: Send
    ) -> None:
        self.middleware = middleware
        self.scope = scope
        self.context = context
        self.send = send
        self.root_path = scope.get("root_path", "")
        self.status = 0
        self.ended = False
        self.span: trace.Span = trace.INVALID_SPAN
        self.start = perf_counter()

    async def run(self, receive: Receive) -> None:
        try:
            await self.middleware.app(self.scope, receive, self.on_send)
        except Exception as error:
            failure = self.middleware.failure
            if failure is not None:
                self._in_span(partial(failure, error))
            if not self.status:  # the application's own handler of errors failed
                reply = PlainTextResponse("Internal Server Error", 500)
                await reply(self.scope, receive, self.on_send)
            raise
        finally:
            self._end()

    async def on_send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            # the server's span is current here, and not any more once the app has returned
            self.span = trace.get_current_span()
            kept = [item for item in message.get("headers", ()) if item[0].lower() != _ID_HEADER]
            kept.append((_ID_HEADER, self.context.request_id.encode()))
            message = {**message, "headers": kept}
        elif kind == "http.response.body" and not message.get("more_body"):
            self._end()  # not after the background tasks, and before the client has it all
        await self.send(message)

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        seconds = perf_counter() - self.start
        context, scope = self.context, self.scope
        context.route = context.route or route_template(scope, self.root_path)
        access = self.middleware.access
        if access is not None:
            route = context.route or UNKNOWN
            status = self.status or 499  # nothing was sent, because the client has gone
            self._in_span(partial(access, scope["method"], route, status, seconds))

    def _in_span(self, log: Callable[[], None]) -> None:
        """Log with the IDs of the server's span, also when that is over."""
        with _GUARD:
            if trace.get_current_span() is self.span:
                log()
                return
            token = otel_context.attach(trace.set_span_in_context(self.span))
            try:
                log()
            finally:
                otel_context.detach(token)


async def _answer(page: Page, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
    """Reply with a page of the library's own."""
    headers = {REQUEST_ID_HEADER: request_id, "Cache-Control": "no-store"}
    if scope["method"] not in ("GET", "HEAD"):
        response = Response(None, 405, {**headers, "Allow": "GET, HEAD"})
    else:
        status, body, content_type = page(",".join(Headers(scope=scope).getlist("accept")))
        response = Response(body, status, headers, content_type)
    await response(scope, receive, send)
