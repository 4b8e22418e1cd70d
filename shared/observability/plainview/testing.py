"""Helpers for tests of observed services: what a block of code counted, logged and traced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from prometheus_client import REGISTRY

from . import logs, tracing
from .decode import SpanRecord, parse_otlp
from .settings import ObservabilitySettings
from .span_export import masked


class metric_delta:
    """How much a metric grew in a `with` or `async with` block, as `.value`.

    Takes a declared metric, or the name of a sample such as `http_requests_total`; series whose
    labels contain `labels` are added up. Of a histogram the observations are counted.
    """

    def __init__(self, metric: Any, **labels: object) -> None:
        declared = getattr(metric, "metric", metric)
        self._name = metric if isinstance(metric, str) else metric.name
        if getattr(declared, "kind", "") == "histogram":
            self._name += "_count"
        # a metric that is not registered can only be read from its own collector
        self._source = getattr(metric, "collector", REGISTRY)
        self._labels = {name: str(value) for name, value in labels.items()}
        self._before: float = 0
        self._after: float | None = None

    def _total(self) -> float:
        return sum(
            sample.value
            for family in self._source.collect()
            for sample in family.samples
            if sample.name == self._name and self._labels.items() <= sample.labels.items()
        )

    @property
    def value(self) -> float:
        """The growth until the end of the block, or until now inside of it."""
        return (self._total() if self._after is None else self._after) - self._before

    def __enter__(self) -> metric_delta:
        self._before, self._after = self._total(), None
        return self

    def __exit__(self, *_: object) -> None:
        self._after = self._total()

    async def __aenter__(self) -> metric_delta:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()


@contextmanager
def captured_spans() -> Iterator[list[SpanRecord]]:
    """Sampled spans that end in the block, masked as in an export.

    Makes a TracerProvider with default settings if the process has none.
    """
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        tracing.install(ObservabilitySettings(service_name="test"))
    spans: list[SpanRecord] = []

    def keep(span: ReadableSpan) -> None:
        seen = masked(span) if tracing.PIPELINE.masking else span
        spans.extend(parse_otlp(encode_spans([seen]).SerializeToString()))

    tracing.PIPELINE.listeners.append(keep)
    try:
        yield spans
    finally:
        tracing.PIPELINE.listeners.remove(keep)


@contextmanager
def captured_logs() -> Iterator[list[dict[str, Any]]]:
    """Log lines written in the block, parsed from their masked JSON."""
    lines: list[dict[str, Any]] = []

    def keep(line: bytes) -> None:
        lines.append(orjson.loads(line))

    logs.listeners.append(keep)
    try:
        yield lines
    finally:
        logs.listeners.remove(keep)
