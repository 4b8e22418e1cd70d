"""An upstream as a process: `python -m tests.support.long_replies PORT`.

It answers with two bytes, or by the query: so many bytes, a stream without end (`flow`), a head
of 40 KB (`head`), or after a minute (`late`).
"""

import asyncio
import sys
from typing import Any

import uvicorn

from shared.web.bounds import Bounds
from shared.web.protocol import bounded_protocol

PIECE = 64 * 1024


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve one request."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        return
    kind = scope["query_string"].decode()
    if kind == "late":
        await asyncio.wait({asyncio.ensure_future(receive())}, timeout=60)
    headers = [(b"x-large", b"x" * 40_000)] if kind == "head" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    left = int(kind) if kind.isdigit() else 2
    while kind == "flow":
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.sleep(0.2)
    while left > PIECE:
        await send({"type": "http.response.body", "body": b"x" * PIECE, "more_body": True})
        left -= PIECE
    await send({"type": "http.response.body", "body": b"x" * left})


if __name__ == "__main__":
    protocol = bounded_protocol(Bounds())
    config: dict[str, Any] = {"http": protocol, "ws": "none", "lifespan": "off", "loop": "uvloop"}
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, **config)
