"""The library's pages on a port of their own (`OPS_PORT`), away from the public port.

It runs in threads, so a page costs the event loop nothing and is served while the loop is blocked.
"""

import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from .client_address import Networks, may_read
from .guarded import guarded
from .middleware import Page

_CONNECTIONS = 32
_IDLE_S = 30.0  # time-out of a connection; Prometheus reuses one every 15 s or sooner


class OpsServer(ThreadingHTTPServer):
    """Serves pages to the networks `allow`, on `host` and `port`; OSError if the port is taken."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], allow: Networks | None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = pages
        self.allow = allow
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), daemon=True, name="plainview-ops"
        )
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(1)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; close it if all threads are busy."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, then free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: clients may break off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: OpsServer

    def do_GET(self) -> None:
        status, body, content_type = 404, b"Not Found", "text/plain; charset=utf-8"
        page = self.server.pages.get(urlsplit(self.path).path)
        headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in self.headers.items()]
        scope = {"client": self.client_address, "headers": headers}
        if page is not None and may_read(scope, self.server.allow):
            with guarded("metrics"):
                accept = ",".join(self.headers.get_all("Accept", []))
                status, body, content_type = page(accept)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def version_string(self) -> str:
        return "plainview"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing for scrapes and probes."""
