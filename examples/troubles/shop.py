"""A small shop with ten kinds of trouble for whoever observes it; it knows no such library.

Mounted apps, static files, a WebSocket, streams, background tasks, logging and metrics of its own,
state of its lifespan, a middleware of the slow kind, and failures.
"""

import logging
import logging.config
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from prometheus_client import Counter
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

SECRET = "password=hunter2"  # noqa: S105 - planted, to be looked for in lines and spans
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"format": "own format: %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"level": "INFO", "handlers": ["out"]},
}
ORDERS = Counter("shop_orders_total", "Orders")
log = logging.getLogger("shop")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, int]]:
    """State that requests see."""
    yield {"stock": 3}


class Stamp(BaseHTTPMiddleware):
    """A middleware that runs the rest of the application in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Add a header."""
        response = await call_next(request)
        response.headers["X-Shop"] = "1"
        return response


def create_app() -> FastAPI:
    """The shop; `app.state.twin` is a mounted app that may be observed, too."""
    logging.config.dictConfig(LOGGING)
    app, sub, twin = FastAPI(lifespan=lifespan), FastAPI(), FastAPI()
    app.state.twin = twin
    app.add_middleware(Stamp)
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])

    @app.get("/items/{item}")
    @sub.get("/items/{item}")
    @twin.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for part in ("a", "b", "c"):
                yield part

        return StreamingResponse(parts())

    @app.get("/torn")
    async def torn() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            raise ConnectionError(SECRET)

        return StreamingResponse(parts())

    @app.post("/tasks")
    async def work(tasks: BackgroundTasks) -> str:
        tasks.add_task(log.info, "in the background")
        return "later"

    @app.post("/tasks/failing")
    async def failing(tasks: BackgroundTasks) -> str:
        def fail() -> None:
            raise LookupError(SECRET)

        tasks.add_task(fail)
        return "later"

    @app.get("/logged")
    async def logged() -> str:
        log.info("of the shop")
        return "logged"

    @app.post("/orders")
    async def order() -> str:
        ORDERS.inc()
        return "ordered"

    @app.get("/state")
    async def state(request: Request) -> int:
        return int(request.state.stock)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(SECRET)

    @app.websocket("/chat/{room}")
    async def chat(room: str, socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    app.mount("/sub", sub)
    app.mount("/twin", twin)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent))
    return app
