"""The console: a live, read-only view of the platform with a bounded store."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, Literal

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Query
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from console.access import Guard
from console.logs import LogFollower, LokiFollower
from console.pages import add_pages
from console.receiver import otlp_app
from console.scrape import Watcher
from console.settings import ConsoleSettings
from console.store import Store
from console.view import View
from plainview import observe
from shared.memory import collect_on_signal
from shared.web.body_limit import SMALL_BODY, BodyLimit
from shared.web.protocol import bounded_protocol


def create_app(settings: ConsoleSettings) -> FastAPI:
    """The app that receives spans and answers `make follow`; it watches services while it runs."""
    http = httpx.AsyncClient(timeout=2, trust_env=False)
    store = Store()
    view = View(store, Watcher(http, settings.targets))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        logs = (
            LokiFollower(http, settings.loki_url, store.add_line)
            if settings.loki_url
            else LogFollower(settings.log_dir, store.add_line)
        )
        jobs = logs.run(), view.watcher.run(), view.titles.run(http, settings)
        tasks = [asyncio.create_task(job) for job in jobs]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, http.aclose(), return_exceptions=True)

    app = FastAPI(title="console", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.view = view

    @app.get("/api/requests")
    async def requests(
        kind: Literal["recent", "slow", "failed"] = "recent", limit: int = Query(50, ge=1, le=500)
    ) -> dict[str, Any]:
        """Known requests, newest first."""
        return {"items": [asdict(request) for request in islice(store.requests(kind), limit)]}

    @app.get("/api/requests/{wanted}")
    async def request(wanted: str) -> dict[str, Any]:
        """Spans, log lines and names of the request with this request ID or trace ID."""
        found = store.find(wanted)
        if found is None:
            raise HTTPException(404, "nothing known of it")
        lines = [{"service": line.service, **line.fields()} for line in found.lines]
        return {
            "spans": [asdict(span) for span in found.spans],
            "lines": lines,
            "names": view.names_in(lines),
        }

    # The console's own requests would fill its list of requests.
    observe(app, settings.observability("console", traces=False, access_log=False))
    return app


async def serve(settings: ConsoleSettings) -> None:
    """Serve both ports until SIGINT or SIGTERM."""
    app = create_app(settings)
    add_pages(app, app.state.view, settings.links)
    common: dict[str, Any] = {
        "host": settings.host,
        "log_level": "warning",
        "log_config": None,  # plainview's pipeline takes uvicorn's lines
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": settings.keep_alive_seconds,
        "timeout_graceful_shutdown": 2,  # seconds; open browsers keep connections that never end
    }
    # the receiver only takes and shows nothing: it asks for no token
    receiver, port = otlp_app(app.state.view.store), settings.otlp_port
    small = RequestBodyLimitMiddleware(Guard(app, settings.token), max_body_size=SMALL_BODY)
    pages = BodyLimit(small, receive_s=settings.message_seconds)
    doors: list[dict[str, Any]] = [
        {"app": pages, "port": settings.port},
        {"app": receiver, "port": port, "lifespan": "off", "ws": "none"},
    ]
    servers = [
        _Server(uvicorn.Config(http=bounded_protocol(settings.bounds()), **door, **common))
        for door in doors
    ]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    collect_on_signal()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop)
    running = [asyncio.create_task(server.serve()) for server in servers]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*running)


class _Server(uvicorn.Server):
    """One of two servers in one process: neither takes the signals for itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
