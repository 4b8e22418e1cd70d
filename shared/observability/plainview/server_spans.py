"""The server span of a request, from its record.

The sampler decides before any attribute is made. A request that it does not choose has a trace
ID all the same, hands on `traceparent` with flag 00, and is exported after all if it ends in 5xx.
Names and attributes are those of OpenTelemetry's semantic conventions for HTTP servers.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from .otel_environment import propagate
from .propagation import TraceparentPropagator
from .record import OTHER_METHOD, Record
from .tracing import PIPELINE

_SCOPE = InstrumentationScope("plainview")


class ServerSpans:
    """Makes the server spans of one app."""

    def __init__(self, provider: TracerProvider, *, own: bool, masking: bool) -> None:
        """`own` providers are those of this library: only their late spans can be added."""
        self._provider = provider
        self._tracer = provider.get_tracer(_SCOPE.name)
        self._own = own
        self._masking = masking
        self._propagator: TextMapPropagator = propagate.get_global_textmap()
        self._plain = isinstance(self._propagator, TraceparentPropagator)

    def begin(self, record: Record, scope: Scope, traceparents: list[bytes]) -> Context:
        """Start the record's span; the context to work in."""
        if self._plain:
            parent = Context()
            if len(traceparents) == 1:
                carrier = {"traceparent": traceparents[0].decode("latin-1")}
                parent = self._propagator.extract(carrier, parent)
        else:
            parent = self._propagator.extract(_headers(scope))
        record.parent = parent
        record.span = self._tracer.start_span(_name(record), parent, SpanKind.SERVER)
        return trace.set_span_in_context(record.span, parent)

    def end(self, record: Record, scope: Scope) -> None:
        """Write what is known now into the span and end it."""
        span, failed = record.span, record.status >= 500 or record.error is not None
        if span.is_recording():
            span.update_name(_name(record))
            span.set_attributes(self._attributes(record, scope))
            if failed:
                if record.error is not None:
                    span.record_exception(record.error)
                span.set_status(Status(StatusCode.ERROR))
            span.end()
        elif failed and self._own:
            self._export(record, scope)

    def _export(self, record: Record, scope: Scope) -> None:
        context = record.span.get_span_context()
        parent = trace.get_current_span(record.parent).get_span_context()
        error, end = record.error, time.time_ns()
        PIPELINE.on_end(
            ReadableSpan(
                name=_name(record),
                context=SpanContext(
                    context.trace_id,
                    context.span_id,
                    is_remote=False,
                    trace_flags=TraceFlags(context.trace_flags | TraceFlags.SAMPLED),
                    trace_state=context.trace_state,
                ),
                parent=parent if parent.is_valid else None,
                resource=self._provider.resource,
                attributes=self._attributes(record, scope),
                events=[] if error is None else [_event(error, end)],
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR),
                start_time=end - int(record.duration_s * 1e9),
                end_time=end,
                instrumentation_scope=_SCOPE,
            )
        )

    def _attributes(self, record: Record, scope: Scope) -> dict[str, AttributeValue]:
        made: dict[str, AttributeValue] = {
            "http.request.method": record.method,
            "url.scheme": scope.get("scheme", "http"),
            "url.path": record.path if self._masking else scope["path"],
            "http.response.status_code": record.status,
            "request_id": record.request_id,
        }
        if record.route is not None:
            made["http.route"] = record.route
        if version := scope.get("http_version"):
            made["network.protocol.version"] = version
        if server := scope.get("server"):
            made["server.address"] = server[0]
            if server[1]:
                made["server.port"] = server[1]
        if client := scope.get("client"):
            made["client.address"], made["client.port"] = client[0], client[1]
        if record.status >= 500 or record.error is not None:
            made["error.type"] = record.error_type
        if not self._masking:  # free text of whoever calls
            made |= _free_text(scope, record)
        return made


def _name(record: Record) -> str:
    method = "HTTP" if record.method == OTHER_METHOD else record.method
    return method if record.route is None else f"{method} {record.route}"


def _event(error: BaseException, time_ns: int) -> Event:
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    attributes = {
        "exception.type": f"{module}{kind.__qualname__}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
        "exception.escaped": "False",
    }
    return Event("exception", attributes, time_ns)


def _headers(scope: Scope) -> Mapping[str, Any]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _free_text(scope: Scope, record: Record) -> dict[str, AttributeValue]:
    made: dict[str, AttributeValue] = {}
    if query := scope.get("query_string"):
        made["url.query"] = query.decode("utf-8", "backslashreplace")
    for name, value in scope["headers"]:
        if name == b"user-agent":
            made["user_agent.original"] = value.decode("utf-8", "backslashreplace")
    if record.method == OTHER_METHOD:
        made["http.request.method_original"] = scope["method"]
    return made
