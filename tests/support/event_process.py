"""The event service as a process of its own, and somebody who issues tokens for it."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx

from shared.tokens import Role, TokenIssuer
from tests.support.event_app import private_pem
from tests.support.servers import free_port, wait_until


class Issuer:
    """Publishes keys at `/.well-known/jwks.json`, as auth does."""

    def __init__(self) -> None:
        self._issuer = TokenIssuer(private_pem(), "event-rewards", "event-rewards")
        body = json.dumps(self._issuer.jwks()).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def headers(self, user_id: str, *roles: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._issuer.access(user_id, roles)[0]}"}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class EventProcess:
    """`python -m event`; its output goes to `log`."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "USER_HASH_KEY": "k" * 32,
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "0",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "event"], env=self._environment, stdout=log, stderr=log
            )
        wait_until(self._ready, 30, f"event is not ready, see {self._log}")
        return self

    def _ready(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is closed."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
