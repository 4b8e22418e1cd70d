"""Sampling, queue, masking and server spans."""

import threading
import time

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from plainview import ObservabilitySettings, observe, tracing
from plainview.propagation import TraceparentPropagator
from plainview.signals import SPAN_QUEUE_DEPTH, SPANS_DROPPED, SPANS_EXPORTED
from plainview.span_export import ReportingExporter, masked
from plainview.testing import captured_logs, captured_spans, metric_delta

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
# low 64 bits are the highest possible, so no ratio below 1 takes this trace
UNLIKELY = f"00-0af7651916cd43ddffffffffffffffff-{SPAN}-01"
EMAIL = "ann@example.com"


class Sink(SpanExporter):
    """Keeps what it gets; while `gate` is closed it hangs, as a Collector behind a black hole."""

    def __init__(self, result=SpanExportResult.SUCCESS):
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.spans, self.result = [], result

    def export(self, spans):
        self.entered.set()
        self.gate.wait(60)
        self.spans += spans
        return self.result


def settings(**values):
    return ObservabilitySettings(**{"service_name": "test", **values})


def tracer_of(**options):
    return TracerProvider(shutdown_on_exit=False, **options).get_tracer("test")


@pytest.fixture
def pipeline():
    made = tracing.SpanPipeline()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(made)
    yield made, provider.get_tracer("test")
    made.stop(1)


def sampled(made, traceparent):
    """Decision for a server span with this parent, and for a child of it."""
    tracer = tracer_of(sampler=tracing._sampler(made))
    context = TraceparentPropagator().extract({"traceparent": traceparent} if traceparent else {})
    with tracer.start_as_current_span("server", context) as server:
        child = tracer.start_span("child")
    if traceparent:
        assert format(server.get_span_context().trace_id, "032x") == traceparent.split("-")[1]
    return tuple(span.get_span_context().trace_flags.sampled for span in (server, child))


@pytest.mark.parametrize(
    ("ratio", "trust", "traceparent", "expected"),
    [
        (1.0, True, None, True),
        (0.0, True, None, False),
        (0.0, True, SAMPLED, True),
        (1.0, True, UNSAMPLED, False),
        (1.0, False, UNSAMPLED, True),
        (0.0, False, SAMPLED, False),
        (0.999, False, UNLIKELY, False),
    ],
)
def test_who_decides_sampling(ratio, trust, traceparent, expected):
    made = settings(trace_sample_ratio=ratio, trust_remote_sampling=trust)
    assert sampled(made, traceparent) == (expected, expected)


@pytest.mark.parametrize(
    ("sampler", "traceparent", "expected"),
    [
        ("always_off", SAMPLED, False),
        ("parentbased_always_off", SAMPLED, True),
        ("parentbased_always_off", None, False),
    ],
)
def test_otel_traces_sampler_is_honoured(monkeypatch, sampler, traceparent, expected):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    assert sampled(settings(), traceparent) == (expected, expected)


def test_only_traceparent_is_taken_and_given():
    propagator, out = TraceparentPropagator(), {}
    given = {"traceparent": SAMPLED, "tracestate": "a=secret", "baggage": "b=secret"}
    propagator.inject(out, propagator.extract(given))
    assert out == {"traceparent": SAMPLED}
    assert not propagator.extract({"traceparent": f"{SAMPLED}-{'x' * 9000}"})


@pytest.mark.parametrize("masking", [True, False])
def test_spans_are_masked_exported_and_counted(pipeline, masking):
    made, tracer = pipeline
    made.masking = masking
    made.start(sink := Sink())
    with (
        metric_delta(SPANS_EXPORTED, outcome="success") as exported,
        metric_delta(SPANS_EXPORTED, outcome="failure") as failed,
        metric_delta(SPANS_DROPPED) as dropped,
        metric_delta(SPAN_QUEUE_DEPTH) as waiting,
    ):
        tracer.start_span(f"mail to {EMAIL}").end()
        assert waiting.value == 1
        assert made.stop(30)
    assert (exported.value, failed.value, dropped.value, waiting.value) == (1, 0, 0, 0)
    assert (EMAIL in sink.spans[0].name) is not masking


def test_a_hanging_collector_is_not_felt_and_drops_are_counted(pipeline, monkeypatch):
    made, tracer = pipeline
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    made.start(sink := Sink())
    sink.gate.clear()
    with metric_delta(SPANS_DROPPED) as dropped, metric_delta(SPAN_QUEUE_DEPTH) as waiting:
        tracer.start_span("first").end()
        tracer.start_span("second").end()
        assert sink.entered.wait(30)
        started = time.perf_counter()
        for _ in range(30):
            tracer.start_span("more").end()
        assert time.perf_counter() - started < 10  # who waits for it does so for a minute
        assert (waiting.value, dropped.value) == (10, 20)
        started = time.perf_counter()
        assert made.stop(0.3) is False
        assert time.perf_counter() - started < 10
    assert (dropped.value, waiting.value) == (30, 0)
    sink.gate.set()
    for thread in threading.enumerate():  # else it goes on counting during other tests
        if thread.name == "plainview-span-flush":
            thread.join(30)


def test_failures_are_counted_and_told_once_a_minute(monkeypatch):
    where = "http://user:secret@collector:4318/v1/traces?key=secret"
    sink = Sink(SpanExportResult.FAILURE)
    exporter = ReportingExporter(sink, lambda: True, lambda count: None, where)
    span = tracer_of().start_span("x")
    with captured_logs() as told, metric_delta(SPANS_EXPORTED, outcome="failure") as failed:
        for _ in range(3):
            exporter.export([span, span])
        assert [(line["event"], line["spans"], line["endpoint"]) for line in told] == [
            ("telemetry.spans_not_exported", 2, "http://collector:4318/v1/traces")
        ]
        clock = time.monotonic() + 61
        monkeypatch.setattr("plainview.span_export.time.monotonic", lambda: clock)
        exporter.export([span])
    assert [line["spans"] for line in told] == [2, 5]
    assert failed.value == 7


def test_database_calls_outside_of_a_span_are_no_traces(pipeline):
    made, tracer = pipeline
    made.start(sink := Sink())
    database = {"kind": SpanKind.CLIENT, "attributes": {"db.system.name": "redis"}}
    tracer.start_span("PING", **database).end()
    with tracer.start_as_current_span("job"):
        tracer.start_span("GET", **database).end()
    made.stop(30)
    assert [span.name for span in sink.spans] == ["GET", "job"]


def test_masked_covers_all_text_of_a_span():
    attributes = {
        "url.path": f"/users/{EMAIL}",
        "url.query": f"q={EMAIL}",
        "url.full": f"http://bob:pw@up:8002/users/{EMAIL}?q={EMAIL}",
        "user_agent.original": EMAIL,
        "http.request.header.authorization": ["Basic c2VjcmV0"],
        "password": "hunter2hunter2",
        "note": f"for {EMAIL}",
        "count": 3,
    }
    span = tracer_of().start_span(EMAIL, attributes=attributes)
    span.add_event("sent", {"to": EMAIL})
    span.record_exception(RuntimeError(f"no mailbox {EMAIL}"))
    span.set_status(trace.StatusCode.ERROR, f"RuntimeError: no mailbox {EMAIL}")
    span.end()
    clean = masked(span)
    for leak in (EMAIL, "c2VjcmV0", "hunter2", "bob"):
        assert leak in span.to_json()
        assert leak not in clean.to_json()
    kept = [clean.attributes[name] for name in ("url.path", "url.full", "count")]
    assert kept == ["__unknown__", "http://up:8002/***", 3]
    assert [event.name for event in clean.events] == ["sent", "exception"]
    assert "RuntimeError" in clean.to_json()


def test_messages_of_databases_are_not_kept():
    span = tracer_of().start_span("db.insert", attributes={"db.system.name": "mongodb"})
    span.set_status(trace.StatusCode.ERROR, 'E11000 dup key: { name: "Jane Roe" }')
    span.end()
    status = masked(span).status
    assert (status.description, status.status_code) == (None, trace.StatusCode.ERROR)


@pytest.fixture(params=["plainview", "stock"])
def client(request):
    app, events, outer = FastAPI(), APIRouter(prefix="/events"), APIRouter(prefix="/api/v1")

    @events.get("/{event_id}")
    async def show(event_id: str) -> dict[str, str]:
        return tracing.exemplar()

    outer.include_router(events)
    app.include_router(outer)
    observe(app, settings(logs=False, metrics=False, spans_by=request.param))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://svc")


async def test_server_span(client):
    headers = {"traceparent": SAMPLED, "User-Agent": "c4n4ry"}
    with captured_spans() as spans:
        reply = await client.get("/api/v1/events/c4n4ry?token=c4n4ry", headers=headers)
        await client.request("C4N4RY", "/nowhere/c4n4ry")
    span, unknown = spans
    assert (unknown.name, unknown.attributes["url.path"]) == ("HTTP", "__unknown__")
    route = "/api/v1/events/{event_id}"
    assert (span.name, span.kind) == (f"GET {route}", "server")
    assert (span.trace_id, span.parent_id) == (TRACE, SPAN)
    assert span.attributes["http.request.method"] == "GET"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.route"] == span.attributes["url.path"] == route
    assert not [name for name in span.attributes if name.startswith(("http.status", "http.method"))]
    assert "c4n4ry" not in repr(spans).lower()
    assert reply.json() == {"trace_id": TRACE, "span_id": span.span_id}


def test_install_reuses_the_provider_there_is():
    first = tracing.install(settings())
    assert tracing.install(settings()) is first is trace.get_tracer_provider()
    assert first.resource.attributes["service.instance.id"]
    assert isinstance(propagate.get_global_textmap(), TraceparentPropagator)


def test_without_endpoint_nothing_is_exported(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert not tracing._exports()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")
    assert tracing._exports()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not tracing._exports()


@pytest.mark.parametrize(
    ("query", "header"),
    [
        (b"a=\xff", (b"x", b"y")),
        (b"", (b"user-agent", b"\xff\\x")),
        (b"", (b"traceparent", b"\xff\\x")),
        (b"", (b"host", b"\xff\\N{")),
        (b"", (b"host", b"[::1")),
        (b"", (b"host", b"a[b")),
        (b"", (b"x-other", b"\xff\\x")),
    ],
)
async def test_bytes_that_are_no_text_do_not_break_the_request(client, query, header):
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    scope = {
        **{"type": "http", "method": "GET", "path": "/api/v1/events/1", "query_string": query},
        **{"headers": [header], "server": ("127.0.0.1", 80)},
    }
    with captured_spans() as spans:
        await client._transport.app(scope, receive, send)
    assert (sent[0]["status"], len(spans)) == (200, 1)
