"""A bounded OTLP/HTTP receiver on loopback: tests wait for the spans they expect."""

from __future__ import annotations

import gzip
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from plainview.decode import SpanRecord, parse_otlp

_MAX_BODY = 8 * 1024 * 1024
_MAX_SPANS = 20_000


class OtlpReceiver:
    """`with OtlpReceiver() as otlp:`; set `OTEL_EXPORTER_OTLP_ENDPOINT` to `otlp.endpoint`.

    `status` is the reply to exports, `delay_s` how long it takes: a Collector in trouble.
    """

    def __init__(self) -> None:
        self.status = 200
        self.delay_s = 0.0
        self.requests = 0
        self._spans: deque[SpanRecord] = deque(maxlen=_MAX_SPANS)
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                time.sleep(receiver.delay_s)
                self.send_response(receiver._take(self))
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[SpanRecord]:
        with self._news:
            return list(self._spans)

    def _take(self, request: BaseHTTPRequestHandler) -> int:
        length = int(request.headers.get("Content-Length", 0))
        if length > _MAX_BODY:
            return 413
        body = request.rfile.read(length)
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with self._news:
            self.requests += 1
            if request.path == "/v1/traces" and self.status == 200:
                self._spans.extend(parse_otlp(body))
            self._news.notify_all()
        return self.status if request.path == "/v1/traces" else 404

    def wait_for(
        self, predicate: Callable[[list[SpanRecord]], object], timeout: float = 10
    ) -> list[SpanRecord]:
        """The spans received once `predicate(spans)` holds; AssertionError after `timeout` s."""
        with self._news:
            if self._news.wait_for(lambda: predicate(list(self._spans)), timeout):
                return list(self._spans)
            names = sorted({f"{span.service}: {span.name}" for span in self._spans})
        raise AssertionError(f"not received within {timeout} s; received {names}")

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
