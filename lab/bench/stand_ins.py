"""What the services are compared with, and what stands behind and beside them.

    python -m lab.bench.stand_ins WHAT PORT [URL]

upstream answers everything at once; aiohttp, aiohttp_uvloop and httpx are proxies to the URL
without anything else; bare reads one event as the event service does, from the MongoDB at the URL;
receiver takes spans; scraped has a thousand routes and shows its metrics.
"""

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

ROUTES = 1000
STALL_EVERY_S = 0.002
BODY = json.dumps({"items": [{"id": "e", "title": "An event", "status": "active"}] * 2}).encode()


class _Canned(asyncio.Protocol):
    """Answers each request of a connection, whatever it asks; requests have no body."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            keys = os.environ.get("JWKS", "{}").encode()
            body = keys if b"jwks.json" in head.partition(b"\r\n")[0] else BODY
            start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
            reply = start + str(len(body)).encode() + b"\r\n\r\n" + body
            self._transport.write(reply)  # type: ignore[attr-defined]


def upstream(port: int, _url: str) -> None:
    """Serve until killed."""
    import uvloop  # noqa: PLC0415

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


def aiohttp(port: int, url: str, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """The shortest proxy that aiohttp gives: its server and its client, nothing else."""
    from aiohttp import ClientSession, web  # noqa: PLC0415

    session: ClientSession

    async def relay(request: web.Request) -> web.Response:
        target = url + request.path_qs
        async with session.request(request.method, target, headers=request.headers) as reply:
            body = await reply.read()
            headers = {"content-type": reply.headers.get("content-type", "")}
            return web.Response(status=reply.status, body=body, headers=headers)

    async def connected(_: web.Application) -> AsyncIterator[None]:
        nonlocal session
        async with ClientSession() as session:
            yield

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", relay)
    app.cleanup_ctx.append(connected)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)


def aiohttp_uvloop(port: int, url: str) -> None:
    """The same on the gateway's event loop."""
    import uvloop  # noqa: PLC0415

    aiohttp(port, url, uvloop.new_event_loop())


def httpx(port: int, url: str) -> None:
    """The proxy that most write: FastAPI and httpx.AsyncClient."""
    from httpx import AsyncClient  # noqa: PLC0415

    app, client = FastAPI(), AsyncClient(base_url=url, trust_env=False)

    @app.api_route("/{path:path}", methods=["GET"])
    async def relay(path: str, request: Request) -> Response:
        reply = await client.request(request.method, f"/{path}", headers=request.headers.raw)
        return Response(reply.content, reply.status_code, media_type="application/json")

    _serve(app, port)


def bare(port: int, url: str) -> None:
    """One event by its ID: the event service's driver and response model, and nothing else."""
    from event.schemas import EventOut  # noqa: PLC0415
    from shared.storage import mongo  # noqa: PLC0415

    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        client = mongo.connect(url, "motor", "bare")
        app.state.events = client.database("event_rewards_event")["events"].inner
        yield
        await client.close()

    app = FastAPI(lifespan=connected)

    @app.get("/api/v1/events/{id}", response_model=EventOut)
    async def get_event(id: str) -> Any:
        event = await app.state.events.find_one({"_id": id})
        if event is None:
            raise HTTPException(404)
        return {**event, "id": event["_id"]}

    _serve(app, port)


def receiver(port: int, _url: str) -> None:
    """Take whatever is exported."""
    from aiohttp import web  # noqa: PLC0415

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", take)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def scraped(port: int, _url: str) -> None:
    """A thousand routes; `/stall` tells how long the event loop was blocked at most since then."""
    from plainview import ObservabilitySettings, observe  # noqa: PLC0415

    app, longest = FastAPI(), 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            await asyncio.sleep(STALL_EVERY_S)
            longest = max(longest, loop.time() - start - STALL_EVERY_S)

    @asynccontextmanager
    async def watched(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(watch())
        yield
        watching.cancel()

    app.router.lifespan_context = watched

    @app.get("/stall")
    async def stall() -> Response:
        nonlocal longest
        found, longest = longest, 0.0
        return Response(str(found))

    async def nothing(id: str) -> Response:
        return Response(id)

    for number in range(ROUTES):
        app.get(f"/r{number}/{{id}}")(nothing)
    buckets = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
    observe(app, ObservabilitySettings(service_name="scraped", latency_buckets=buckets))
    _serve(app, port)


def _serve(app: Any, port: int) -> None:
    import uvicorn  # noqa: PLC0415

    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="warning")


_ALL = (upstream, aiohttp, aiohttp_uvloop, httpx, bare, receiver, scraped)
WHAT: dict[str, Callable[[int, str], None]] = {each.__name__: each for each in _ALL}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="See the module's docstring.")
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("port", type=int)
    parser.add_argument("url", nargs="?", default="")
    options = parser.parse_args()
    WHAT[options.what](options.port, options.url)
