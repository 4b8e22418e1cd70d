"""An application of many kinds of routes, which `situations` are about."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi.routing
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Route
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketDisconnect

from plainview import ObservabilitySettings, get_logger, observe

# since 0.137 or so FastAPI includes a router as it is, before it copied the routes of the moment
LIVE_ROUTERS = hasattr(fastapi.routing, "iter_route_contexts")
SECRET = "hunter2"
HERE = Path(__file__)


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def make_app(**options: Any) -> FastAPI:
    """The application, not yet observed; `options` are those of FastAPI."""
    app, router, inner = FastAPI(**options), APIRouter(prefix="/r"), APIRouter(prefix="/in")
    sub, twin, hosted = FastAPI(), FastAPI(), FastAPI()

    async def echo(i: str) -> str:
        get_logger().info("inside")
        return i

    inner.get("/{i}")(echo)
    sub.get("/items/{i}")(echo)
    twin.get("/items/{i}")(echo)
    observe(twin, ObservabilitySettings(service_name="twin"))

    @app.get("/own/{i}")
    async def own(i: int) -> int:
        get_logger().info("inside")
        return i

    @sub.get("/broken")
    async def sub_broken() -> None:
        raise RuntimeError("in the mounted app")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    @app.get("/unavailable")
    async def unavailable() -> Response:
        return Response(status_code=503)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(f"password={SECRET}")

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> int:
        def fail() -> None:
            raise LookupError(f"password={SECRET}")

        tasks.add_task(fail)
        return 1

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            yield "b"

        return StreamingResponse(parts())

    @app.get("/torn")
    async def torn() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            raise LookupError("in the middle")

        return StreamingResponse(parts())

    @app.get("/long")
    async def long() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for _ in range(500):  # 10 s, if nobody notices that the client has left
                yield "a"
                await asyncio.sleep(0.02)

        return StreamingResponse(parts())

    @app.api_route("/purged", methods=["PURGE"])
    async def purged() -> str:
        return "purged"

    @app.websocket("/chat/{room}")
    async def chat(socket: WebSocket, room: str) -> None:
        await socket.accept()
        get_logger().info("joined")
        if room == "closes":
            await socket.close(4001)
            return
        with contextlib.suppress(WebSocketDisconnect):
            await socket.receive_text()
        if room == "fails":
            raise LookupError(f"password={SECRET}")

    router.include_router(inner)
    router.add_route("/raw/{i}", plain)
    router.mount("/deep", Starlette(routes=[Route("/{i}", plain)]))
    app.include_router(router, prefix="/api")
    app.add_route("/raw/{i}", plain)
    app.mount("/tenants/{tenant}", sub)
    app.mount("/twin", twin)
    app.mount("/starlette", Starlette(routes=[Route("/{i}", plain)]))
    app.mount("/static", StaticFiles(directory=HERE.parent))
    hosted.add_route("/hosted/{i}", plain)
    hosted.get("/fastapi/{i}")(echo)
    app.router.routes.append(Host("api.example.org", hosted))
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])
    return app
