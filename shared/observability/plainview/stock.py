"""The stock instruments: spans by `FastAPIInstrumentor`, HTTP metrics by starlette-exporter.

Each is behind a setting and needs the extra `plainview[stock]`. They cost more and match the
route again; on ordinary routes they give the same spans and series.
"""

import string
from collections.abc import Callable
from urllib.parse import quote

from fastapi import FastAPI
from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import request_id
from .http_metrics import Collectors
from .record import METHODS
from .settings import ObservabilitySettings
from .tracing import exemplar

_UNTRACED = r"^[^/]+//[^/]+/(health(/[^/]*)?|metrics)$"
_READ = (b"host", b"user-agent", b"traceparent", b"content-length")
_GIVEN = "plainview.given"


def instrument_spans(app: FastAPI) -> Callable[[ASGIApp], ASGIApp]:
    """Let OpenTelemetry's instrumentation make the server spans; ImportError without the extra.

    What is built afterwards goes into `Escaped`, what is inside of it into what is returned.
    """
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415

    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=trace.get_tracer_provider(),
        excluded_urls=_UNTRACED,
        exclude_spans=["receive", "send"],
        server_request_hook=_add_request_id,
    )
    return Given


def _add_request_id(span: trace.Span, scope: Scope) -> None:
    if (identity := request_id()) is not None:
        span.set_attribute("request_id", identity)


class Escaped:
    """Outside of the instrumentation: escapes bytes that are not UTF-8, at which it raises."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; ASCII, by far the most frequent case, is unchanged."""
        if scope["type"] in ("http", "websocket"):
            query, headers = scope["query_string"], scope["headers"]
            if not query.isascii() or not all(value.isascii() for _, value in headers):
                scope[_GIVEN] = query, headers
                scope["query_string"] = _ascii(query)
                scope["headers"] = [
                    (name, _ascii(value) if name in _READ else value) for name, value in headers
                ]
        await self.app(scope, receive, send)


class Given:
    """Inside of the instrumentation: gives the application the bytes that the client sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _GIVEN in scope:
            scope["query_string"], scope["headers"] = scope.pop(_GIVEN)
        await self.app(scope, receive, send)


def _ascii(value: bytes) -> bytes:
    return value if value.isascii() else quote(value, " " + string.punctuation).encode()


def counting(made: Collectors, settings: ObservabilitySettings) -> Callable[[ASGIApp], ASGIApp]:
    """What lets starlette-exporter count an app in the metrics `made`; ImportError without it."""
    from starlette_exporter import PrometheusMiddleware  # noqa: PLC0415

    PrometheusMiddleware._metrics.update(made.named)

    def wrap(app: ASGIApp) -> ASGIApp:
        counted = PrometheusMiddleware(
            app,
            app_name=settings.service_name,
            prefix="http",
            group_paths=True,
            filter_unhandled_paths=False,
            group_unhandled_paths=True,
            buckets=settings.latency_buckets,
            exemplars=exemplar if settings.traces and settings.exemplars else None,
        )

        async def known_methods(scope: Scope, receive: Receive, send: Send) -> None:
            # unknown methods would add series without a bound
            known = scope["type"] == "http" and scope["method"] in METHODS
            await (counted if known else app)(scope, receive, send)

        return known_methods

    return wrap
