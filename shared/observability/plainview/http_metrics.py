"""HTTP metrics, named as starlette-exporter names them, written from the record of a request.

`http_requests_total`, `http_request_duration_seconds` and `http_requests_in_progress`. Methods
outside of the nine standard ones are `_OTHER` and paths without a route `__unknown__`, so clients
cannot add series; labels of the application's own are bounded. Series are looked up once.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from starlette.types import Scope

from .catalogue import OTHER, label_text
from .guarded import guarded
from .page_texts import Remembered
from .record import METHODS, OTHER_METHOD, UNKNOWN, Record
from .settings import ObservabilitySettings
from .signals import HTTP_LATE_FAILURES

#: `header:X-Tenant`, `state:plan` (of `request.state`), or a function of the ASGI scope
LabelSource = str | Callable[[Scope], object]

OWN = ("method", "path", "status_code", "app_name")
_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST = 100  # characters of a label's value
_GUARD = guarded("metrics")
_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # bytes


class HttpLabels:
    """Finds the values of these labels at the end of a request.

    What is missing, or fails, is "", which Prometheus takes for no label. The first `limit`
    combinations of values have series of their own, all others are `_other`. ValueError for a
    name that is taken or no label's, and for a source that is none.
    """

    def __init__(self, sources: Mapping[str, LabelSource], limit: int) -> None:
        for name in sources:
            if name in (*OWN, "le") or not _NAME.fullmatch(name):
                raise ValueError(f"http_labels: {name!r} cannot be the name of a label of yours")
        self.names = tuple(sources)
        self._sources = [_reader(name, source) for name, source in sources.items()]
        self._limit = limit
        self._known = {("",) * len(self.names)}

    def of(self, scope: Scope) -> tuple[str, ...]:
        found = tuple([_text(source, scope) for source in self._sources])
        if found not in self._known:
            if len(self._known) > self._limit:
                return (OTHER,) * len(found)
            self._known.add(found)
        return found


def _reader(name: str, source: object) -> Callable[[Scope], object]:
    if callable(source):
        return source
    kind, _, key = source.partition(":") if isinstance(source, str) else ("", "", "")
    if not key or kind not in ("header", "state"):
        raise ValueError(
            f"http_labels: {name} is {source!r}, not 'header:NAME', 'state:NAME' or a function"
        )
    if kind == "state":
        return lambda scope: _of_state(scope.get("state"), key)
    header = key.lower().encode("latin-1")
    return lambda scope: next((v.decode("latin-1") for n, v in scope["headers"] if n == header), "")


def _of_state(state: Any, key: str) -> object:
    return state.get(key, "") if isinstance(state, Mapping) else getattr(state, key, "")


def _text(source: Callable[[Scope], object], scope: Scope) -> str:
    with _GUARD:
        value = source(scope)
        return "" if value is None else label_text(value)[:_LONGEST]
    return ""


class Collectors:
    """The metrics of this process; labels, buckets and sizes are those of the first app."""

    def __init__(
        self, buckets: tuple[float, ...], own: tuple[str, ...] = (), *, sizes: bool = False
    ) -> None:
        self.shape = (buckets, own, sizes)
        labels = (*OWN, *own)

        def histogram(name: str, text: str, bounds: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, labels, buckets=bounds, registry=None)

        self.requests = Counter("http_requests_total", "Total HTTP requests", labels, registry=None)
        self.duration = histogram(
            "http_request_duration_seconds", "HTTP request duration, in seconds", buckets
        )
        self.in_progress = Gauge(
            "http_requests_in_progress",
            "Total HTTP requests currently in progress",
            ("method", "app_name"),
            registry=None,
            multiprocess_mode="livesum",
        )
        #: by name, all but the sizes
        self.named: Mapping[str, Any] = {
            "http_requests_total": self.requests,
            "http_request_duration_seconds": self.duration,
            "http_requests_in_progress": self.in_progress,
        }
        bodies = {"request": "as read by the application", "response": "as sent"}
        self.sizes = {
            (name := f"http_{of}_size_bytes"): histogram(
                name, f"Bytes of the {of}'s body, {how}", _SIZES
            )
            for of, how in (bodies.items() if sizes else ())
        }

    def register(self) -> list[str]:
        """Expose them; returns the names that another library has registered already."""
        taken = []
        for name, collector in {**self.named, **self.sizes}.items():
            try:
                # gauges are few
                few = isinstance(collector, Gauge)
                REGISTRY.register(collector if few else Remembered(collector))
            except ValueError:
                taken.append(name)
        return taken


_collectors: Collectors | None = None


def collectors(
    settings: ObservabilitySettings, own: tuple[str, ...] = ()
) -> tuple[Collectors, list[str]]:
    """The metrics, made and registered for the first app, and sentences about what failed."""
    global _collectors  # noqa: PLW0603 - one per process, as its registry
    told = []
    if _collectors is None:
        _collectors = Collectors(settings.latency_buckets, own, sizes=settings.http_sizes)
        told = [
            f"the name {name} is taken, its values are not shown" for name in _collectors.register()
        ]
    else:
        wanted = (settings.latency_buckets, own, settings.http_sizes)
        names = ("latency_buckets", "http_labels", "http_sizes")
        told = [
            f"{name} are those of the app that was observed first"
            for name, mine, there in zip(names, wanted, _collectors.shape, strict=True)
            if mine != there
        ]
    return _collectors, told


class HttpMetrics:
    """Counts the requests of one app."""

    def __init__(
        self, made: Collectors, app_name: str, *, exemplars: bool, labels: HttpLabels | None = None
    ) -> None:
        self._made = made
        self._app_name = app_name
        self._exemplars = exemplars
        own = made.shape[1]
        #: None if the collectors have other labels than these, or none
        self._labels = labels if labels is not None and own and labels.names == own else None
        self._none = ("",) * len(own)
        #: whether the bytes of requests are to be counted
        self.sizes = bool(made.sizes)
        self._children: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        # series that any client can cause exist from the start, so that a scan adds none
        for method, status in (("GET", 404), ("POST", 404), (OTHER_METHOD, 405)):
            self._add((method, UNKNOWN, status), self._none)
        self._in_progress = {
            method: made.in_progress.labels(method, app_name) for method in (*METHODS, OTHER_METHOD)
        }

    def begin(self, method: str) -> None:
        self._in_progress[method].inc()

    def end(self, record: Record, scope: Scope) -> None:
        self._in_progress[record.method].dec()
        if record.silent:
            return
        key = (record.method, record.path, record.status)
        if self._labels is None:
            found = self._children.get(key) or self._add(key, self._none)
        else:
            own = self._labels.of(scope)
            found = self._children.get((*key, *own)) or self._add(key, own)
        exemplar = None
        if self._exemplars:
            context = record.span.get_span_context()
            if context.trace_flags.sampled and context.trace_id:
                exemplar = {
                    "trace_id": f"{context.trace_id:032x}",
                    "span_id": f"{context.span_id:016x}",
                }
        found[0].inc()
        found[1].observe(record.duration_s, exemplar)
        if self.sizes:
            found[2].observe(record.received)
            found[3].observe(record.size)

    def failed_late(self, record: Record, phase: str) -> None:
        """Count an exception that came after a good status was sent."""
        HTTP_LATE_FAILURES.inc(path=record.path, phase=phase, app_name=self._app_name)

    def _add(self, key: tuple[str, str, int], own: tuple[str, ...]) -> tuple[Any, ...]:
        labels = (*key, self._app_name, *own)
        metrics = (self._made.requests, self._made.duration, *self._made.sizes.values())
        made = tuple([metric.labels(*labels) for metric in metrics])
        self._children[key if self._labels is None else (*key, *own)] = made
        return made
