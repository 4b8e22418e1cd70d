"""The library's own encoding of spans says the same as OpenTelemetry's."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from plainview.otlp import LeanExporter, encode
from tests.support.otlp import OtlpReceiver

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
PLAIN = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from([0, 1, 127, 128, 16_384, -1, "", "x" * 127, "é" * 128])
)
ANY = PLAIN | st.lists(TEXTS, max_size=3) | st.binary(max_size=9) | st.just(2**63)
NAMES = st.text(max_size=12) | st.sampled_from(["http.route", "request_id", "k" * 200])
STATES = st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "2")])])
RESOURCES = [
    Resource({"service.name": "a", "list": ["x"]}, "https://example.com/schema"),
    Resource({"service.name": "b"}),
]
SCOPES = [
    InstrumentationScope("one"),
    InstrumentationScope("two", "1.2", "https://example.com/scope", {"k": "v"}),
    None,
]


def _contexts(states: st.SearchStrategy[TraceState]) -> st.SearchStrategy[SpanContext]:
    return st.builds(
        SpanContext,
        st.integers(1, 2**128 - 1),
        st.integers(1, 2**64 - 1),
        st.booleans(),
        st.just(TraceFlags(1)),
        states,
    )


def _attributes(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, values, max_size=6)


@st.composite
def spans(draw: st.DrawFn) -> ReadableSpan:
    odd = draw(st.booleans())
    times = st.integers(0, 2**63)
    events = st.builds(Event, TEXTS, _attributes(PLAIN), times)
    links = st.builds(Link, _contexts(STATES), _attributes(PLAIN))
    statuses = st.builds(Status, st.sampled_from(StatusCode))
    return ReadableSpan(
        draw(TEXTS),
        draw(_contexts(STATES if odd else st.just(TraceState()))),
        parent=draw(st.none() | _contexts(STATES)),
        resource=draw(st.sampled_from(RESOURCES)),
        attributes=draw(_attributes(ANY if odd else PLAIN)),
        events=draw(st.lists(events, max_size=2)) if odd else (),
        links=draw(st.lists(links, max_size=2)) if odd else (),
        kind=draw(st.sampled_from(SpanKind)),
        status=draw(statuses | TEXTS.map(lambda text: Status(StatusCode.ERROR, text))),
        start_time=draw(times),
        end_time=draw(times),
        instrumentation_scope=draw(st.sampled_from(SCOPES)),
    )


@given(st.lists(spans(), max_size=5))
def test_any_spans_are_the_same_message(made):
    assert ExportTraceServiceRequest.FromString(encode(made)) == encode_spans(made)


@pytest.fixture
def official(monkeypatch):
    """Batches that were left to OpenTelemetry's exporter."""
    left: list[Sequence[ReadableSpan]] = []

    def export(_: object, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        left.append(spans)
        return SpanExportResult.FAILURE

    monkeypatch.setattr(OTLPSpanExporter, "export", export)
    return left


def _span(name: str, number: int = 1, **more: Any) -> ReadableSpan:
    context = SpanContext(number, number, is_remote=False)
    return ReadableSpan(name, context, start_time=1, end_time=2, resource=RESOURCES[1], **more)


def test_batches_arrive_without_the_official_encoder_and_without_a_proxy(official, monkeypatch):
    """Whatever the environment says to other programs: a Collector is inside."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with OtlpReceiver() as otlp:
        exporter = LeanExporter(f"{otlp.endpoint}/v1/traces")
        sent = [_span("a", attributes={"k": "v"}), _span("b")]
        assert exporter.export(sent) is SpanExportResult.SUCCESS
        exporter.shutdown()
        found = [(span.name, span.service, span.attributes) for span in otlp.spans]
    assert found == [("a", "b", {"k": "v"}), ("b", "b", {})]
    assert not official


def test_what_it_cannot_send_is_left_to_the_official_exporter(official):
    exporter = LeanExporter("http://127.0.0.1:1/v1/traces", max_request_size=100)
    batches = [[_span("long" * 100)], [_span("no ID", -1)], [_span("after the end")]]
    for number, batch in enumerate(batches):
        if number == 2:
            exporter.shutdown()
        assert exporter.export(batch) is SpanExportResult.FAILURE
    assert official == batches


def test_a_version_with_other_parts_is_left_to_itself_too(official):
    exporter = LeanExporter("http://127.0.0.1:1/v1/traces")
    exporter.__dict__.pop("_max_request_size", None)
    assert exporter.export([_span("a")]) is SpanExportResult.FAILURE
    assert len(official) == 1
