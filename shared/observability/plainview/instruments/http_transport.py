"""Outgoing HTTP through an httpx transport without a client: the same signals at less cost."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter

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
MOST_ORIGINS = 64  # whose texts are kept
# is called at the end of a call with status (0: no reply), error and seconds
Ended = Callable[[int, BaseException | None, float], None]


class ObservedTransport(httpx.AsyncBaseTransport):
    """Around `inner`: a client span, `traceparent`, the request ID, latency and failures.

    The names follow OpenTelemetry's semantic conventions for HTTP client spans.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, upstream: str) -> None:
        self.inner, self._upstream = inner, upstream
        self._spans: _Spans | None = None
        for kind in CLIENT_ERRORS:
            HTTP_CLIENT_FAILURES.inc(0, upstream=upstream, error_type=kind)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it through the inner transport; return when the head of the reply is here."""
        ended: Ended = _nothing
        with _GUARD:
            if self._spans is None:  # only now: the provider may be set after this was made
                self._spans = _Spans()
            ended = self._spans.begin(request)
        if (identity := request_id()) is not None:
            request.headers[REQUEST_ID_HEADER] = identity
        method = request.method if request.method in CLIENT_METHODS else "_other"
        start, status = perf_counter(), 0
        error: BaseException | None = None
        try:
            response = await self.inner.handle_async_request(request)
            status = response.status_code
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
                status_class=f"{status // 100}xx" if status else "error",
            )
            with _GUARD:
                ended(status, error, duration)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self.inner.aclose()


class _Spans:
    """Makes the spans of calls with the process's provider, and tells upstreams of them."""

    def __init__(self) -> None:
        tracer = self._tracer = trace.get_tracer(__name__)
        self._maker = (
            SpanMaker(tracer, __name__, trace.SpanKind.CLIENT)
            if isinstance(tracer, Tracer)
            else None
        )
        self._own = tracing.is_own(trace.get_tracer_provider())
        self._plain = isinstance(propagate.get_global_textmap(), TraceparentPropagator)
        self._origins: dict[tuple[bytes, bytes, int | None], tuple[str, str, int]] = {}

    def begin(self, request: httpx.Request) -> Ended:
        """Start the call's span and write `traceparent`; what is returned ends the span."""
        if tracing.left_out():
            self._tell(request, trace.get_current_span())
            return _nothing
        known = request.method in CLIENT_METHODS
        name = request.method if known else "HTTP"
        if self._maker is None:
            plain = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT)
            self._tell(request, plain)
            return partial(self._end_plain, request, plain)
        span, _ = self._maker.start(name)
        self._tell(request, span)
        if not isinstance(span, RequestSpan):
            return _nothing
        return partial(self._end, request, span)

    def _tell(self, request: httpx.Request, span: trace.Span) -> None:
        context = span.get_span_context()
        if not self._plain:
            propagate.inject(request.headers, trace.set_span_in_context(span))
        elif context.is_valid:
            request.headers["traceparent"] = (
                f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            )

    def _end(
        self,
        request: httpx.Request,
        span: RequestSpan,
        status: int,
        error: BaseException | None,
        duration_s: float,
    ) -> None:
        assert self._maker is not None  # noqa: S101 - it has started the span
        if error is not None or status >= 400:
            span.set_status(trace.StatusCode.ERROR)
        attributes = self._attributes(request, status, error)
        masked = self._own and tracing.PIPELINE.masking
        self._maker.end(span, attributes, duration_s, clean=masked)

    def _end_plain(
        self,
        request: httpx.Request,
        span: trace.Span,
        status: int,
        error: BaseException | None,
        _duration_s: float,
    ) -> None:
        span.set_attributes(self._attributes(request, status, error))
        if error is not None or status >= 400:
            span.set_status(trace.StatusCode.ERROR)
        span.end()

    def _attributes(
        self, request: httpx.Request, status: int, error: BaseException | None
    ) -> dict[str, AttributeValue]:
        url, method = request.url, request.method
        key = (url.raw_scheme, url.raw_host, url.port)
        if key not in self._origins and len(self._origins) < MOST_ORIGINS:
            self._origins[key] = _origin(url)
        origin, host, port = self._origins.get(key) or _origin(url)
        made: dict[str, AttributeValue] = {
            "http.request.method": method if method in CLIENT_METHODS else "_OTHER",
            "url.full": f"{origin}/***",
            "server.address": host,
            "server.port": port,
            "network.protocol.version": "1.1",
        }
        if not (self._own and tracing.PIPELINE.masking):
            target: bytes | None = request.extensions.get("target")
            path = url.raw_path if target is None else target.partition(b"?")[0]
            made["url.full"] = origin + path.decode("ascii", "backslashreplace")
        if status:
            made["http.response.status_code"] = status
        if error is not None:
            made["error.type"] = type(error).__qualname__
        elif status >= 400:
            made["error.type"] = str(status)
        return made


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    """The URL's beginning without user and password, its host and port."""
    beginning = f"{url.scheme}://{url.netloc.decode()}"
    return beginning, url.host, url.port or (443 if url.scheme == "https" else 80)


def _nothing(_status: int, _error: BaseException | None, _duration_s: float) -> None: ...
