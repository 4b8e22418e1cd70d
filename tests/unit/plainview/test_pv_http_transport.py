"""Spans of calls through a bare transport, and what the upstream is told of them."""

from contextlib import AbstractContextManager, nullcontext

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from plainview import observe_httpx, request_context
from plainview.signals import HTTP_CLIENT_FAILURES
from plainview.testing import captured_spans, metric_delta

URL = "http://up:secret@example.com:81/"


class Upstream(httpx.AsyncBaseTransport):
    def __init__(self, status: int = 200, error: Exception | None = None) -> None:
        self.status, self.error = status, error
        self.headers = httpx.Headers()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.headers = request.headers
        if self.error is not None:
            raise self.error
        return httpx.Response(self.status)


async def call(upstream: Upstream, method: str = "GET") -> None:
    request = httpx.Request(method, URL, extensions={"target": b"/items/c4n4ry?q=c4n4ry"})
    await observe_httpx(upstream, "up").handle_async_request(request)


def work() -> AbstractContextManager[trace.Span]:
    return trace.get_tracer("test").start_as_current_span("work")


async def test_a_call_is_a_child_of_the_current_span_and_the_upstream_is_told():
    upstream = Upstream()
    with captured_spans() as spans, request_context("request-12345"), work():
        await call(upstream)
    sent, parent = spans
    assert (sent.name, sent.kind, sent.parent_id) == ("GET", "client", parent.span_id)
    assert parent.start_ns <= sent.start_ns <= sent.end_ns <= parent.end_ns
    assert sent.status == "unset"
    assert sent.attributes == {
        "http.request.method": "GET",
        "url.full": "http://example.com:81/***",
        "server.address": "example.com",
        "server.port": 81,
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert upstream.headers["traceparent"] == f"00-{sent.trace_id}-{sent.span_id}-01"
    assert upstream.headers["x-request-id"] == "request-12345"


@pytest.mark.parametrize(
    ("upstream", "error_type"),
    [
        (Upstream(404), "404"),
        (Upstream(503), "503"),
        (Upstream(error=httpx.ReadTimeout("late")), "ReadTimeout"),
    ],
)
async def test_a_call_that_fails(upstream, error_type):
    raised = pytest.raises(httpx.ReadTimeout) if upstream.error else nullcontext()
    failures = metric_delta(HTTP_CLIENT_FAILURES, upstream="up")
    with captured_spans() as spans, failures, work(), raised:
        await call(upstream, "BREW")
    assert failures.value == (upstream.error is not None)
    assert (spans[0].name, spans[0].status) == ("HTTP", "error")
    assert spans[0].attributes["error.type"] == error_type
    assert spans[0].attributes["http.request.method"] == "_OTHER"
    assert ("http.response.status_code" in spans[0].attributes) == (upstream.error is None)


async def test_without_a_sampled_parent_the_upstream_learns_that_it_is_none():
    upstream, context = Upstream(), SpanContext(7, 8, is_remote=False)
    with captured_spans() as spans, trace.use_span(NonRecordingSpan(context)):
        await call(upstream)
    assert not spans
    assert upstream.headers["traceparent"] == f"00-{7:032x}-{8:016x}-00"


async def test_after_the_end_of_its_parent_a_call_is_still_traced():
    with captured_spans() as spans:
        with work() as parent:
            parent.end()
            await call(Upstream())
        remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
        with trace.use_span(NonRecordingSpan(remote)):
            await call(Upstream())
    assert [span.name for span in spans] == ["work", "GET", "GET"]
    assert spans[2].parent_id == f"{8:016x}"


@pytest.fixture
def foreign(monkeypatch):
    """A provider of the application's own, which masks nothing."""
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return kept


async def test_the_applications_own_provider_gets_the_path(foreign):
    upstream = Upstream()
    await call(upstream)
    (sent,) = foreign.get_finished_spans()
    assert sent.attributes
    assert sent.attributes["url.full"] == "http://example.com:81/items/c4n4ry"
    assert sent.context
    assert f"{sent.context.span_id:016x}-01" in upstream.headers["traceparent"]


async def test_another_implementation_of_the_api_is_asked_for_spans(monkeypatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    upstream, context = Upstream(), SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(context)):
        await call(upstream)
    assert upstream.headers["traceparent"] == f"00-{7:032x}-{8:016x}-01"
