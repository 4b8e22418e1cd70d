"""Who may read the console: this machine, or whoever brings the token."""

from __future__ import annotations

import hmac
from base64 import b64decode
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "console_session"
OPEN = {"/health/live", "/health/ready", "/health/startup"}
LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


class Guard:
    """Lets in who carries the token: as Bearer, as the password of HTTP Basic, or by the cookie
    that either earns (not every browser sends Basic credentials with a WebSocket).

    Without a token, as on loopback, it only refuses names that are not this machine's, so that
    no web page can read the console through a name that it points at loopback.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self._app, self._token = app, token
        self._session = hmac.new(token.encode(), b"console session", sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN:
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if not self._token and _local(headers.get("host", "")):
            return await self._app(scope, receive, send)
        if self._token and self._carries(headers):
            return await self._app(scope, receive, self._with_cookie(scope, send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if not self._token:
            refusal = PlainTextResponse("unknown host name", 421)
        else:
            asks = {"WWW-Authenticate": 'Basic realm="console: any name, password = the token"'}
            refusal = PlainTextResponse("token needed", 401, asks)
        return await refusal(scope, receive, send)

    def _carries(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        try:
            if kind.lower() == "basic":
                given = b64decode(given).decode().partition(":")[2]
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except (ValueError, CookieError):
            return False
        return _same(given, self._token) or bool(cookie and _same(cookie.value, self._session))

    def _with_cookie(self, scope: Scope, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                secure = "; Secure" if scope.get("scheme") == "https" else ""
                cookie = f"{COOKIE}={self._session}; HttpOnly; SameSite=Strict; Path=/{secure}"
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        return wrapped


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _local(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.lower() in LOCAL_NAMES
