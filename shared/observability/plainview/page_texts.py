"""A page of metrics in which series that have not changed since the last one are not written anew.

A service with a thousand routes has ten thousand lines on its page, and few of them change between
two scrapes. Texts are still those of prometheus_client's own encoders. Created samples, which the
library switches off, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_FORMS = 2  # forms of a page whose texts are kept: Prometheus' own and OpenMetrics
_END = b"# EOF\n"  # of OpenMetrics
Encoder = Callable[[Collector], bytes]


def encoded(registry: CollectorRegistry, encode: Encoder, form: str) -> bytes:
    """The page of a registry; `form` names the encoder's output."""
    rest = _Rest(registry)
    page = encode(rest)
    end = _END if page.endswith(_END) else b""
    return b"".join((page.removesuffix(end), *(one.text(encode, form) for one in rest.left), end))


class _Rest(Collector):
    """What a registry has, without the remembered metrics, which are `left` for their texts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.left: list[Remembered] = []

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            if isinstance(family, _Family):
                self.left.append(family.owner)
            else:
                yield family


class _Family(Metric):
    """A remembered metric; its series are made when somebody reads them, which no page does."""

    def __init__(self, owner: Remembered) -> None:
        (own,) = owner.describe()
        super().__init__(own.name, own.documentation, own.type, own.unit)
        self.owner = owner
        del self.samples  # so that they are asked of `__getattr__`

    def __getattr__(self, name: str) -> Any:
        if name != "samples":
            raise AttributeError(name)
        (own,) = self.owner.metric.collect()
        return own.samples


class Remembered(Collector):
    """In a registry in place of a counter or histogram; keeps the texts of its series."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        self._texts: dict[str, dict[tuple[str, ...], tuple[object, object, bytes]]] = {}

    def describe(self) -> Iterable[Metric]:
        found: Iterable[Metric] = self.metric.describe()
        return found

    def collect(self) -> Iterable[Metric]:
        return (_Family(self),)

    def text(self, encode: Encoder, form: str) -> bytes:
        """Header and series as they stand on a page."""
        (family,) = self.metric.describe()
        head = _text(family, encode)
        if form not in self._texts and len(self._texts) >= _FORMS:
            self._texts.clear()
        texts = self._texts.setdefault(form, {})
        parts = [head]
        with self.metric._lock:
            children = list(self.metric._metrics.items())
        for values, child in children:
            state = _state(child)  # before the text, which may be newer then, never older
            known = texts.get(values)
            # after `remove` and `clear` a new child may have the values of an old one
            if known is None or known[0] is not child or known[1] != state:
                labels = dict(zip(self.metric._labelnames, values, strict=True))
                (own,) = child.collect()
                family.samples = [
                    sample._replace(labels=labels | sample.labels)
                    for sample in own.samples
                    if not sample.name.endswith("_created")
                ]
                known = texts[values] = child, state, _text(family, encode)[len(head) :]
            parts.append(known[2])
        return b"".join(parts)


def _state(child: Any) -> object:
    """What differs once the series has changed."""
    if isinstance(child, Histogram):
        return [(bucket.get(), bucket.get_exemplar()) for bucket in child._buckets]
    return child._value.get(), child._value.get_exemplar()


class _One(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _text(family: Metric, encode: Encoder) -> bytes:
    return encode(_One(family)).removesuffix(_END)
