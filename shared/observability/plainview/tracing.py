"""OpenTelemetry spans: sampled, masked, and exported so that a dead Collector is never felt."""

from __future__ import annotations

import logging
import os
import string
import threading
from collections.abc import Callable
from urllib.parse import quote
from uuid import uuid4

# Read once by the first instrumentation that is set up, so it has to come before all of them.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")

from fastapi import FastAPI
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import request_id
from .guarded import guarded
from .propagation import TraceparentPropagator
from .settings import ObservabilitySettings
from .signals import SPAN_QUEUE_DEPTH, SPANS_DROPPED
from .span_export import ReportingExporter

_UNTRACED = r"^[^/]+//[^/]+/(health(/[^/]*)?|metrics)$"
_READ = (b"host", b"user-agent", b"traceparent", b"content-length")
_install_lock = threading.Lock()


class SpanPipeline(SpanProcessor):
    """Hands sampled spans to a batch processor whose bounded queue it counts.

    The SDK drops silently when its queue is full and may ignore time-outs of a flush.
    """

    def __init__(self) -> None:
        self.masking = True
        self.listeners: list[Callable[[ReadableSpan], None]] = []
        #: what exports the spans, None without
        self.batch: BatchSpanProcessor | None = None
        self._exporter: ReportingExporter | None = None
        # may be entered again: garbage collection ends spans of abandoned generators anywhere
        self._lock = threading.RLock()
        self._waiting = 0
        self._limit = 0

    def start(self, exporter: SpanExporter) -> None:
        """Export from now on; queue and batches as `OTEL_BSP_*` say."""
        self._limit = _positive_int("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        batch = min(_positive_int("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._limit)
        self._exporter = ReportingExporter(exporter, lambda: self.masking, self._taken)
        self.batch = BatchSpanProcessor(self._exporter, self._limit, None, batch)

    def stop(self, timeout_s: float) -> bool:
        """Flush and end; what has not gone after `timeout_s` counts as dropped. True if none."""
        batch, self.batch = self.batch, None
        if batch is None:
            return True
        # shutdown() of the SDK joins and exports for longer than told if the Collector hangs
        thread = threading.Thread(target=batch.shutdown, daemon=True, name="plainview-span-flush")
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive() and self._exporter is not None:
            self._exporter.shutdown()  # gives up between the retries of a request under way
        with self._lock:
            left, self._waiting = self._waiting, 0
        SPANS_DROPPED.inc(left)
        SPAN_QUEUE_DEPTH.set(0)
        return not thread.is_alive() and not left

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span, or count it as dropped."""
        if not span.context or not span.context.trace_flags.sampled or _is_stray(span):
            return
        for listener in self.listeners:
            listener(span)
        batch = self.batch
        if batch is None:
            return
        with guarded("traces"):
            with self._lock:
                full = self._waiting >= self._limit
                self._waiting += not full
                SPAN_QUEUE_DEPTH.set(self._waiting)
            if full:
                SPANS_DROPPED.inc()
            else:
                batch.on_end(span)

    def _taken(self, count: int) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - count)
            SPAN_QUEUE_DEPTH.set(self._waiting)


PIPELINE = SpanPipeline()
_own: TracerProvider | None = None


def install(settings: ObservabilitySettings) -> TracerProvider:
    """Make the process's TracerProvider, or reuse the SDK provider that is there as it is.

    Exports over OTLP http/protobuf if `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`)
    is set; without it spans only give logs their IDs. An application's own provider keeps its
    own sampler, exporters and propagators, and its spans are not masked. Outside of `observe()`
    call `shutdown()` at the end.
    """
    global _own  # noqa: PLW0603 - one per process, as OpenTelemetry has it
    with _install_lock:
        provider = trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            # its own exit handler could wait for a dead Collector for half a minute
            provider = _own = TracerProvider(
                sampler=_sampler(settings), resource=_resource(settings), shutdown_on_exit=False
            )
            provider.add_span_processor(PIPELINE)
            trace.set_tracer_provider(provider)
            propagate.set_global_textmap(TraceparentPropagator())
        elif provider is not _own:
            return provider
        PIPELINE.masking = settings.masking
        if _exports() and PIPELINE.batch is None:
            # ReportingExporter tells it once a minute; the SDK would on every batch
            logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
            PIPELINE.start(OTLPSpanExporter())
        return provider


def instrument_app(app: FastAPI, settings: ObservabilitySettings) -> None:
    """Make a server span named `GET /full/template` per request; none for probes and metrics.

    Must come before the first request. FastAPI's own telemetry steps aside for it.
    """
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=trace.get_tracer_provider(),
        excluded_urls=_UNTRACED,
        exclude_spans=["receive", "send"],
        server_request_hook=_add_request_id,
    )
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: AsciiScope(build())  # type: ignore[method-assign]


def _add_request_id(span: trace.Span, scope: Scope) -> None:
    if (identity := request_id()) is not None:
        span.set_attribute("request_id", identity)


class AsciiScope:
    """The instrumentation raises, hence 500, on bytes that are no UTF-8: escape what it reads."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; ASCII, the rule, is not touched."""
        if scope["type"] in ("http", "websocket"):
            scope["query_string"] = _ascii(scope["query_string"])
            scope["headers"] = [
                (name, _ascii(value) if name in _READ else value)
                for name, value in scope["headers"]
            ]
        await self.app(scope, receive, send)


def _ascii(value: bytes) -> bytes:
    return value if value.isascii() else quote(value, " " + string.punctuation).encode()


def shutdown(timeout_s: float) -> bool:
    """Export what waits, for at most `timeout_s` seconds; False if some of it could not go."""
    return PIPELINE.stop(timeout_s)


def exemplar() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span in hex if it is sampled, else nothing."""
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


def _is_stray(span: ReadableSpan) -> bool:
    """Whether this is a database call outside of any span: a check or a poll, not a trace."""
    return span.parent is None and "db.system.name" in (span.attributes or {})


def _exports() -> bool:
    return (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"
        and any(
            os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", "TRACES_ENDPOINT")
        )
    )


def _positive_int(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() and int(text) > 0 else default


def _resource(settings: ObservabilitySettings) -> Resource:
    own = {
        "service.name": settings.service_name,
        "service.version": settings.service_version,
        "service.instance.id": str(uuid4()),
        "deployment.environment.name": settings.environment,
    }
    # the operator's OTEL_RESOURCE_ATTRIBUTES win
    return Resource.create(own).merge(OTELResourceDetector().detect())


def _sampler(settings: ObservabilitySettings) -> sampling.Sampler:
    """Ratio for roots, children follow; without trust remote parents are like roots."""
    ratio = sampling.TraceIdRatioBased(settings.trace_sample_ratio)
    roots: dict[str, sampling.Sampler] = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": ratio,
    }
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").lower()
    root = roots.get(name.removeprefix("parentbased_"), ratio)
    if settings.trust_remote_sampling:
        return root if name in roots else sampling.ParentBased(root)
    return sampling.ParentBased(root, remote_parent_sampled=root, remote_parent_not_sampled=root)
