"""HTTP metrics, named as starlette-exporter names them, written from the record of a request.

`http_requests_total`, `http_request_duration_seconds` and `http_requests_in_progress`. Methods
outside of the nine standard ones are `_OTHER` and paths without a route `__unknown__`, so clients
cannot add series. Series are looked up once per method, route and status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from .record import METHODS, OTHER_METHOD, UNKNOWN, Record
from .settings import ObservabilitySettings
from .signals import HTTP_LATE_FAILURES

_LABELS = ("method", "path", "status_code", "app_name")


class Collectors:
    """The three metrics of this process; its buckets are those of the first app."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        self.requests = Counter(
            "http_requests_total", "Total HTTP requests", _LABELS, registry=None
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "HTTP request duration, in seconds",
            _LABELS,
            buckets=buckets,
            registry=None,
        )
        self.in_progress = Gauge(
            "http_requests_in_progress",
            "Total HTTP requests currently in progress",
            ("method", "app_name"),
            registry=None,
            multiprocess_mode="livesum",
        )

    def register(self) -> list[str]:
        """Expose them; returns the names that another library has registered already."""
        taken = []
        for name, collector in self.named().items():
            try:
                REGISTRY.register(collector)
            except ValueError:
                taken.append(name)
        return taken

    def named(self) -> Mapping[str, Any]:
        """The metrics by name."""
        return {
            "http_requests_total": self.requests,
            "http_request_duration_seconds": self.duration,
            "http_requests_in_progress": self.in_progress,
        }


_collectors: Collectors | None = None


def collectors(settings: ObservabilitySettings) -> tuple[Collectors, list[str]]:
    """The metrics, made and registered for the first app, and sentences about what failed."""
    global _collectors  # noqa: PLW0603 - one per process, as its registry
    told = []
    if _collectors is None:
        _collectors = Collectors(settings.latency_buckets)
        told = [
            f"the name {name} is taken, its values are not shown" for name in _collectors.register()
        ]
    elif _collectors.buckets != settings.latency_buckets:
        told = ["latency_buckets are those of the app that was observed first"]
    return _collectors, told


class HttpMetrics:
    """Counts the requests of one app."""

    def __init__(self, made: Collectors, app_name: str, *, exemplars: bool) -> None:
        self._made = made
        self._app_name = app_name
        self._exemplars = exemplars
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        # series that any client can cause exist from the start, so that a scan adds none
        for method, status in (("GET", 404), ("POST", 404), (OTHER_METHOD, 405)):
            self._add((method, UNKNOWN, status))
        self._in_progress = {
            method: made.in_progress.labels(method, app_name) for method in (*METHODS, OTHER_METHOD)
        }

    def begin(self, method: str) -> None:
        """Count a request as in progress."""
        self._in_progress[method].inc()

    def end(self, record: Record) -> None:
        """Count a request as over and observe how long it took."""
        self._in_progress[record.method].dec()
        if record.silent:
            return
        key = (record.method, record.path, record.status)
        requests, duration = self._children.get(key) or self._add(key)
        exemplar = None
        if self._exemplars:
            context = record.span.get_span_context()
            if context.trace_flags.sampled and context.trace_id:
                exemplar = {
                    "trace_id": f"{context.trace_id:032x}",
                    "span_id": f"{context.span_id:016x}",
                }
        requests.inc()
        duration.observe(record.duration_s, exemplar)

    def failed_late(self, record: Record, phase: str) -> None:
        """Count an exception that came after a good status was sent."""
        HTTP_LATE_FAILURES.inc(path=record.path, phase=phase, app_name=self._app_name)

    def _add(self, key: tuple[str, str, int]) -> tuple[Any, Any]:
        labels = (*key, self._app_name)
        made = (self._made.requests.labels(*labels), self._made.duration.labels(*labels))
        self._children[key] = made
        return made
