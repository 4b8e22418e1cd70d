"""Trace context and request IDs across a message broker (OpenTelemetry messaging conventions)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from .context import accepted_id, current, request_context, text_of
from .propagation import TraceparentPropagator

_PROPAGATOR = TraceparentPropagator()


def inject_context() -> dict[str, str]:
    """Fields to add to a message: `traceparent` and `request_id`, each only if there is one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    context = current()
    if context is not None:
        carrier["request_id"] = context.request_id
    return carrier


def _span(
    operation: str,
    destination: str,
    system: str,
    *,
    kind: SpanKind = SpanKind.CONSUMER,
    context: Context | None = None,
    links: Sequence[Link] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> AbstractContextManager[Span]:
    destination = text_of(destination)
    own: dict[str, AttributeValue] = {
        "messaging.system": text_of(system),
        "messaging.destination.name": destination,
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
    }
    return trace.get_tracer(__name__).start_as_current_span(
        f"{operation} {destination}",
        context=context,
        kind=kind,
        attributes=own | dict(attributes or {}),
        links=links,
    )


def _text(carrier: Mapping[Any, object], name: str) -> str:
    """A field of a message as text, from str or bytes; "" if it is missing."""
    if not isinstance(carrier, Mapping):
        return ""
    value = carrier.get(name, carrier.get(name.encode()))
    return value.decode("ascii", "replace") if isinstance(value, bytes) else text_of(value or "")


def _extract(carrier: Mapping[Any, object]) -> Context:
    """The producer's context; an empty one if the carrier holds none or garbage."""
    return _PROPAGATOR.extract({"traceparent": _text(carrier, "traceparent")}, Context())


def produce_span(destination: str, *, system: str = "redis") -> AbstractContextManager[Span]:
    """Span `send <destination>`; call `inject_context()` inside it."""
    return _span("send", destination, system, kind=SpanKind.PRODUCER)


@contextmanager
def consume_span(
    destination: str,
    carrier: Mapping[Any, object],
    *,
    message_id: str | None = None,
    system: str = "redis",
) -> Iterator[Span]:
    """Span `process <destination>`, a child of the producer's; the block has its request ID."""
    about = {} if message_id is None else {"messaging.message.id": text_of(message_id)}
    with (
        request_context(accepted_id(_text(carrier, "request_id"))),
        _span("process", destination, system, context=_extract(carrier), attributes=about) as span,
    ):
        yield span


def batch_span(
    destination: str, carriers: Sequence[Mapping[Any, object]], *, system: str = "redis"
) -> AbstractContextManager[Span]:
    """Span `receive <destination>` of a batch, linked to the context of every message in it."""
    carriers = carriers if isinstance(carriers, Sequence) else []
    contexts = (trace.get_current_span(_extract(c)).get_span_context() for c in carriers)
    links = [Link(context) for context in contexts if context.is_valid]
    about = {"messaging.batch.message_count": len(carriers)}
    return _span("receive", destination, system, attributes=about, links=links)
