"""A page of metrics in which series that have not changed since the last one are not written anew.

A service with a thousand routes has ten thousand lines on its page, and few of them change between
two scrapes. Texts are still those of prometheus_client's own encoders. Created samples, which the
library switches off, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_FORMS = 2  # forms of a page whose texts are kept: Prometheus' own and OpenMetrics
_END = b"# EOF\n"  # of OpenMetrics
Encoder = Callable[[Collector], bytes]

_met: ContextVar[list[Remembered] | None] = ContextVar("plainview_page", default=None)


def encoded(registry: CollectorRegistry, encode: Encoder, form: str) -> bytes:
    """The page of a registry; `form` names the encoder's output."""
    met: list[Remembered] = []
    token = _met.set(met)
    try:
        page = encode(registry)
    finally:
        _met.reset(token)
    end = _END if page.endswith(_END) else b""
    return b"".join((page.removesuffix(end), *(one.text(encode, form) for one in met), end))


class Remembered(Collector):
    """In a registry in place of a counter or histogram; keeps the texts of its series."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._texts: dict[str, dict[tuple[str, ...], tuple[object, bytes]]] = {}

    def describe(self) -> Iterable[Metric]:
        """What the metric says of itself."""
        found: Iterable[Metric] = self._metric.describe()
        return found

    def collect(self) -> Iterable[Metric]:
        """All series; none for a page of `encoded`, which asks for their text afterwards."""
        met = _met.get()
        if met is None:
            found: Iterable[Metric] = self._metric.collect()
            return found
        met.append(self)
        return ()

    def text(self, encode: Encoder, form: str) -> bytes:
        """Header and series as they stand on a page."""
        (family,) = self._metric.describe()
        head = _text(family, encode)
        if form not in self._texts and len(self._texts) >= _FORMS:
            self._texts.clear()
        texts = self._texts.setdefault(form, {})
        parts = [head]
        with self._metric._lock:
            children = list(self._metric._metrics.items())
        for values, child in children:
            state = _state(child)  # before the text, which may be newer then, never older
            known = texts.get(values)
            if known is None or known[0] != state:
                labels = dict(zip(self._metric._labelnames, values, strict=True))
                (own,) = child.collect()
                family.samples = [
                    sample._replace(labels=labels | sample.labels)
                    for sample in own.samples
                    if not sample.name.endswith("_created")
                ]
                known = texts[values] = state, _text(family, encode)[len(head) :]
            parts.append(known[1])
        return b"".join(parts)


def _state(child: Any) -> object:
    """What differs once the series has changed."""
    if isinstance(child, Histogram):
        return [bucket.get() for bucket in child._buckets]
    return child._value.get()


class _One(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _text(family: Metric, encode: Encoder) -> bytes:
    return encode(_One(family)).removesuffix(_END)
