"""Somebody who issues tokens for a service that runs without auth."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from ops.secrets import new_signing_key
from shared.tokens import Role, TokenIssuer


class Issuer:
    """Publishes keys at `/.well-known/jwks.json`, as auth does."""

    def __init__(self) -> None:
        self._issuer = TokenIssuer(new_signing_key(), "event-rewards", "event-rewards")
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
