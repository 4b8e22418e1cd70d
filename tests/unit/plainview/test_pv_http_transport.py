"""Calls of httpx, by a client and by a bare transport: spans, metrics, what upstreams are told."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from plainview import observe_httpx, request_context
from plainview.signals import CLIENT_ERRORS, HTTP_CLIENT_DURATION, HTTP_CLIENT_FAILURES
from plainview.testing import captured_spans, metric_delta

URL = "http://up:secret@example.com:81/"
TARGET = {"target": b"/items/c4n4ry?q=c4n4ry"}
OWN_ID = {"X-Request-ID": "from-a-client"}


class Upstream(httpx.AsyncBaseTransport):
    def __init__(self, status: int = 200, error: BaseException | None = None) -> None:
        self.status, self.error = status, error
        self.headers = httpx.Headers()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.headers = request.headers
        if self.error is not None:
            raise self.error
        return httpx.Response(self.status)


async def by_transport(upstream: Upstream, method: str = "GET") -> None:
    request = httpx.Request(method, URL, extensions=TARGET, headers=OWN_ID)
    await observe_httpx(upstream, "up").handle_async_request(request)


async def by_client(upstream: Upstream, method: str = "GET") -> None:
    async with observe_httpx(httpx.AsyncClient(transport=upstream), "up") as client:
        assert observe_httpx(client, "up") is client  # again: nothing is counted twice
        await client.request(method, URL, extensions=TARGET, headers=OWN_ID)


def work() -> AbstractContextManager[trace.Span]:
    return trace.get_tracer("test").start_as_current_span("work")


@pytest.mark.parametrize("call", [by_transport, by_client])
async def test_a_call_is_a_child_of_the_current_span_and_the_upstream_is_told(call):
    upstream = Upstream()
    with (
        captured_spans() as spans,
        metric_delta(
            HTTP_CLIENT_DURATION, upstream="up", method="GET", status_class="2xx"
        ) as calls,
        request_context("request-12345"),
        work(),
    ):
        await call(upstream)
    sent, parent = spans
    assert calls.value == 1
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


@pytest.mark.parametrize("call", [by_transport, by_client])
@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (404, None),
        (503, None),
        (httpx.ConnectError("refused"), "connect"),
        (httpx.ConnectTimeout("away"), "connect"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.PoolTimeout("busy"), "timeout"),
        (httpx.RemoteProtocolError("bad"), "protocol"),
        (asyncio.CancelledError(), "cancelled"),
        (ValueError("other"), "other"),
    ],
)
async def test_a_call_that_fails(call, outcome, kind):
    replied = isinstance(outcome, int)
    upstream = Upstream(outcome) if replied else Upstream(error=outcome)
    status = f"{outcome // 100}xx" if replied else "error"
    labels = {"upstream": "up", "method": "_other", "status_class": status}
    with (
        captured_spans() as spans,
        metric_delta(HTTP_CLIENT_FAILURES, upstream="up") as failures,
        metric_delta(HTTP_CLIENT_FAILURES, upstream="up", error_type=kind) as of_kind,
        metric_delta(HTTP_CLIENT_DURATION, **labels) as timed,
        work(),
        nullcontext() if replied else pytest.raises(type(outcome)),
    ):
        await call(upstream, "BREW")
    assert (failures.value, of_kind.value, timed.value) == (not replied, not replied, 1)
    assert (spans[0].name, spans[0].status) == ("HTTP", "error")
    assert spans[0].attributes["error.type"] == str(outcome if replied else type(outcome).__name__)
    assert spans[0].attributes["http.request.method"] == "_OTHER"
    assert ("http.response.status_code" in spans[0].attributes) is replied


def test_what_cannot_be_observed_is_an_error_at_once():
    with pytest.raises(TypeError, match="AsyncClient"):
        observe_httpx(httpx.Client(), "up")


def test_failure_series_exist_before_the_first_failure():
    observe_httpx(httpx.AsyncClient(), "unit-new")
    (family,) = HTTP_CLIENT_FAILURES.collector.collect()
    mine = [sample for sample in family.samples if sample.labels["upstream"] == "unit-new"]
    assert {s.labels["error_type"] for s in mine if s.value == 0} == set(CLIENT_ERRORS)


async def test_without_a_sampled_parent_the_upstream_learns_that_it_is_none():
    upstream, context = Upstream(), SpanContext(7, 8, is_remote=False)
    with captured_spans() as spans, trace.use_span(NonRecordingSpan(context)):
        await by_transport(upstream)
    assert not spans
    assert upstream.headers["traceparent"] == f"00-{7:032x}-{8:016x}-00"


async def test_after_the_end_of_its_parent_a_call_is_still_traced():
    with captured_spans() as spans:
        with work() as parent:
            parent.end()
            await by_transport(Upstream())
        remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
        with trace.use_span(NonRecordingSpan(remote)):
            await by_transport(Upstream())
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
    await by_transport(upstream)
    (sent,) = foreign.get_finished_spans()
    assert sent.attributes
    assert sent.attributes["url.full"] == "http://example.com:81/items/c4n4ry"
    assert sent.context
    assert f"{sent.context.span_id:016x}-01" in upstream.headers["traceparent"]


async def test_another_implementation_of_the_api_is_asked_for_spans(monkeypatch):
    started = []

    class Other(trace.NoOpTracer):
        def start_span(self, name, *args, **options):
            started.append(name)
            return super().start_span(name, *args, **options)

    class Provider(trace.TracerProvider):
        def get_tracer(self, *_args, **_options):
            return Other()

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Provider())
    upstream, context = Upstream(), SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(context)):
        await by_transport(upstream)
    assert started == ["GET"]
    assert upstream.headers["traceparent"] == f"00-{7:032x}-{8:016x}-01"


async def test_a_client_that_was_used_before_there_was_a_provider_makes_spans(monkeypatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    observed = observe_httpx(Upstream(), "up")
    await observed.handle_async_request(httpx.Request("GET", URL))
    monkeypatch.undo()
    with captured_spans() as spans:
        await observed.handle_async_request(httpx.Request("GET", URL))
    assert [span.name for span in spans] == ["GET"]


async def test_a_reply_that_breaks_off_is_a_failure_of_the_call():
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"half"
            raise httpx.ReadTimeout("the rest does not come")

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Broken()))
    failed = metric_delta(HTTP_CLIENT_FAILURES, upstream="up", error_type="timeout")
    async with observe_httpx(httpx.AsyncClient(transport=transport), "up") as client:
        with failed, pytest.raises(httpx.ReadTimeout):
            await client.get(URL)
    assert failed.value == 1


async def test_each_request_of_a_redirect_and_of_a_mounted_transport_has_its_span():
    def reply(request: httpx.Request) -> httpx.Response:
        moved = {"Location": "http://b.example/"}
        other = {"extensions": {"http_version": b"HTTP/2"}}
        return httpx.Response(200, **other) if request.url.host[0] == "b" else httpx.Response(
            302, headers=moved
        )  # fmt: skip

    mounts = {"http://b.example": httpx.MockTransport(reply), "all://c.example": None}
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(reply), mounts=mounts, follow_redirects=True
    )
    async with observe_httpx(client, "up"):
        with captured_spans() as spans:
            await client.get("http://a.example/")
    asked = ("server.address", "http.response.status_code", "network.protocol.version")
    found = [tuple(span.attributes[name] for name in asked) for span in spans]
    assert found == [("a.example", 302, "1.1"), ("b.example", 200, "2")]
