"""A server span that costs almost nothing until the application adds something to it.

The SDK's span creates locks and lists that most requests never need. This one is current while a
request is handled, collects what the application adds, and is finished from the request's record.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from .context import text_of

_MOST = 128  # attributes, events and links, each: the SDK's own default


class RequestSpan(trace.Span):
    """Collects what the application adds, until `finish`."""

    __slots__ = ("_context", "attributes", "ended", "events", "links", "name", "status")

    def __init__(
        self,
        context: SpanContext,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        self._context = context
        self.name = name
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
        """Do nothing: only the request's record ends the span."""

    def get_span_context(self) -> SpanContext:
        """The span's IDs and flags."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it still collects."""
        return not self.ended

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Add attributes."""
        if not self.ended:
            if self.attributes is None:
                self.attributes = BoundedAttributes(_MOST, immutable=False)
            for key, value in attributes.items():
                self.attributes[key] = value

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Add an attribute."""
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
        """Change the name."""
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
        """Add the event `exception`."""
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
    """A server span as processors and exporters read it.

    `clean` says that the library wrote all of its values, so nothing has to be masked.
    """

    def __init__(
        self,
        span: RequestSpan,
        *,
        parent: SpanContext | None,
        resource: Resource,
        attributes: dict[str, AttributeValue],
        clean: bool,
        start_time: int,
        end_time: int,
        scope: InstrumentationScope,
    ) -> None:
        added = span.attributes
        super().__init__(
            name=span.name,
            context=span.get_span_context(),
            parent=parent,
            resource=resource,
            attributes={**added, **attributes} if added else attributes,
            events=span.events,
            links=span.links,
            kind=SpanKind.SERVER,
            status=span.status or _UNSET,
            start_time=start_time,
            end_time=end_time,
            instrumentation_scope=scope,
        )
        self.clean = clean and not (added or span.events or span.links)


_UNSET = Status(StatusCode.UNSET)
