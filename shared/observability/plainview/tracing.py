"""OpenTelemetry spans: sampled, masked, and exported without delay by a dead Collector."""

import os
import threading
from collections.abc import Callable
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from . import otel_environment, workers
from .guarded import guarded
from .propagation import install_propagator
from .settings import ObservabilitySettings
from .signals import SPAN_QUEUE_DEPTH, SPANS_DROPPED
from .span_export import ReportingExporter

_install_lock = threading.Lock()


class SpanPipeline(SpanProcessor):
    """Hands sampled spans to a batch processor whose bounded queue it counts.

    It counts because the SDK drops spans silently when its queue is full, and may ignore the
    time-out of a flush.
    """

    def __init__(self) -> None:
        self.masking = True
        self.listeners: list[Callable[[ReadableSpan], None]] = []
        #: the exporting processor, None without an exporter
        self.batch: BatchSpanProcessor | None = None
        self._exporter: ReportingExporter | None = None
        # re-entrant: garbage collection can end the spans of abandoned generators at any point
        self._lock = threading.RLock()
        self._waiting = 0
        self._limit = 0

    def start(self, exporter: SpanExporter) -> None:
        """Export from now on, with the queue and batches that `OTEL_BSP_*` set."""
        self._limit = _positive_int("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        batch = min(_positive_int("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._limit)
        self._exporter = ReportingExporter(
            exporter, lambda: self.masking, self._taken, getattr(exporter, "_endpoint", endpoint())
        )
        self.batch = BatchSpanProcessor(self._exporter, self._limit, None, batch)
        if workers.DIRECTORY is None:
            SPAN_QUEUE_DEPTH.collector.set_function(lambda: self._waiting)

    def stop(self, timeout_s: float) -> bool:
        """Flush and end; False if spans are left after `timeout_s`, which count as dropped."""
        batch, self.batch = self.batch, None
        if batch is None:
            return True
        # In a thread, as the SDK's shutdown() exceeds its time-out if the Collector hangs.
        thread = threading.Thread(target=batch.shutdown, daemon=True, name="plainview-span-flush")
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive() and self._exporter is not None:
            self._exporter.shutdown()  # ends the retries of a request under way
        with self._lock:
            left, self._waiting = self._waiting, 0
        self._show_queue()
        SPANS_DROPPED.inc(left)
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
            if full:
                SPANS_DROPPED.inc()
            else:
                batch.on_end(span)
            self._show_queue()

    def _taken(self, count: int) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - count)
        self._show_queue()

    def _show_queue(self) -> None:
        """Set the metric for the page of another worker; this one's page asks for the value."""
        if workers.DIRECTORY is not None:
            SPAN_QUEUE_DEPTH.set(self._waiting)


PIPELINE = SpanPipeline()
_own: TracerProvider | None = None
_refused: list[str] = []  # logged once


def install(settings: ObservabilitySettings, told: list[str] | None = None) -> TracerProvider:
    """Make the process's TracerProvider, or reuse the SDK provider that is there as it is.

    A sentence for each thing that does not work is added to `told`. An application's own provider
    keeps its sampler, exporters and propagators. Without `observe()`, call `shutdown()` at the end.
    """
    global _own  # noqa: PLW0603 - one per process, as OpenTelemetry has it
    told = [] if told is None else told
    with _install_lock:
        provider = trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            told += otel_environment.ODD_LIMITS
            # no exit handler, which could wait half a minute for a dead Collector
            provider = _own = TracerProvider(
                sampler=_sampler(settings), resource=_resource(settings), shutdown_on_exit=False
            )
            provider.add_span_processor(PIPELINE)
            trace.set_tracer_provider(provider)
            told += install_propagator()
        if provider is _own:
            PIPELINE.masking = settings.masking
            told += start()
    return provider


def is_own(provider: trace.TracerProvider) -> bool:
    """Whether the provider was made here, not by the application."""
    return provider is _own


def left_out() -> bool:
    """Whether the current span is one of this process that was not sampled.

    Then none of its children will be, so that making them can be left out.
    """
    span = trace.get_current_span()
    context = span.get_span_context()
    return (
        isinstance(span, trace.NonRecordingSpan)
        and context.is_valid
        and not context.is_remote
        and not context.trace_flags.sampled
        and trace.get_tracer_provider() is _own
    )


def start() -> list[str]:
    """Export over OTLP from now on; returns a sentence for each thing that does not work.

    Needs `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`); without it spans only give logs
    their IDs. May be called again, e.g. after `shutdown()`.
    """
    if _own is None or PIPELINE.batch is not None or not _exports():
        return []
    try:
        exporter = _exporter()
    except (ImportError, ValueError) as error:
        told = [] if _refused else [f"spans are not exported: {error}"]
        _refused.extend(told)
        return told
    PIPELINE.start(exporter)
    return []


def _exporter() -> SpanExporter:
    protocol = _variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    kind = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if kind != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER={kind} is neither otlp nor none")
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc import (  # type: ignore[import-not-found]  # noqa: PLC0415
                trace_exporter as grpc,
            )
        except ImportError:
            raise ImportError(
                "the protocol grpc needs the package opentelemetry-exporter-otlp-proto-grpc"
            ) from None
        made: SpanExporter = grpc.OTLPSpanExporter()
        return made
    if protocol not in ("", "http/protobuf"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported")
    from .otlp import LeanExporter  # noqa: PLC0415

    return LeanExporter()


def shutdown(timeout_s: float) -> bool:
    """Export waiting spans for at most `timeout_s` seconds; False if some were dropped."""
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
    """Whether this is a database call without a parent: a check or a poll, not worth a trace."""
    return (
        span.kind is trace.SpanKind.CLIENT
        and span.parent is None
        and "db.system.name" in (span.attributes or {})
    )


def _exports() -> bool:
    return (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"
        and endpoint() != ""
    )


def endpoint() -> str:
    """Where spans are sent to, "" if nowhere; to be shown, not to connect."""
    return _variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def _variable(*names: str) -> str:
    return next((text for name in names if (text := os.environ.get(name, "").strip())), "")


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
    return _HashedResource(Resource.create(own).merge(OTELResourceDetector().detect()))


class _HashedResource(Resource):
    """A resource that computes its hash once; the SDK computes it for each span, from JSON."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(dict(resource.attributes), resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def _sampler(settings: ObservabilitySettings) -> sampling.Sampler:
    """Samples roots by ratio; children follow. Without trust, remote parents count as roots."""
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
