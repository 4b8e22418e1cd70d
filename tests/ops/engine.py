"""A Docker engine's socket as far as docker-proxy and `ready` use it, with containers to set."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


def container(number: int, service: str, **state: Any) -> dict[str, Any]:
    """What `inspect` says of a running container; `state` changes parts of its State."""
    return {
        "Id": f"{number:064x}",
        "Config": {"Tty": False, "Labels": {"com.docker.compose.service": service}},
        "State": {"Status": "running", "ExitCode": 0, **state},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}, "Memory": 64 * 2**20},
        "NetworkSettings": {"Ports": {}},
    }


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    engine: Engine


class Engine:
    """Serves `containers` and `logs` (by ID: time and text of each line) on a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self.containers: list[dict[str, Any]] = []
        self.logs: dict[str, list[tuple[str, str]]] = {}
        self.asked: list[tuple[str, str]] = []
        self._server = _UnixServer(str(socket), _Handler)
        self._server.engine = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes:
        if path == "/containers/json":
            return json.dumps([{"Id": each["Id"]} for each in self.containers]).encode()
        if path.startswith("/containers/"):
            _, _, id_, what = path.split("/")
            if what == "json":
                return json.dumps(next(e for e in self.containers if e["Id"] == id_)).encode()
            assert int(query["since"][0]) >= 0
            lines = (f"{at} {text}\n".encode() for at, text in self.logs.get(id_, []))
            return b"".join(b"\1\0\0\0" + len(line).to_bytes(4, "big") + line for line in lines)
        return b"OK"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        engine: Engine = self.server.engine  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        engine.asked.append((self.command, self.path))
        body = engine.answer(url.path, parse_qs(url.query))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_DELETE = do_PUT = do_GET

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None: ...
