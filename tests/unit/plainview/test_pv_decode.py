"""Metric pages and OTLP bodies as plain records."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from plainview.decode import SpanRecord, parse_otlp


def test_otlp():
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "event"
    span = resource.scope_spans.add().spans.add(
        trace_id=bytes.fromhex("ab" * 16),
        span_id=bytes.fromhex("cd" * 8),
        name="GET /x",
        kind=2,
        start_time_unix_nano=1_000_000_000,
        end_time_unix_nano=1_250_000_000,
    )
    span.attributes.add(key="n").value.int_value = 7
    span.attributes.add(key="list").value.array_value.values.add().string_value = "one"
    span.events.add(name="exception").attributes.add(key="m").value.bool_value = True
    span.links.add(trace_id=bytes.fromhex("11" * 16), span_id=bytes.fromhex("22" * 8))
    span.status.code = 2
    span.status.message = "broken"
    (record,) = parse_otlp(request.SerializeToString())
    assert record == SpanRecord(
        **{"trace_id": "ab" * 16, "span_id": "cd" * 8, "parent_id": "", "service": "event"},
        **{"name": "GET /x", "kind": "server", "status": "error", "status_description": "broken"},
        **{"start_ns": 1_000_000_000, "end_ns": 1_250_000_000},
        attributes={"n": 7, "list": ["one"]},
        events=[("exception", {"m": True})],
        links=[("11" * 16, "22" * 8)],
    )
    assert record.duration_s == pytest.approx(0.25)


def test_otlp_of_something_else_raises():
    with pytest.raises(ValueError, match="not an OTLP"):
        parse_otlp(b'{"resourceSpans": []}')
