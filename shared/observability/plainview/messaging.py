"""Trace context and request IDs across a message broker (OpenTelemetry messaging conventions)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .context import current, request_context

_PROPAGATOR = TraceContextTextMapPropagator()
# W3C: 55 characters; a longer one is of an unknown version or an attack
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def inject_context() -> dict[str, str]:
    """What to put into a message: `traceparent` and `request_id`, each only if there is one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    carrier.pop("tracestate", None)
    context = current()
    if context is not None:
        carrier["request_id"] = context.request_id
    return carrier


def _attributes(operation: str, destination: str, system: str) -> dict[str, str]:
    return {
        "messaging.system": system,
        "messaging.destination.name": destination,
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
    }


def _extract(carrier: Mapping[str, object]) -> Context:
    """The producer's context; an empty one if the carrier holds none or garbage."""
    value = carrier.get("traceparent")
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not _TRACEPARENT.fullmatch(text):
        return Context()
    return _PROPAGATOR.extract({"traceparent": text}, Context())


@contextmanager
def produce_span(destination: str, *, system: str = "redis") -> Iterator[Span]:
    """Span `send <destination>`; call `inject_context()` inside it."""
    with trace.get_tracer(__name__).start_as_current_span(
        f"send {destination}",
        kind=SpanKind.PRODUCER,
        attributes=_attributes("send", destination, system),
    ) as span:
        yield span


@contextmanager
def consume_span(
    destination: str,
    carrier: Mapping[str, object],
    *,
    message_id: str | None = None,
    system: str = "redis",
) -> Iterator[Span]:
    """Span `process <destination>`, child of the producer's; work inside has its request ID."""
    attributes = _attributes("process", destination, system)
    if message_id is not None:
        attributes["messaging.message.id"] = message_id
    value = carrier.get("request_id")
    request_id = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    valid = isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)
    with (
        request_context(str(request_id) if valid else None),
        trace.get_tracer(__name__).start_as_current_span(
            f"process {destination}",
            context=_extract(carrier),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        ) as span,
    ):
        yield span


@contextmanager
def batch_span(
    destination: str, carriers: Sequence[Mapping[str, object]], *, system: str = "redis"
) -> Iterator[Span]:
    """Span `receive <destination>` of a batch, linked to the context of every message in it."""
    contexts = (trace.get_current_span(_extract(c)).get_span_context() for c in carriers)
    with trace.get_tracer(__name__).start_as_current_span(
        f"receive {destination}",
        kind=SpanKind.CONSUMER,
        attributes={
            **_attributes("receive", destination, system),
            "messaging.batch.message_count": len(carriers),
        },
        links=[Link(context) for context in contexts if context.is_valid],
    ) as span:
        yield span
