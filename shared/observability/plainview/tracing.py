"""OpenTelemetry spans (thin for now)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .settings import ObservabilitySettings


@dataclass
class SpanStats:
    """What the exporter did since the start: counts of spans, and spans waiting now."""

    exported: int = 0
    failed: int = 0
    dropped: int = 0
    queue_depth: int = 0


def install(settings: ObservabilitySettings) -> TracerProvider:
    """The process's provider."""
    return TracerProvider()


def instrument_app(app: FastAPI, settings: ObservabilitySettings) -> None:
    """Server spans."""


def shutdown(timeout_s: float) -> bool:
    """Flush and stop; False if it did not end in time."""
    return True


def stats() -> SpanStats:
    """Counters for the gauges."""
    return SpanStats()


def exemplar() -> dict[str, str]:
    """trace_id and span_id of the current span if it is sampled, else {}."""
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }
