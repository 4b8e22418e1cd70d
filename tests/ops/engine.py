"""A Docker engine's socket as docker-proxy, `ready` and Alloy use it, with containers to set;
and docker-proxy: Debian's HAProxy with the committed file before it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.stack.programs import ROOT
from tests.support.servers import free_port, listens
from tests.support.waiting import until


def container(number: int, service: str, **state: Any) -> dict[str, Any]:
    """What `inspect` says of a running container; `state` changes parts of its State."""
    return {
        "Id": f"{number:064x}",
        "Names": [f"/{service}-1"],
        "Config": {"Tty": False, "Labels": {"com.docker.compose.service": service}},
        "State": {"Status": "running", "ExitCode": 0, **state},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}, "Memory": 64 * 2**20},
        "NetworkSettings": {"Ports": {}},
    }


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    engine: Engine


def framed(at: str, text: str) -> bytes:
    """A line of standard output as the engine sends it."""
    line = f"{at} {text}\n".encode()
    return b"\1\0\0\0" + len(line).to_bytes(4, "big") + line


def seconds(at: str) -> float:
    return datetime.fromisoformat(f"{at[:26].rstrip('Z')}+00:00").timestamp()


class Engine:
    """Serves `containers` and `logs` (by ID: time and text of each line) on a Unix socket.

    A followed log ends when its container is no longer among them.
    """

    def __init__(self, socket: Path) -> None:
        self.containers: list[dict[str, Any]] = []
        self.logs: dict[str, list[tuple[str, str]]] = {}
        self.asked: list[tuple[str, str]] = []
        self._closed = threading.Event()
        self._server = _UnixServer(str(socket), _Handler)
        self._server.engine = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes:
        if path == "/containers/json":
            return json.dumps([self._listed(each) for each in self.containers]).encode()
        if path == "/networks":
            return b"[]"
        if path.startswith("/containers/"):
            _, _, id_, what = path.split("/")
            if what == "json":
                return json.dumps(next(e for e in self.containers if e["Id"] == id_)).encode()
            since = int(query["since"][0])
            return b"".join(framed(*line) for line in self._since(id_, since))
        return b"OK"

    def follow(self, id_: str, since: float) -> Iterator[bytes]:
        """Lines since then, and those to come while the container is there."""
        sent = 0
        while not self._closed.wait(0.02) and any(e["Id"] == id_ for e in self.containers):
            lines = self._since(id_, since)
            yield b"".join(framed(*line) for line in lines[sent:])
            sent = len(lines)

    def _since(self, id_: str, since: float) -> list[tuple[str, str]]:
        return [(at, text) for at, text in self.logs.get(id_, []) if seconds(at) >= since]

    def _listed(self, about: dict[str, Any]) -> dict[str, Any]:
        """What the list of containers says of one."""
        return {
            "Id": about["Id"],
            "Names": about.get("Names", []),
            "Labels": about.get("Config", {}).get("Labels", {}),
            "HostConfig": {"NetworkMode": "default"},
            "NetworkSettings": {"Networks": {"default": {"IPAddress": ""}}},
        }


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        engine: Engine = self.server.engine  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        engine.asked.append((self.command, self.path))
        path, query = re.sub(r"^/v[0-9.]+", "", url.path), parse_qs(url.query)
        if query.get("follow") == ["1"]:
            self._follow(path.split("/")[2], int(query["since"][0]))
            return
        body = engine.answer(path, query)
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _follow(self, id_: str, since: int) -> None:
        engine: Engine = self.server.engine  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            for part in engine.follow(id_, since):
                self.wfile.write(part)

    do_HEAD = do_POST = do_DELETE = do_PUT = do_GET

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None: ...


def haproxy() -> str:
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not found:
        assert not os.environ.get("CI"), "apt-get install haproxy"
        pytest.skip("haproxy is not installed")
    return found


class Proxy:
    """Runs while it is entered; `engine` is what is behind it, `log` what it wrote."""

    def __init__(self, directory: Path) -> None:
        self.port, self.log = free_port(), directory / "log"
        socket, file = directory / "docker.sock", directory / "haproxy.cfg"
        text = (ROOT / "telemetry/docker-proxy.cfg").read_text()
        text = text.replace("/var/run/docker.sock", str(socket))
        file.write_text(text.replace("0.0.0.0:2375", f"127.0.0.1:{self.port}"))
        self._command = [haproxy(), "-db", "-f", str(file)]
        self.engine = Engine(socket)

    def __enter__(self) -> Proxy:
        with self.log.open("wb") as out:
            self._server = subprocess.Popen(self._command, stdout=out, stderr=out)
        until(lambda: listens(self.port), what="haproxy")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait(10)
        self.engine.close()
