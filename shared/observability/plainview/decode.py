"""Readers of metric pages and OTLP requests, which give plain records; for tests and tools."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a metric page; `exemplar` holds the labels of its exemplar, if any."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span: IDs in hex, times in ns since the epoch, kind and status as words.

    `events` are (name, attributes), `links` are (trace_id, span_id), `status` is
    "unset", "ok" or "error", `parent_id` is "" at a root.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    service: str
    status_description: str = ""

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


class Metrics:
    """The samples of a metric page, by their names."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self.samples = list(samples)
        self._by_name: dict[str, list[Sample]] = {}
        for sample in self.samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    def all(self, name: str) -> list[Sample]:
        return self._by_name.get(name, [])

    def value(self, name: str, **labels: str) -> float:
        """The sum over the samples with these labels; 0 without any."""
        return sum(s.value for s in self.all(name) if labels.items() <= s.labels.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        sums: dict[str, float] = {}
        for sample in self.all(name):
            key = sample.labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums


def parse_metrics(text: str) -> list[Sample]:
    """Samples of a page in Prometheus or OpenMetrics form (with `# EOF`); ValueError if neither."""
    form = openmetrics_parser if text.rstrip().endswith("# EOF") else parser
    return [
        Sample(
            sample.name,
            dict(sample.labels),
            float(sample.value),
            dict(sample.exemplar.labels) if sample.exemplar else None,
        )
        for family in form.text_string_to_metric_families(text)
        for sample in family.samples
    ]


def parse_otlp(body: bytes) -> list[SpanRecord]:
    """Spans of an OTLP/HTTP protobuf body, already gunzipped; ValueError if it is none."""
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except Exception as error:
        raise ValueError("not an OTLP trace request") from error
    records = []
    for resource_spans in request.resource_spans:
        service = str(_attributes(resource_spans.resource.attributes).get("service.name", ""))
        for scope_spans in resource_spans.scope_spans:
            records += [_record(span, service) for span in scope_spans.spans]
    return records


def _record(span: Any, service: str) -> SpanRecord:
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=_KINDS[span.kind] if span.kind < len(_KINDS) else "unspecified",
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=_STATUSES[span.status.code] if span.status.code < len(_STATUSES) else "unset",
        attributes=_attributes(span.attributes),
        events=[(event.name, _attributes(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        service=service,
        status_description=span.status.message,
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, which) if which else None
