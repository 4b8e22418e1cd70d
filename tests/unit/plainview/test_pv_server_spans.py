"""Server spans by themselves: free text of the client, and propagators of the application."""

import pytest
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from plainview.record import OTHER_METHOD, Record
from plainview.server_spans import ServerSpans

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()


def span_of(*, masking):
    """The span of a request to /things?q=jane with a method, an agent and a trace of its own."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    scope = {
        "method": "BREW", "path": "/things", "query_string": b"q=jane",
        "headers": [(b"user-agent", b"browser"), (b"traceparent", PARENT)],
    }  # fmt: skip
    record = Record("request-1", None, "/things", method=OTHER_METHOD, status=200)
    spans = ServerSpans(provider, own=False, masking=masking)
    # the request before it on the connection, in whose context a server may begin this one
    with provider.get_tracer("t").start_as_current_span("before", context=Context()):
        spans.begin(record, scope, [PARENT])
    spans.end(record, scope)
    _, span = kept.get_finished_spans()
    return span


def test_free_text_of_the_client_is_there_only_without_masking():
    free = {
        "url.query": "q=jane",
        "user_agent.original": "browser",
        "http.request.method_original": "BREW",
    }
    assert not free.keys() & span_of(masking=True).attributes.keys()
    assert free.items() <= dict(span_of(masking=False).attributes).items()


@pytest.mark.parametrize(
    ("propagators", "continued"),
    [([TraceContextTextMapPropagator(), W3CBaggagePropagator()], True), ([], False)],
    ids=["as OTEL_PROPAGATORS of the specification", "none"],
)
def test_the_propagators_of_the_application_decide_what_is_continued(
    monkeypatch, propagators, continued
):
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator(propagators))
    span = span_of(masking=True)
    assert (f"{span.context.trace_id:032x}" == TRACE) is continued
    assert (span.parent is not None) is continued
