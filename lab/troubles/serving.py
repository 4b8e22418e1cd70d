"""Serves the shop of `examples/troubles` with uvicorn, and keeps what it writes and exports."""

import contextlib
import gzip
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from lab.processes import Process, free_port
from plainview.decode import SpanRecord, parse_otlp

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "troubles"
SEEN_S = 20.0  # until a line or a span is there


@dataclass
class Served:
    """A running server: where it is, what it wrote, the spans that came from it."""

    url: str
    output: Path
    spans: list[SpanRecord] = field(default_factory=list)

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
def receiver(spans: list[SpanRecord]) -> Iterator[str]:
    """Take spans by OTLP over HTTP, on whatever path; yields the base URL."""

    class Take(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            # logs and metrics, which others send too, are not looked at
            if "metrics" not in self.path and "logs" not in self.path:
                with contextlib.suppress(Exception):
                    spans.extend(parse_otlp(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


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
    served = Served(f"http://127.0.0.1:{port}", directory / f"{name}.log")
    kept = ("OTEL_", "PLAINVIEW_", "PROMETHEUS_", "PYTHON")
    with receiver(served.spans) as endpoint:
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith(kept)},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            **variables,
        }
        process = Process(name, command, port, directory, environment, cwd=directory)
        try:
            process.wait_ready()
            yield served
        finally:
            process.stop()
