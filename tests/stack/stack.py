"""What runs in a session of stack tests, and how to ask it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode

from lab import local_prometheus
from tests.stack import loki as loki_program
from tests.stack import programs
from tests.stack.loki import Loki
from tests.support import waiting
from tests.support.otlp import OtlpReceiver
from tests.support.trio import Trio

ANSWER_S = 30  # for an answer that a busy machine may give late
T = TypeVar("T")


def until(look: Callable[[], T], timeout_s: float = 120, what: str = "") -> T:
    """What `look` finds, once it finds something; asked twice a second."""
    return waiting.until(look, timeout_s, what, every_s=0.5)


@dataclass
class Pipeline:
    """Loki (where it is to be had), Jaeger and Collector; a Prometheus may be started for them."""

    ports: programs.Ports
    loki: Loki | None
    console: OtlpReceiver  # takes the place of the console
    jaeger: programs.Program
    collector: programs.Program
    begin: float  # s since 1970: nothing runs yet

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.prometheus}"

    @property
    def traces_url(self) -> str:
        """Where services send their spans."""
        return f"http://127.0.0.1:{self.ports.collector_http}"

    def jobs(self) -> dict[str, list[str]]:
        """The jobs of Prometheus by name, but those of services, with their addresses."""
        found = {
            "collector": self.ports.collector_metrics,
            "span-metrics": self.ports.collector_span_metrics,
            "jaeger": self.ports.jaeger_metrics,
            "prometheus": self.ports.prometheus,
        }
        if self.loki:
            found["loki"] = int(self.loki.url.rpartition(":")[2])
        return {job: [f"127.0.0.1:{port}"] for job, port in found.items()}

    def get(self, path: str, **params: Any) -> Any:
        """The `data` of an answer of Prometheus' API: `get("rules")`."""
        url = f"{self.prometheus_url}/api/v1/{path}"
        return httpx.get(url, params=params, timeout=ANSWER_S).raise_for_status().json()["data"]

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """An instant PromQL query."""
        found: list[dict[str, Any]] = self.get("query", query=expr, time=at or time.time())[
            "result"
        ]
        return found

    def history(self, expr: str, begin: float, end: float, step_s: int = 5) -> list[dict[str, Any]]:
        """A PromQL query over a time."""
        times = {"start": begin, "end": end, "step": step_s}
        found: list[dict[str, Any]] = self.get("query_range", query=expr, **times)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its state."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


@contextmanager
def pipeline(directory: Path, *settings: str) -> Iterator[Pipeline]:
    """All of it, ready; `settings` are given to the Collector after its file."""
    begin, ports, loki = time.time(), programs.Ports.free(), None
    with ExitStack() as opened:
        console = opened.enter_context(OtlpReceiver())
        if binary := loki_program.program():
            program, url = loki_program.prepared(directory / "loki", binary)
            opened.enter_context(program)
            loki = Loki(url)
        jaeger = opened.enter_context(programs.jaeger(directory / "jaeger", ports))
        collector = programs.collector(directory / "collector", ports, console.endpoint)
        collector.command += settings
        opened.enter_context(collector)
        yield Pipeline(ports, loki, console, jaeger, collector, begin)


@dataclass
class Stack(Pipeline):
    """The pipeline of a session, with the services and the Prometheus that watches all."""

    trio: Trio
    directory: Path
    targets: dict[str, list[str]]
    zone: ZoneInfo  # of business
    watched_from: float  # s since 1970: Prometheus runs

    @property
    def jaeger_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.jaeger_query}"

    def retarget(self, **targets: list[str]) -> None:
        """Other addresses of some jobs for Prometheus."""
        local_prometheus.write_targets(self.directory / "prometheus", targets)

    @contextmanager
    def another_collector(self, jaeger_port: int, *settings: str, **more: str) -> Iterator[str]:
        """A second Collector, which sends to this port and is scraped too; where it takes spans."""
        ports = programs.Ports.free()
        directory = self.directory / f"collector-{ports.collector_http}"
        program = programs.collector(directory, ports, self.console.endpoint, jaeger_port)
        program.command += [f"--set={setting}" for setting in settings]
        program.environment |= more
        with program:
            address = f"127.0.0.1:{ports.collector_metrics}"
            self.retarget(collector=[*self.targets["collector"], address])
            try:
                yield f"http://127.0.0.1:{ports.collector_http}"
            finally:
                self.retarget(collector=self.targets["collector"])

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

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """A trace's spans from Jaeger, each with the name of its service; none if unknown."""
        reply = httpx.get(f"{self.jaeger_url}/api/traces/{trace_id}", timeout=ANSWER_S)
        if reply.status_code == 404:
            return []
        (trace,) = reply.raise_for_status().json()["data"]
        names = {key: process["serviceName"] for key, process in trace["processes"].items()}
        return [{**span, "service": names[span["processID"]]} for span in trace["spans"]]

    def traced(self, trace_ids: list[str]) -> bool:
        """Jaeger has all of these."""
        return all(self.trace(trace_id) for trace_id in trace_ids)


def send_traces(endpoint: str, service: str, count: int, failed: int = 0) -> list[str]:
    """One-span traces through OTLP; the IDs, the failed ones first."""
    provider = TracerProvider(resource=Resource({"service.name": service}))
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    ids = []
    for number in range(count):
        with tracer.start_as_current_span("work") as span:
            if number < failed:
                span.set_status(StatusCode.ERROR)
            ids.append(f"{span.get_span_context().trace_id:032x}")
    provider.shutdown()
    return ids
