"""Who may read the console: this machine, or whoever brings the token."""

from __future__ import annotations

import hmac
from base64 import b64decode

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = {"/health/live", "/health/ready", "/health/startup"}
LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


class Guard:
    """Lets in who carries the token, as Bearer or as the password of HTTP Basic.

    Without a token, as on loopback, it only refuses names that are not this machine's, so that
    no web page can read the console through a name that it points at loopback.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN:
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if self._carries(headers) if self._token else _local(headers.get("host", "")):
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        refusal = PlainTextResponse("unknown host name", 421)
        if self._token:
            asks = {"WWW-Authenticate": 'Basic realm="console: any name, password = the token"'}
            refusal = PlainTextResponse("token needed", 401, asks)
        return await refusal(scope, receive, send)

    def _carries(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        try:
            if kind.lower() == "basic":
                given = b64decode(given).decode().partition(":")[2]
        except ValueError:
            return False
        return hmac.compare_digest(given.encode(), self._token.encode())


def _local(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.lower() in LOCAL_NAMES
