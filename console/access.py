"""Who may read the console: this machine, or whoever brings the token."""

import hmac
from base64 import b64decode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = {"/health/live", "/health/ready", "/health/startup"}
LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


# NiceGUI's page has scripts and styles in it, and compiles its templates in the browser.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """Lets in who carries the token, as Bearer or as the password of HTTP Basic.

    Without a token, as on loopback, it only refuses names that are not this machine's, so that
    no web page can read the console through a name that it points at loopback. Requests and
    websockets of another origin's page are refused either way: browsers send the password along.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403 or 421."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN:
            return await self._app(scope, receive, send)

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        own = _own_origin(headers)
        if own and (self._carries(headers) if self._token else _local(headers.get("host", ""))):
            return await self._app(scope, receive, protected)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if not own:
            return await PlainTextResponse("foreign origin", 403)(scope, receive, protected)
        refusal = PlainTextResponse("unknown host name", 421)
        if self._token:
            asks = {"WWW-Authenticate": 'Basic realm="console: any name, password = the token"'}
            refusal = PlainTextResponse("token needed", 401, asks)
        return await refusal(scope, receive, protected)

    def _carries(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        try:
            if kind.lower() == "basic":
                given = b64decode(given).decode().partition(":")[2]
        except ValueError:
            return False
        return hmac.compare_digest(given.encode(), self._token.encode())


def _own_origin(headers: Headers) -> bool:
    """Whether a browser sends this from a page of the same address; others send no `Origin`."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


def _local(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.lower() in LOCAL_NAMES
