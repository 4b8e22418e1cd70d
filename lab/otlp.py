"""Takes spans by OTLP over HTTP, for the lab and for tests."""

import gzip
import threading
import time
from collections import deque
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from plainview.decode import SpanRecord, parse_otlp

MOST_SPANS = 20_000  # the newest are kept


class Receiver:
    """`with Receiver() as otlp:`; set `OTEL_EXPORTER_OTLP_ENDPOINT` to `otlp.endpoint`.

    `status` is the reply to exports, `delay_s` how long it takes: a Collector in trouble.
    """

    def __init__(self) -> None:
        self.status, self.delay_s, self.requests = 200, 0.0, 0
        self._spans: deque[SpanRecord] = deque(maxlen=MOST_SPANS)
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                time.sleep(receiver.delay_s)
                receiver._take(self.path, body)
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[SpanRecord]:
        """What has come so far."""
        with self._lock:
            return list(self._spans)

    def _take(self, path: str, body: bytes) -> None:
        with self._lock:
            self.requests += 1
            # logs and metrics, which other libraries send too, are not looked at
            if self.status == 200 and "metrics" not in path and "logs" not in path:
                with suppress(Exception):  # no spans are no reason to fail an exporter
                    self._spans.extend(parse_otlp(body))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
