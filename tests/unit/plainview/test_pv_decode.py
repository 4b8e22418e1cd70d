"""Metric pages and OTLP bodies as plain records."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from plainview.decode import Sample, parse_metrics, parse_otlp


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("claims", "Claims", ["outcome"], registry=made).labels('a"\\b').inc(3)
    Histogram("wait_seconds", "Wait", buckets=[1], registry=made).observe(
        0.5, {"trace_id": "ab" * 16, "span_id": "cd" * 8}
    )
    return made


def test_prometheus_page() -> None:
    samples = parse_metrics(generate_latest(registry()).decode())
    assert Sample("claims_total", {"outcome": 'a"\\b'}, 3.0) in samples
    assert Sample("wait_seconds_bucket", {"le": "1.0"}, 1.0) in samples


def test_openmetrics_page_has_exemplars() -> None:
    samples = parse_metrics(generate_openmetrics(registry()).decode())
    bucket = next(s for s in samples if s.name == "wait_seconds_bucket" and s.labels["le"] == "1.0")
    assert bucket.exemplar == {"trace_id": "ab" * 16, "span_id": "cd" * 8}
    assert next(s for s in samples if s.name == "wait_seconds_count").exemplar is None


def test_a_page_that_is_none_raises() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the parser's
        parse_metrics("<html>not metrics</html>")


def test_otlp() -> None:
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
    assert (record.trace_id, record.span_id, record.parent_id) == ("ab" * 16, "cd" * 8, "")
    assert (record.service, record.name, record.kind) == ("event", "GET /x", "server")
    assert (record.status, record.status_description) == ("error", "broken")
    assert record.attributes == {"n": 7, "list": ["one"]}
    assert record.events == [("exception", {"m": True})]
    assert record.links == [("11" * 16, "22" * 8)]
    assert record.duration_s == pytest.approx(0.25)


def test_otlp_of_something_else_raises() -> None:
    with pytest.raises(ValueError, match="not an OTLP"):
        parse_otlp(b'{"resourceSpans": []}')
