"""Bounds on request bodies: their time, and how many parts JSON may have.

The bytes are bounded by the route's `max_body_size`, which FastAPI checks. `BodyLimit` bounds the
time and makes refusals problem documents; `BoundedRoute` bounds JSON before it is validated.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web.problems import problem

SMALL_BODY = 8 * 1024  # bytes; enough for the longest sign-up with all characters as JSON escapes
MAX_MEMBERS = 20  # of one object or list; each can cause an error in the reply
MAX_VALUES = 64  # of a whole body
MAX_DEPTH = 6
RECEIVE_S = 10.0
LINGER_S = 0.5
MAX_DROPPED = 128  # chunks of at most 64 KiB that are read and dropped after a refusal


class Body(BaseModel):
    """The body of a request: fields that it does not know are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BoundedRoute(APIRoute):
    """A route whose JSON body is refused with 422 before validation if it has too many parts.

    Validation takes about 10 us for each wrong part and blocks the event loop meanwhile.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, given a request whose `json()` is bounded."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(_BoundedRequest(request.scope, request.receive))

        return bounded


class _BoundedRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            value = orjson.loads(await self.body())
            if not _is_simple(value):
                detail = (
                    f"A body has at most {MAX_VALUES} values, {MAX_MEMBERS} in one object or list, "
                    f"nested {MAX_DEPTH} deep"
                )
                raise HTTPException(422, detail)
            self._json = value
        return self._json


def _is_simple(value: Any) -> bool:
    level, left = [value], MAX_VALUES
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        left -= len(level)
        if left < 0 or any(len(item) > MAX_MEMBERS for item in containers):
            return False
        level = [
            part
            for item in containers
            for part in (item.values() if isinstance(item, dict) else item)
        ]
    return not level


class _Late(HTTPException):
    """Aborts whoever reads the body; an HTTPException, as frameworks do not wrap those."""

    def __init__(self) -> None:
        super().__init__(408)


class BodyLimit:
    """ASGI middleware that answers 408 if a body takes longer than `receive_s` seconds.

    The time runs from the first read to the last byte. It also replaces FastAPI's plain 413 by a
    problem document. Both close the connection, so the rest of the body is not read.
    """

    def __init__(self, app: ASGIApp, receive_s: float = RECEIVE_S) -> None:
        self.app, self.receive_s = app, receive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        guard = _Guard(self.receive_s, receive, send)
        try:
            await self.app(scope, guard.receive, guard.send)
        except _Late:
            if guard.started:
                raise  # part of the reply is sent: the server closes the connection
        if guard.refused and not guard.started:
            await _refuse(guard.refused, receive, send)
        return None


class _Guard:
    def __init__(self, receive_s: float, receive: Receive, send: Send) -> None:
        self._receive_s, self._receive, self._send = receive_s, receive, send
        self._deadline: float | None = None
        self._complete = False
        self.refused = 0
        self.started = False

    async def receive(self) -> Message:
        if self.refused:
            raise _Late
        if self._complete:  # the only message still to come is the disconnect
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._receive_s
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.refused = 408
            raise _Late from None
        self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 413:
            self.refused = self.refused or 413
        if self.refused and not self.started:
            return  # the application's own reply is dropped, the refusal is sent instead
        self.started = True
        await self._send(message)


async def _refuse(status: int, receive: Receive, send: Send) -> None:
    """Send the refusal, then read and drop some of the rest of the body.

    Closing a connection with unread bytes sends a reset, and the client may lose the reply.
    """
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
