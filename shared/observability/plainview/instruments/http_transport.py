"""Outgoing HTTP with httpx: a transport around the client's own that makes all signals.

A request that is redirected is several: each has its span, and is counted.
"""

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any, Self

import httpx
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import Tracer
from opentelemetry.util.types import AttributeValue

from .. import tracing
from ..context import REQUEST_ID_HEADER, request_id
from ..guarded import guarded
from ..propagation import TraceparentPropagator
from ..request_span import RequestSpan, SpanMaker
from ..signals import CLIENT_ERRORS, CLIENT_METHODS, HTTP_CLIENT_DURATION, HTTP_CLIENT_FAILURES


def error_type(error: BaseException) -> str:
    """Which kind of failure an exception is."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    # httpx-aiohttp raises ConnectTimeout for a refused connection
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return "connect"
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return "timeout"
    return "protocol" if isinstance(error, httpx.TransportError) else "other"


_GUARD = guarded("http_client")
_MOST_ORIGINS = 64  # whose texts are kept


def observe(
    given: httpx.AsyncClient | httpx.AsyncBaseTransport, upstream: str
) -> httpx.AsyncClient | httpx.AsyncBaseTransport:
    """Instrument one client, or wrap a transport; a second call with it changes nothing."""
    if isinstance(given, httpx.AsyncBaseTransport):
        return given if isinstance(given, ObservedTransport) else ObservedTransport(given, upstream)
    if not isinstance(given, httpx.AsyncClient):
        raise TypeError(f"needs an httpx.AsyncClient or an async transport, not {type(given)}")
    # where OpenTelemetry's instrumentation takes hold, too: httpx offers no public place
    given._transport = _wrapped(given._transport, upstream)
    given._mounts = {key: way and _wrapped(way, upstream) for key, way in given._mounts.items()}
    return given


def _wrapped(inner: httpx.AsyncBaseTransport, upstream: str) -> httpx.AsyncBaseTransport:
    if isinstance(inner, ObservedTransport):
        return inner
    return ObservedTransport(inner, upstream, bodies=True)


class ObservedTransport(httpx.AsyncBaseTransport):
    """Around `inner`: a client span, `traceparent`, the request ID, latency and failures.

    The names follow OpenTelemetry's semantic conventions for HTTP client spans. With `bodies` a
    reply that breaks off is a failure too.
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, upstream: str, *, bodies: bool = False
    ) -> None:
        self.inner, self._upstream, self._bodies = inner, upstream, bodies
        self._spans: _Spans | None = None
        for kind in CLIENT_ERRORS:
            HTTP_CLIENT_FAILURES.inc(0, upstream=upstream, error_type=kind)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it through the inner transport; return when the head of the reply is here."""
        span: trace.Span | None = None
        with _GUARD:
            if self._spans is None:  # only now: the provider may be set after this was made
                self._spans = _Spans()
            span = self._spans.begin(request)
        if (identity := request_id()) is not None:
            request.headers[REQUEST_ID_HEADER] = identity
        method = request.method if request.method in CLIENT_METHODS else "_other"
        start, error = perf_counter(), None
        response: httpx.Response | None = None
        try:
            response = await self.inner.handle_async_request(request)
            if self._bodies and isinstance(response.stream, httpx.AsyncByteStream):
                response.stream = _Body(response.stream, self._upstream)
            return response
        except BaseException as raised:
            error = raised
            HTTP_CLIENT_FAILURES.inc(upstream=self._upstream, error_type=error_type(raised))
            raise
        finally:
            duration = perf_counter() - start
            HTTP_CLIENT_DURATION.observe(
                duration,
                upstream=self._upstream,
                method=method,
                status_class=f"{response.status_code // 100}xx" if response else "error",
            )
            if span is not None and self._spans is not None:
                with _GUARD:
                    self._spans.end(span, request, response, error, duration)

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.inner.__aexit__(*raised)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a reply, which may fail after its head has come."""

    def __init__(self, inner: httpx.AsyncByteStream, upstream: str) -> None:
        self._inner, self._upstream = inner, upstream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._inner:
                yield part
        except (Exception, asyncio.CancelledError) as error:
            HTTP_CLIENT_FAILURES.inc(upstream=self._upstream, error_type=error_type(error))
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Spans:
    """Makes the spans of calls with the process's provider, and tells upstreams of them."""

    def __init__(self) -> None:
        tracer = self._tracer = trace.get_tracer(__name__)
        #: None without the SDK: there is another implementation, or no provider yet
        self._maker: SpanMaker | None = None
        if isinstance(tracer, Tracer):
            self._maker = SpanMaker(tracer, __name__, trace.SpanKind.CLIENT)
        self._own = tracing.is_own(trace.get_tracer_provider())
        self._plain = isinstance(propagate.get_global_textmap(), TraceparentPropagator)
        self._origins: dict[tuple[bytes, bytes, int | None], tuple[str, str, int]] = {}

    def begin(self, request: httpx.Request) -> trace.Span | None:
        """Write `traceparent`; returns the call's span, which has to be ended, if it has one."""
        if tracing.left_out():
            self._tell(request, trace.get_current_span())
            return None
        name = request.method if request.method in CLIENT_METHODS else "HTTP"
        if self._maker is None:
            plain = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT)
            self._tell(request, plain)
            return plain if plain.is_recording() else None
        span, _ = self._maker.start(name)
        self._tell(request, span)
        return span if isinstance(span, RequestSpan) else None

    def _tell(self, request: httpx.Request, span: trace.Span) -> None:
        context = span.get_span_context()
        if not self._plain:
            propagate.inject(request.headers, trace.set_span_in_context(span))
        elif context.is_valid:
            request.headers["traceparent"] = (
                f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            )

    def end(
        self,
        span: trace.Span,
        request: httpx.Request,
        reply: httpx.Response | None,
        error: BaseException | None,
        duration_s: float,
    ) -> None:
        if reply is None or reply.status_code >= 400:
            span.set_status(trace.StatusCode.ERROR)
        attributes = self._attributes(request, reply, error)
        if isinstance(span, RequestSpan) and self._maker is not None:
            masked = self._own and tracing.PIPELINE.masking
            self._maker.end(span, attributes, duration_s, clean=masked)
        else:
            span.set_attributes(attributes)
            span.end()

    def _attributes(
        self, request: httpx.Request, reply: httpx.Response | None, error: BaseException | None
    ) -> dict[str, AttributeValue]:
        url, method = request.url, request.method
        key = (url.raw_scheme, url.raw_host, url.port)
        if key not in self._origins and len(self._origins) < _MOST_ORIGINS:
            self._origins[key] = _origin(url)
        origin, host, port = self._origins.get(key) or _origin(url)
        made: dict[str, AttributeValue] = {
            "http.request.method": method if method in CLIENT_METHODS else "_OTHER",
            "url.full": f"{origin}/***",
            "server.address": host,
            "server.port": port,
        }
        if not (self._own and tracing.PIPELINE.masking):
            target: bytes | None = request.extensions.get("target")
            path = url.raw_path if target is None else target.partition(b"?")[0]
            made["url.full"] = origin + path.decode("ascii", "backslashreplace")
        if reply is not None:
            version: bytes = reply.extensions.get("http_version", b"HTTP/1.1")
            made["network.protocol.version"] = version.decode("ascii", "replace")[5:]
            made["http.response.status_code"] = reply.status_code
            if reply.status_code >= 400:
                made["error.type"] = str(reply.status_code)
        elif error is not None:
            made["error.type"] = type(error).__qualname__
        return made


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    """The URL's beginning without user and password, its host and port."""
    beginning = f"{url.scheme}://{url.netloc.decode()}"
    return beginning, url.host, url.port or (443 if url.scheme == "https" else 80)
