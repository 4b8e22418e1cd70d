"""The one place where metrics are declared: name, type, unit, help and closed label sets.

A metric counts from its declaration on and is exposed once its catalogue is registered.
Closed sets exist at zero from the start; a value outside of its set raises when
`PLAINVIEW_STRICT=1`, else it is counted under `_other`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from math import nan
from time import perf_counter
from typing import Any, Literal, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from . import workers
from .guarded import guarded

OTHER = "_other"
_GUARD = guarded("metrics")


@dataclass(frozen=True)
class Bounded:
    """A label with open values: the first `limit` get series of their own, others are `_other`."""

    limit: int = 100


LabelValues = type[StrEnum] | tuple[str, ...] | Bounded
Kind = Literal["counter", "gauge", "histogram"]
#: what a page shows of a gauge that several workers set, by prometheus_client's name of it
Workers = Literal["sum", "max", "min", "latest"]
_MODES: dict[Workers, Any] = {
    "sum": "livesum",
    "max": "livemax",
    "min": "livemin",
    "latest": "livemostrecent",
}


@dataclass(frozen=True)
class Metric:
    """The declaration of a metric; `unit` is its base unit, "" if it has none."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: Mapping[str, LabelValues] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    multiprocess_mode: Workers = "sum"


@dataclass(frozen=True)
class Slo:
    """An objective: the share (0 to 1) of `total` that has to be `good`; both PromQL selectors."""

    name: str
    objective: float
    good: str
    total: str
    summary: str = ""


@dataclass(frozen=True)
class Alert:
    """An alert on a PromQL expression that has to hold for `for_`; `dashboards` are slugs.

    The expression gives a series only for what is wrong. `{value:FUNCTION}` or `{value:%.3g}` in
    the summary stands for its value; `panel` is the title of a panel on the first dashboard.
    """

    name: str
    expr: str
    summary: str
    for_: str = "5m"
    severity: Literal["critical", "warning", "ticket", "none"] = "warning"
    dashboards: tuple[str, ...] = ()
    panel: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def runbook(self) -> str:
        """Slug of its runbook: `RewardStockLow` is `reward-stock-low`."""
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in self.name).lstrip("-")


def label_text(value: object) -> str:
    """The value as a text that a page can show, whatever halves of characters it has."""
    return str(value).encode("utf-8", "replace").decode()


def _values(labels: LabelValues) -> tuple[str, ...]:
    if isinstance(labels, Bounded):
        return ()
    return labels if isinstance(labels, tuple) else tuple(str(member) for member in labels)


class _Spec:
    """Finds the series (child) for given labels, and keeps open labels within their bound."""

    def __init__(self, metric: Metric, collector: Any) -> None:
        self.metric = metric
        self.name = metric.name
        self.collector = collector
        self._names = tuple(metric.labels)
        self._sets = [_values(values) for values in metric.labels.values()]
        bounds = [v.limit for v in metric.labels.values() if isinstance(v, Bounded)]
        self._dynamic = [i for i, v in enumerate(metric.labels.values()) if isinstance(v, Bounded)]
        # with several open labels the bound is on their combinations
        self._limit = min(bounds, default=0)
        self._known: set[tuple[str, ...]] = set()
        self._children: dict[tuple[str, ...], Any] = {}
        if not self._dynamic:
            for values in product(*self._sets):
                self._add(values)

    def _add(self, values: tuple[str, ...]) -> Any:
        child = self.collector.labels(*values) if values else self.collector
        self._children[values] = child
        return child

    def _child(self, labels: Mapping[str, object]) -> Any:
        try:
            if len(labels) == len(self._names):
                return self._children[tuple([labels[name] for name in self._names])]  # type: ignore[misc]
        except (KeyError, TypeError):
            pass
        return self._new(labels)

    def _new(self, labels: Mapping[str, object]) -> Any:
        if set(labels) != set(self._names):
            raise ValueError(f"{self.name}: labels {sorted(labels)}, not {sorted(self._names)}")
        values = self._admit(tuple(label_text(labels[name]) for name in self._names))
        return self._children.get(values) or self._add(values)

    def _admit(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The label values of the series to use: the given ones, or `_other` beyond a bound."""
        admitted = list(values)
        for i, allowed in enumerate(self._sets):
            if i not in self._dynamic and values[i] not in allowed and values[i] != OTHER:
                if os.environ.get("PLAINVIEW_STRICT") == "1":
                    raise ValueError(
                        f"{self.name}: {self._names[i]}={values[i]!r} not in {allowed}"
                    )
                admitted[i] = OTHER
        if self._dynamic:
            key = tuple(values[i] for i in self._dynamic)
            if key not in self._known and len(self._known) >= self._limit:
                for i in self._dynamic:
                    admitted[i] = OTHER
            else:
                self._known.add(key)
        return tuple(admitted)


S = TypeVar("S", bound=_Spec)


class CounterSpec(_Spec):
    """A count that only grows."""

    def inc(self, amount: float = 1, **labels: object) -> None:
        with _GUARD:
            self._child(labels).inc(amount)


class GaugeSpec(_Spec):
    """A value that goes up and down."""

    def set(self, value: float, **labels: object) -> None:
        with _GUARD:
            self._child(labels).set(value)

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add `amount`, which may be negative, to the series of these labels."""
        with _GUARD:
            self._child(labels).inc(amount)

    def replace(
        self,
        values: Mapping[tuple[str, ...], float],
        fold: Callable[[Iterable[float]], float] = sum,
    ) -> None:
        """Make these the only series, keyed by label values in declared order.

        Series beyond the bound become one `_other` with the value `fold(values)`; the default, a
        sum, is wrong for ratios. Series of closed sets that are not given become 0.
        """
        with _GUARD:
            self._known.clear()
            folded: dict[tuple[str, ...], list[float]] = {}
            for key, value in values.items():
                if len(key) != len(self._names):
                    raise ValueError(f"{self.name}: {key} are not the labels {self._names}")
                folded.setdefault(self._admit(tuple(map(label_text, key))), []).append(value)
            # set new values before removing old series, so that no scrape finds a gap
            for key, group in folded.items():
                (self._children.get(key) or self._add(key)).set(fold(group))
            for key in [key for key in self._children if key not in folded]:
                if self._dynamic:
                    child = self._children.pop(key)
                    if workers.DIRECTORY is None:
                        self.collector.remove(*key)
                    else:  # a file keeps its keys; what is not a number is not shown
                        child.set(nan)
                else:
                    self._children[key].set(0)


class HistogramSpec(_Spec):
    """A distribution, by default of seconds."""

    #: labels of the exemplar for an observation made now, {} for none; set by `observe()`
    exemplar: Callable[[], dict[str, str]] | None = None

    def observe(self, value: float, **labels: object) -> None:
        with _GUARD:
            source = HistogramSpec.exemplar
            self._child(labels).observe(value, (source() or None) if source else None)

    @contextmanager
    def time(self, **labels: object) -> Iterator[None]:
        """Observe how many seconds the block takes, also when it raises."""
        start = perf_counter()
        try:
            yield
        finally:
            self.observe(perf_counter() - start, **labels)


class Catalogue:
    """Metrics, objectives and alerts of one owner; `namespace` names it and is no prefix."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.slos: list[Slo] = []
        self.alerts: list[Alert] = []
        self._metrics: dict[str, Metric] = {}
        self._collectors: list[Any] = []
        self._registries: list[CollectorRegistry] = []

    @property
    def specs(self) -> tuple[Metric, ...]:
        return tuple(self._metrics.values())

    def counter(
        self, name: str, help: str, *, labels: Mapping[str, LabelValues] | None = None
    ) -> CounterSpec:
        """Declare a counter; its name ends in `_total`."""
        if not name.endswith("_total"):
            raise ValueError(f"{name}: the name of a counter ends in _total")
        return self._declare(CounterSpec, Counter, Metric(name, "counter", help, "", labels or {}))

    def gauge(
        self,
        name: str,
        help: str,
        *,
        unit: str = "",
        labels: Mapping[str, LabelValues] | None = None,
        multiprocess_mode: Workers = "sum",
    ) -> GaugeSpec:
        """Declare a gauge; its name ends in its unit, if it has one.

        With several worker processes a page shows, of those that run, the sum (right for what
        each worker has of its own), the largest or smallest, or the value that was set last
        (right for what all of them read from one database; `set` and `replace` only).
        """
        metric = Metric(name, "gauge", help, unit, labels or {}, (), multiprocess_mode)
        mode = _MODES[multiprocess_mode]
        return self._declare(GaugeSpec, Gauge, metric, multiprocess_mode=mode)

    def histogram(
        self,
        name: str,
        help: str,
        *,
        buckets: Iterable[float],
        unit: str = "seconds",
        labels: Mapping[str, LabelValues] | None = None,
    ) -> HistogramSpec:
        """Declare a histogram with these upper bounds (without +Inf)."""
        metric = Metric(name, "histogram", help, unit, labels or {}, tuple(buckets))
        return self._declare(HistogramSpec, Histogram, metric, buckets=metric.buckets)

    def external(self, metric: Metric) -> Metric:
        """Declare a metric that another library makes; ValueError if the name is taken."""
        if metric.name in self._metrics:
            raise ValueError(f"{metric.name} is declared twice in {self.namespace}")
        self._metrics[metric.name] = metric
        return metric

    def slo(self, slo: Slo) -> Slo:
        self.slos.append(slo)
        return slo

    def alert(self, alert: Alert) -> Alert:
        self.alerts.append(alert)
        return alert

    def register(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Expose the metrics; may be called again. ValueError if a name is registered already."""
        if refused := self.expose(registry):
            raise ValueError("; ".join(refused))

    def expose(self, registry: CollectorRegistry = REGISTRY) -> list[str]:
        """Like `register`, but skips what cannot be exposed; returns a sentence for each of it."""
        if registry in self._registries:
            return []
        self._registries.append(registry)
        refused = []
        for collector in self._collectors:
            try:
                registry.register(collector)
            except ValueError as error:
                refused.append(f"a metric of {self.namespace} is not shown: {error}")
        return refused

    def _declare(
        self, spec: type[S], make: Callable[..., Any], metric: Metric, **options: Any
    ) -> S:
        self.external(metric)
        collector = make(metric.name, metric.help, [*metric.labels], registry=None, **options)
        self._collectors.append(collector)
        return spec(metric, collector)
