"""Outgoing HTTP through an httpx transport without a client: the same signals at less cost."""

from __future__ import annotations

from time import perf_counter

import httpx
from opentelemetry import propagate, trace

from ..context import REQUEST_ID_HEADER, request_id
from ..signals import CLIENT_ERRORS, CLIENT_METHODS, HTTP_CLIENT_DURATION, HTTP_CLIENT_FAILURES
from .http_client import error_type


class ObservedTransport(httpx.AsyncBaseTransport):
    """Around `inner`: a client span, `traceparent`, the request ID, latency and failures.

    The names follow OpenTelemetry's semantic conventions for HTTP client spans.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, upstream: str) -> None:
        self.inner, self._upstream = inner, upstream
        self._tracer: trace.Tracer | None = None
        for kind in CLIENT_ERRORS:
            HTTP_CLIENT_FAILURES.inc(0, upstream=upstream, error_type=kind)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it through the inner transport; return when the head of the reply is here."""
        if self._tracer is None:  # only now: the provider may be set after this was made
            self._tracer = trace.get_tracer(__name__)
        method = request.method if request.method in CLIENT_METHODS else "_other"
        span = self._tracer.start_span(
            request.method if method != "_other" else "HTTP", kind=trace.SpanKind.CLIENT
        )
        if span.is_recording():
            span.set_attributes(_attributes(request))
        propagate.inject(request.headers, trace.set_span_in_context(span))
        if (identity := request_id()) is not None:
            request.headers[REQUEST_ID_HEADER] = identity
        start, status = perf_counter(), "error"
        try:
            response = await self.inner.handle_async_request(request)
            status = f"{response.status_code // 100}xx"
            if span.is_recording():
                span.set_attribute("http.response.status_code", response.status_code)
                if response.status_code >= 400:
                    span.set_attribute("error.type", str(response.status_code))
                    span.set_status(trace.StatusCode.ERROR)
            return response
        except BaseException as error:
            HTTP_CLIENT_FAILURES.inc(upstream=self._upstream, error_type=error_type(error))
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            span.end()
            HTTP_CLIENT_DURATION.observe(
                perf_counter() - start, upstream=self._upstream, method=method, status_class=status
            )

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self.inner.aclose()


def _attributes(request: httpx.Request) -> dict[str, str | int]:
    url = request.url
    target = request.extensions.get("target")
    full = url if target is None else url.copy_with(raw_path=target.partition(b"?")[0])
    known = request.method in CLIENT_METHODS
    return {
        "http.request.method": request.method if known else "_OTHER",
        "url.full": str(full),
        "server.address": url.host,
        "server.port": url.port or (443 if url.scheme == "https" else 80),
        "network.protocol.version": "1.1",
    }
