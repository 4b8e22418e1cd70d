"""The server span of a request, from its record.

The sampler decides before a span is made. A request that is not sampled still has a trace ID,
passes on `traceparent` with flag 00, and is exported after all if it ends in 5xx. Names and
attributes are those of OpenTelemetry's semantic conventions for HTTP servers. Free text of the
client (query, user agent) is left out unless masking is off.
"""

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from .otel_environment import propagate
from .propagation import TraceparentPropagator
from .record import OTHER_METHOD, Record
from .request_span import SAMPLED, RequestSpan, SpanMaker

_SCOPE = "plainview"


class ServerSpans:
    """Makes the server spans of one app with the sampler and the processors of a provider."""

    def __init__(self, provider: TracerProvider, *, own: bool, masking: bool) -> None:
        """Only a provider of the library (`own`) gets failed requests that were not sampled."""
        tracer = provider.get_tracer(_SCOPE)
        if not isinstance(tracer, Tracer):
            raise TypeError("the SDK is disabled")
        self._maker = SpanMaker(tracer, _SCOPE, SpanKind.SERVER)
        self._own = own
        self._masking = masking
        self._propagator: TextMapPropagator = propagate.get_global_textmap()
        self._plain = isinstance(self._propagator, TraceparentPropagator)

    def begin(self, record: Record, scope: Scope, traceparents: list[bytes]) -> Context:
        """Start the record's span; returns the context that the request is handled in."""
        if self._plain:
            parent = Context()
            if len(traceparents) == 1:
                carrier = {"traceparent": traceparents[0].decode("latin-1")}
                parent = self._propagator.extract(carrier, parent)
        else:
            parent = self._propagator.extract(_headers(scope), Context())
        record.span, record.parent = self._maker.start(_name(record), parent)
        return trace.set_span_in_context(record.span, parent)

    def end(self, record: Record, scope: Scope) -> None:
        """End the span from the record, and pass it to the processors."""
        span, failed = record.span, record.status >= 500 or record.error is not None
        context = span.get_span_context()
        if not isinstance(span, RequestSpan):
            if not (failed and self._own):
                return
            state = context.trace_state
            sampled = SpanContext(context.trace_id, context.span_id, False, SAMPLED, state)
            span = RequestSpan(sampled, "", None, record.parent)
        span.update_name(_name(record))
        if failed:
            if record.error is not None:
                span.record_exception(record.error)
            span.set_status(trace.StatusCode.ERROR)
        attributes = self._attributes(record, scope)
        self._maker.end(span, attributes, record.duration_s, clean=self._masking)

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
        if record.websocket:
            made["network.protocol.name"] = "websocket"
        if server := scope.get("server"):
            made["server.address"] = server[0]
            if server[1]:
                made["server.port"] = server[1]
        if client := scope.get("client"):
            made["client.address"], made["client.port"] = client[0], client[1]
        if record.status >= 500 or record.error is not None:
            made["error.type"] = record.error_type
        if not self._masking:  # free text of the client
            made |= _free_text(scope, record)
        return made


def _name(record: Record) -> str:
    method = "HTTP" if record.method == OTHER_METHOD else record.method
    if record.websocket:
        method = "WS"
    return method if record.route is None else f"{method} {record.route}"


def _headers(scope: Scope) -> Mapping[str, list[str]]:
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
