"""Reads `/metrics` and `/health/ready` of every service and keeps one hour of what it saw."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from plainview.decode import Metrics, parse_metrics

INTERVAL_S = 2.0
TIMEOUT_S = 1.0  # with the interval: a dead service shows within 3 s and a bit
WINDOW_S = 30.0  # rates and percentiles are of this long
HOUR = int(3600 / INTERVAL_S)
Health = tuple[str, dict[str, str]]  # status, status by dependency


class Point(NamedTuple):
    """One moment of a service: per second, ratio, seconds, cores, bytes."""

    at: float
    rate: float = 0
    errors: float = 0
    p95: float = 0
    cpu: float = 0
    memory: float = 0


class _Totals(NamedTuple):
    at: float
    requests: float
    errors: float
    cpu: float
    buckets: dict[float, float]


@dataclass(slots=True)
class Service:
    """What is known of one service."""

    name: str
    url: str
    status: str = "unknown"  # pass, warn, fail, gone
    checks: dict[str, str] = field(default_factory=dict)  # dependency: pass, warn or fail
    late: int = 0  # answers in a row that did not come in time
    version: str = ""
    started: float = 0.0
    cpu_limit: float = 0.0
    memory_limit: float = 0.0
    series: deque[Point] = field(default_factory=lambda: deque(maxlen=HOUR))
    page: Metrics = field(default_factory=Metrics)
    totals: deque[_Totals] = field(default_factory=lambda: deque(maxlen=int(WINDOW_S / INTERVAL_S)))

    @property
    def uptime(self) -> float:
        """Seconds since its start."""
        return max(0.0, time.time() - self.started)

    @property
    def now(self) -> Point:
        """The newest point, or zeros."""
        return self.series[-1] if self.series else Point(0)


class Change(NamedTuple):
    """A change of state: `word` is a key of words.json, `of` the service or dependency."""

    at: float
    word: str
    of: str
    bad: bool


class Watcher:
    """Looks at all services every two seconds; nothing it does waits longer than a second."""

    def __init__(self, http: httpx.AsyncClient, targets: Mapping[str, str]) -> None:
        self._http = http
        self.services = {name: Service(name, url) for name, url in targets.items()}
        self.changes: deque[Change] = deque(maxlen=50)
        self.rounds = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            began = time.monotonic()
            await self.look()
            await asyncio.sleep(max(0.2, INTERVAL_S - (time.monotonic() - began)))

    async def look(self) -> None:
        """One round over all services."""
        await asyncio.gather(*(self._look_at(service) for service in self.services.values()))
        self.rounds += 1

    async def _look_at(self, service: Service) -> None:
        health, page = await asyncio.gather(
            self._get(f"{service.url}/health/ready"), self._get(f"{service.url}/metrics")
        )
        now = time.time()
        # one answer that is late is a busy machine, two are a service that hangs
        service.late = service.late + 1 if isinstance(health, TimeoutError) else 0
        if service.late != 1:
            reply = health if isinstance(health, httpx.Response) else None
            self._take_health(service, read_health(reply), now)
        if isinstance(page, httpx.Response) and page.status_code == 200:
            with suppress(ValueError):
                self._take_metrics(service, Metrics(parse_metrics(page.text)), now)
        elif service.status == "gone":
            service.totals.clear()
            service.series.append(Point(now))

    async def _get(self, url: str) -> httpx.Response | Exception:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._http.get(url)
        except (TimeoutError, httpx.TimeoutException):
            return TimeoutError()
        except (httpx.HTTPError, OSError) as exc:
            return exc

    def _take_health(self, service: Service, health: Health, now: float) -> None:
        before, checks_before = service.status, service.checks
        service.status, service.checks = health
        if before not in ("unknown", service.status):
            bad = service.status in ("fail", "gone")
            self.changes.append(Change(now, f"became_{service.status}", service.name, bad))
        for name, status in service.checks.items():
            if (checks_before.get(name, status) == "pass") != (status == "pass"):
                word = "dependency_back" if status == "pass" else "dependency_lost"
                about = f"{service.name} → {name}"
                self.changes.append(Change(now, word, about, status != "pass"))

    def _take_metrics(self, service: Service, page: Metrics, now: float) -> None:
        service.page = page
        started = page.value("process_start_time_seconds")
        if service.started and abs(started - service.started) > 1:
            self.changes.append(Change(now, "restarted", service.name, bad=False))
            service.totals.clear()
        service.version = next(iter(page.by("service_info", "version")), "")
        service.started = started
        service.cpu_limit = page.value("container_cpu_limit_cores")
        service.memory_limit = page.value("container_memory_limit_bytes")
        buckets: dict[float, float] = {}
        for sample in page.all("http_request_duration_seconds_bucket"):
            le = float(sample.labels["le"])
            buckets[le] = buckets.get(le, 0.0) + sample.value
        by_status = page.by("http_requests_total", "status_code")
        totals = _Totals(
            now,
            sum(by_status.values()),
            sum(count for code, count in by_status.items() if code.startswith("5")),
            page.value("process_cpu_seconds_total"),
            buckets,
        )
        service.series.append(_point(service.totals, totals, page))
        service.totals.append(totals)


def read_health(reply: httpx.Response | None) -> Health:
    """Status of a service and of its dependencies; no answer is `gone`."""
    if reply is None:
        return "gone", {}
    try:
        doc: Any = reply.json()
        status = str(doc.get("status", ""))
        checks = {str(k): str(v[0]["status"]) for k, v in doc.get("checks", {}).items()}
    except (ValueError, AttributeError, LookupError, TypeError):
        status, checks = "", {}
    if status not in ("pass", "warn", "fail"):
        status = "pass" if reply.status_code == 200 else "fail"
    return status, checks


def _point(earlier: deque[_Totals], now: _Totals, page: Metrics) -> Point:
    memory = page.value("process_resident_memory_bytes")
    if not earlier:
        return Point(now.at, memory=memory)
    first, last = earlier[0], earlier[-1]
    requests = now.requests - first.requests
    return Point(
        at=now.at,
        rate=max(0.0, requests / (now.at - first.at)),
        errors=max(0.0, (now.errors - first.errors) / requests) if requests > 0 else 0.0,
        p95=quantile({le: n - first.buckets.get(le, 0) for le, n in now.buckets.items()}, 0.95),
        cpu=max(0.0, (now.cpu - last.cpu) / (now.at - last.at)),
        memory=memory,
    )


def quantile(buckets: Mapping[float, float], q: float) -> float:
    """As Prometheus's histogram_quantile over cumulative counts by upper bound; 0 without any."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return 0.0
    rank, below, lower = q * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return lower
            share = (rank - below) / max(buckets[bound] - below, 1e-9)
            return lower + (bound - lower) * share
        below, lower = buckets[bound], bound
    return lower
