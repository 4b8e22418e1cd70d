"""What runs in a session of stack tests, and how to ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx

from lab import local_prometheus
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


class Prometheus:
    """Asks the Prometheus at `prometheus_url`."""

    prometheus_url: str

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


@dataclass
class Stack(Prometheus):
    """Addresses of what runs, and how to ask it."""

    trio: Trio
    ports: programs.Ports
    loki: Loki | None  # where it is to be had
    console: OtlpReceiver
    jaeger: programs.Program
    collector: programs.Program
    directory: Path
    targets: dict[str, list[str]]
    begin: float  # s since 1970: nothing runs yet
    zone: ZoneInfo  # of business
    watched_from: float  # s since 1970: Prometheus runs

    @property
    def prometheus_url(self) -> str:  # type: ignore[override]
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

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """A trace's spans from Jaeger, each with the name of its service; none if unknown."""
        reply = httpx.get(f"{self.jaeger_url}/api/traces/{trace_id}", timeout=ANSWER_S)
        if reply.status_code == 404:
            return []
        reply.raise_for_status()
        (trace,) = reply.json()["data"]
        names = {key: process["serviceName"] for key, process in trace["processes"].items()}
        return [{**span, "service": names[span["processID"]]} for span in trace["spans"]]
