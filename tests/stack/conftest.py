"""The whole pipeline: real trio, Prometheus, Collector, Jaeger, Loki, on the files of compose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx
import pytest

from lab import local_prometheus
from tests.stack import programs
from tests.stack.script import Script, backdate
from tests.stack.shipping import Shipper
from tests.stack.traffic import Traffic
from tests.support.otlp import OtlpReceiver
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.trio import Trio

T = TypeVar("T")
ANSWER_S = 30  # for an answer that a busy machine may give late


def until(look: Callable[[], T], timeout_s: float = 120, what: str = "") -> T:
    """What `look` finds, once it finds something; asked twice a second.

    It has to look for all that is asserted afterwards: the rest may come later.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found, f"did not appear within {timeout_s} s: {what}"
    return found


@dataclass
class Stack:
    """Addresses of what runs, and how to ask it."""

    trio: Trio
    ports: programs.Ports
    loki_url: str
    console: OtlpReceiver
    jaeger: programs.Program
    collector: programs.Program
    directory: Path
    targets: dict[str, list[str]]
    begin: float  # s since 1970: nothing runs yet
    zone: ZoneInfo  # of business
    watched_from: float  # s since 1970: Prometheus runs

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.prometheus}"

    @property
    def jaeger_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.jaeger_query}"

    def retarget(self, **targets: list[str]) -> None:
        """Other addresses of some jobs for Prometheus."""
        local_prometheus.write_targets(self.directory / "prometheus", targets)

    @contextmanager
    def one_replica(self) -> Iterator[None]:
        """The second one of event is stopped, and Prometheus has forgotten where it was."""
        second = self.trio.events[1]
        self.retarget(event=self.targets["event"][:1])
        try:
            assert second.terminate() == 0
            until(lambda: len(self.query('up{job="event"}')) == 1, what="one replica")
            yield
        finally:  # the tests that follow need both
            second.start().wait_ready()
            self.retarget(event=self.targets["event"])
            until(lambda: len(self.query('up{job="event"} == 1')) == 2, what="two replicas")

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """An instant PromQL query."""
        params = {"query": expr, "time": at or time.time()}
        url = f"{self.prometheus_url}/api/v1/query"
        reply = httpx.get(url, params=params, timeout=ANSWER_S)
        reply.raise_for_status()
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def history(self, expr: str, begin: float, end: float, step_s: int = 5) -> list[dict[str, Any]]:
        """A PromQL query over a time."""
        times = {"start": begin, "end": end, "step": step_s}
        url = f"{self.prometheus_url}/api/v1/query_range"
        reply = httpx.get(url, params={"query": expr, **times}, timeout=ANSWER_S)
        reply.raise_for_status()
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """A trace's spans from Jaeger, each with the name of its service; none if unknown."""
        reply = httpx.get(f"{self.jaeger_url}/api/traces/{trace_id}", timeout=ANSWER_S)
        if reply.status_code == 404:
            return []
        reply.raise_for_status()
        (trace,) = reply.json()["data"]
        names = {key: process["serviceName"] for key, process in trace["processes"].items()}
        return [{**span, "service": names[span["processID"]]} for span in trace["spans"]]

    def logs(self, expr: str) -> list[dict[str, Any]]:
        """Lines of the last hour: `labels` (structured metadata among them) and `line`."""
        now = time.time_ns()
        reply = httpx.get(
            f"{self.loki_url}/loki/api/v1/query_range",
            params={"query": expr, "start": now - 3600 * 10**9, "end": now, "limit": 5000},
            timeout=ANSWER_S,
        )
        reply.raise_for_status()
        return [
            {"labels": stream["stream"], "line": value[1]}
            for stream in reply.json()["data"]["result"]
            for value in stream["values"]
        ]


@pytest.fixture(scope="session")
def stack(
    mongo: EmbeddedMongo,
    valkey: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    directory, begin = tmp_path_factory.mktemp("stack"), time.time()
    ports = programs.Ports.free()
    with ExitStack() as opened:

        def run(program: programs.Program) -> programs.Program:
            opened.callback(program.stop)
            return program.start()

        console = opened.enter_context(OtlpReceiver())
        loki, loki_url = programs.loki(directory / "loki")
        run(loki)
        jaeger = run(programs.jaeger(directory / "jaeger", ports))
        collector = run(programs.collector(directory / "collector", ports, console.endpoint))
        # about noon there: no day ends in the session
        zone = ZoneInfo(f"Etc/GMT{time.gmtime().tm_hour - 12:+d}")
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports.collector_http}",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "ENVIRONMENT": "local",
            "BUSINESS_TIMEZONE": zone.key,
        }
        trio = opened.enter_context(Trio(directory, mongo.url, valkey.url, events=2, **environment))
        targets = {
            "gateway": [f"127.0.0.1:{trio.gateway.port}"],
            "auth": [f"127.0.0.1:{trio.auth.port}"],
            "event": [f"127.0.0.1:{event.port}" for event in trio.events],
            "collector": [f"127.0.0.1:{ports.collector_metrics}"],
            "span-metrics": [f"127.0.0.1:{ports.span_metrics}"],
            "jaeger": [f"127.0.0.1:{ports.jaeger_metrics}"],
            "loki": [loki_url.removeprefix("http://")],
            "prometheus": [f"127.0.0.1:{ports.prometheus}"],
        }
        run(programs.prometheus(directory / "prometheus", ports.prometheus, targets))
        watched_from = time.time()
        files = {service.log: service.name for service in trio.services}
        opened.callback(Shipper(loki_url, files).close)
        yield Stack(
            trio, ports, loki_url, console, jaeger, collector, directory, targets, begin, zone,
            watched_from,
        )  # fmt: skip


# What follows happens once and in this order, whichever test asks first: a start, a scripted run,
# traffic, a rolling restart under it, twice the traffic. Then it is quiet, and faults may come.
PER_SECOND = 6.0


@pytest.fixture(scope="session")
def traffic(stack: Stack, mongo: EmbeddedMongo) -> Iterator[Traffic]:
    """The script has run, its traffic goes on."""
    jobs = len(stack.targets) + 1  # two replicas of event

    def scraped() -> bool:
        return len(stack.query("up == 1")) == jobs

    until(scraped, what="every target up: a counter's first sample is before its first count")
    backdate(stack.trio, mongo.url, stack.zone)
    script = Script(stack.trio)
    script.run()
    running = Traffic(script, PER_SECOND)
    yield running
    running.close()


@pytest.fixture(scope="session")
def restarted(stack: Stack, traffic: Traffic) -> Traffic:
    """Each process was ended and started again, one after the other, under traffic.

    Not of the first: of few requests those that fail in a restart are a share that is alarming.
    """
    time.sleep(max(0, traffic.script.began_at + 60 - time.time()))
    for service in stack.trio.services:
        which = f'{{instance="127.0.0.1:{service.port}"}}'
        started = f"process_start_time_seconds{which}"
        (before,) = until(lambda expr=started: stack.query(expr), what=started)
        # soon after a scrape: what comes later than the last one of a process is lost
        fresh = f"time() - timestamp(up{which}) < 1"
        until(lambda expr=fresh: stack.query(expr), what=fresh)
        began = time.monotonic()
        assert service.terminate() == 0
        service.start().wait_ready()
        traffic.away_s[service.name] = time.monotonic() - began
        scraped = f"{started} != {before['value'][1]}"
        until(lambda expr=scraped: stack.query(expr), what=scraped)
    return traffic


@pytest.fixture(scope="session")
def doubled(restarted: Traffic) -> Traffic:
    """Twice as many requests, for two minutes at least before it is quiet."""
    restarted.double()
    return restarted


@pytest.fixture(scope="session")
def quiet(stack: Stack, doubled: Traffic) -> tuple[float, float]:
    """From when to when nothing was broken; the traffic ends here."""
    time.sleep(max(0, stack.begin + 300 - time.time(), doubled.doubled_at + 120 - time.time()))
    doubled.close()
    return stack.begin, time.time()
