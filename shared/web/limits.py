"""How much a client may send, and for how long it may take."""

import asyncio
import contextlib

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web.problems import problem

MAX_BODY = 1024 * 1024
RECEIVE_S = 10.0
LINGER_S = 0.5
MAX_DROPPED = 128  # chunks of at most 64 KiB


class _Refused(HTTPException):
    """Unwinds whoever reads the body; frameworks let an HTTPException through."""


class BodyLimit:
    """ASGI middleware: 413 beyond `max_body` bytes, announced or counted; 408 after `receive_s`.

    The answer goes out after at most `max_body` bytes, and the connection is closed. The
    time runs from the first read to the last byte.
    """

    def __init__(
        self, app: ASGIApp, max_body: int = MAX_BODY, receive_s: float = RECEIVE_S
    ) -> None:
        self.app, self.max_body, self.receive_s = app, max_body, receive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.max_body:
            return await _refuse(413, receive, send)
        guard = _Guard(self, receive, send)
        try:
            await self.app(scope, guard.receive, guard.send)
        except _Refused:
            if guard.started:
                raise  # the reply is half sent: the server breaks the connection off
        if guard.refused and not guard.started:
            await _refuse(guard.refused, receive, send)
        return None


class _Guard:
    def __init__(self, limit: BodyLimit, receive: Receive, send: Send) -> None:
        self._limit, self._receive, self._send = limit, receive, send
        self._read = 0
        self._deadline: float | None = None
        self._complete = False
        self.refused = 0
        self.started = False

    async def receive(self) -> Message:
        if self.refused:
            raise _Refused(self.refused)
        if self._complete:  # whoever waits now waits for the end of the connection
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._limit.receive_s
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.refused = 408
            raise _Refused(408) from None
        self._read += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._read > self._limit.max_body:
            self.refused = 413
            raise _Refused(413)
        return message

    async def send(self, message: Message) -> None:
        if self.refused and not self.started:
            return  # whatever the application made of it, the answer is the refusal
        self.started = True
        await self._send(message)


async def _refuse(status: int, receive: Receive, send: Send) -> None:
    """Answer; then drop some of what still comes, as closing upon it takes the answer away."""
    response = problem(status, headers={"Connection": "close"})
    start = {"type": "http.response.start", "status": status, "headers": response.raw_headers}
    await send(start)
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if status == 413:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                for _ in range(MAX_DROPPED):
                    if not (await receive()).get("more_body"):
                        break
    await send({"type": "http.response.body", "body": b""})
