"""Serves the shop of `examples/troubles` with uvicorn, and keeps what it writes and exports."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from lab.otlp import Receiver
from lab.processes import Process, free_port
from plainview.decode import SpanRecord

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "troubles"
SEEN_S = 20.0  # until a line or a span is there


@dataclass
class Served:
    """A running server: where it is, what it wrote, the spans that came from it."""

    url: str
    output: Path
    receiver: Receiver

    @property
    def spans(self) -> list[SpanRecord]:
        """Those that came from it so far."""
        return self.receiver.spans

    @property
    def text(self) -> str:
        """Both of its outputs."""
        return self.output.read_text(errors="replace")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Those of its lines that are JSON objects."""
        found = []
        for line in self.text.splitlines():
            with contextlib.suppress(ValueError):
                if isinstance(one := json.loads(line), dict):
                    found.append(one)
        return found

    def ask(self, method: str, path: str, **headers: str) -> httpx.Response | None:
        """One request on a connection of its own; None if the reply broke off."""
        try:
            return httpx.request(
                method, self.url + path, headers=headers, timeout=20, trust_env=False
            )
        except httpx.RemoteProtocolError:
            return None

    def chat(self, path: str, messages: int, **headers: str) -> None:
        """Open a WebSocket, exchange messages, close it with 1000."""
        where = self.url.replace("http", "ws", 1) + path
        with connect(where, additional_headers=headers, proxy=None) as connection:
            for number in range(messages):
                connection.send(str(number))
                connection.recv(timeout=20)

    def page(self) -> str:
        """Its metrics, "" if it shows none."""
        reply = self.ask("GET", "/metrics")
        return reply.text if reply is not None and reply.status_code == 200 else ""


@contextlib.contextmanager
def serving(
    python: Path,
    directory: Path,
    *,
    target: str = "service:app",
    paths: Sequence[Path] = (SHOP,),
    options: Sequence[str] = (),
    **variables: str,
) -> Iterator[Served]:
    """The target under `python -m uvicorn`; what it writes is in a file of the directory."""
    port, name = free_port(), target.partition(":")[0]

    command = [str(python), "-m", "uvicorn", target, "--port", str(port), *options]
    kept = ("OTEL_", "PLAINVIEW_", "PROMETHEUS_", "PYTHON")
    with Receiver() as receiver:
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith(kept)},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            **variables,
        }
        process = Process(name, command, port, directory, environment, cwd=directory)
        try:
            process.wait_ready()
            yield Served(process.url, process.log, receiver)
        finally:
            process.stop()
