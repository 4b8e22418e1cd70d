"""Spans that cost almost nothing until the application adds something to them.

The SDK's span creates locks and lists that most requests never need. This one collects what the
application adds, and is finished by the library's own pass: a server span from the request's
record, the span of an outgoing call from what its instrument knows.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Tracer
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from .context import text_of

_MOST = 128  # attributes, events and links, each: the SDK's own default


class RequestSpan(trace.Span):
    """Collects what the application adds, until `finish`."""

    __slots__ = ("_context", "attributes", "ended", "events", "links", "name", "parent", "status")

    def __init__(
        self,
        context: SpanContext,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        parent: SpanContext | None = None,
    ) -> None:
        self._context = context
        self.name = name
        self.parent = parent
        self.status: Status | None = None
        self.attributes: BoundedAttributes | None = None
        self.events: list[Event] = []
        self.links: list[Link] = []
        self.ended = False
        if attributes:
            self.set_attributes(attributes)

    def finish(self) -> RequestSpan:
        """Ignore whatever is added from now on."""
        self.ended = True
        return self

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: only the library ends the span."""

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return not self.ended

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        if not self.ended:
            if self.attributes is None:
                self.attributes = BoundedAttributes(_MOST, immutable=False)
            for key, value in attributes.items():
                self.attributes[key] = value

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.set_attributes({key: value})

    def add_event(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Add an event, at most 128."""
        if not self.ended and len(self.events) < _MOST:
            bounded = BoundedAttributes(_MOST, attributes)
            self.events.append(Event(name, bounded, timestamp or time.time_ns()))

    def add_link(
        self, context: SpanContext, attributes: Mapping[str, AttributeValue] | None = None
    ) -> None:
        """Add a link to another span, at most 128."""
        if not self.ended and len(self.links) < _MOST:
            self.links.append(Link(context, BoundedAttributes(_MOST, attributes)))

    def update_name(self, name: str) -> None:
        if not self.ended:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status; OK stays, UNSET changes nothing."""
        wanted = status if isinstance(status, Status) else Status(status, description)
        if self.ended or wanted.status_code is StatusCode.UNSET:
            return
        if self.status is None or self.status.status_code is not StatusCode.OK:
            self.status = wanted

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, AttributeValue] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        about: dict[str, Any] = {
            "exception.type": f"{module}{kind.__qualname__}",
            "exception.message": text_of(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
            **(attributes or {}),
        }
        self.add_event("exception", about, timestamp)


class FinishedSpan(ReadableSpan):
    """A span as processors and exporters read it.

    `clean` says that the library wrote all of its values, so nothing has to be masked.
    """

    clean = False


class SpanMaker:
    """Starts and ends spans of one kind with the sampler and the processors of an SDK tracer."""

    def __init__(self, tracer: Tracer, scope: str, kind: SpanKind) -> None:
        self._tracer, self._scope, self._kind = tracer, InstrumentationScope(scope), kind

    def start(
        self, name: str, within: Context | None = None
    ) -> tuple[RequestSpan | trace.NonRecordingSpan, SpanContext | None]:
        """A child of the current span (of the context `within`), and its parent if it has one."""
        tracer, caller = self._tracer, trace.get_current_span(within).get_span_context()
        ids, parent = tracer.id_generator, caller if caller.is_valid else None
        trace_id = caller.trace_id if parent else ids.generate_trace_id()
        sampled = tracer.sampler.should_sample(within, trace_id, name, self._kind)
        chosen = sampled.decision is Decision.RECORD_AND_SAMPLE
        context = SpanContext(
            trace_id,
            ids.generate_span_id(),
            is_remote=False,
            trace_flags=SAMPLED if chosen else _UNSAMPLED,
            trace_state=sampled.trace_state,
        )
        if sampled.decision is Decision.DROP:
            return trace.NonRecordingSpan(context), parent
        span = RequestSpan(context, name, sampled.attributes, parent)
        # the application's own span processors expect a span of the SDK
        tracer.span_processor.on_start(span, within)  # type: ignore[arg-type]
        return span, parent

    def end(
        self,
        span: RequestSpan,
        attributes: dict[str, AttributeValue],
        duration_s: float,
        *,
        clean: bool,
    ) -> None:
        """End the span now, with these attributes of the library's own."""
        end, added = time.time_ns(), span.finish().attributes
        finished = FinishedSpan(
            name=span.name,
            context=span.get_span_context(),
            parent=span.parent,
            resource=self._tracer.resource,
            attributes={**added, **attributes} if added else attributes,
            events=span.events,
            links=span.links,
            kind=self._kind,
            status=span.status or _UNSET,
            start_time=end - int(duration_s * 1e9),
            end_time=end,
            instrumentation_scope=self._scope,
        )
        finished.clean = clean and not (added or span.events or span.links)
        self._tracer.span_processor.on_end(finished)


SAMPLED, _UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)
