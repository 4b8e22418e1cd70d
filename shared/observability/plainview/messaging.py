"""Trace context and request IDs across a message broker (OpenTelemetry messaging conventions)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from .context import current, request_context
from .propagation import TraceparentPropagator

_PROPAGATOR = TraceparentPropagator()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def inject_context() -> dict[str, str]:
    """What to put into a message: `traceparent` and `request_id`, each only if there is one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
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


def _text(carrier: Mapping[Any, object], name: str) -> str:
    """A field of a message as text, whether the client decodes replies or not; "" if missing."""
    value = carrier.get(name, carrier.get(name.encode()))
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")


def _extract(carrier: Mapping[Any, object]) -> Context:
    """The producer's context; an empty one if the carrier holds none or garbage."""
    return _PROPAGATOR.extract({"traceparent": _text(carrier, "traceparent")}, Context())


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
    carrier: Mapping[Any, object],
    *,
    message_id: str | None = None,
    system: str = "redis",
) -> Iterator[Span]:
    """Span `process <destination>`, child of the producer's; work inside has its request ID."""
    attributes = _attributes("process", destination, system)
    if message_id is not None:
        attributes["messaging.message.id"] = message_id
    request_id = _text(carrier, "request_id")
    with (
        request_context(request_id if _REQUEST_ID.fullmatch(request_id) else None),
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
    destination: str, carriers: Sequence[Mapping[Any, object]], *, system: str = "redis"
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
