"""The console: a live, read-only view of the platform with a bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, Literal

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Query

from console.access import Guard
from console.logs import LogFollower
from console.pages import add_pages
from console.receiver import otlp_app
from console.scrape import Watcher
from console.settings import ConsoleSettings
from console.store import Store
from console.view import View
from plainview import observe


def create_app(settings: ConsoleSettings, view: View | None = None) -> FastAPI:
    """The commands' side, without pages; given a view, it shows that and watches nothing."""
    http = httpx.AsyncClient(timeout=2)
    shown = view or View(Store(), Watcher(http, settings.targets))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with http:
            tasks = [] if view else [asyncio.create_task(j) for j in _jobs(settings, shown, http)]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(title="console", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.view = shown
    memory = shown.store

    @app.get("/api/requests")
    async def requests(
        kind: Literal["recent", "slow", "failed"] = "recent",
        limit: int = Query(50, ge=1, le=500),
    ) -> dict[str, Any]:
        """Known requests, newest first."""
        return {"items": [asdict(request) for request in islice(memory.requests(kind), limit)]}

    @app.get("/api/requests/{wanted}")
    async def request(wanted: str) -> dict[str, Any]:
        """Spans and log lines of the request with this request ID or trace ID."""
        found = memory.find(wanted)
        if found is None:
            raise HTTPException(404, "nothing known of it")
        return {
            "spans": [asdict(span) for span in found.spans],
            "lines": [{"service": line.service, **line.fields()} for line in found.lines],
        }

    observability = settings.observability("console").model_copy(
        update={"traces": False, "access_log": False}  # it would watch itself watching
    )
    observe(app, observability)
    return app


def _jobs(
    settings: ConsoleSettings, view: View, http: httpx.AsyncClient
) -> list[Coroutine[None, None, None]]:
    logs = LogFollower(settings.log_dir, view.store.add_line)
    return [logs.run(), view.watcher.run(), view.titles.run(http, settings)]


async def serve(settings: ConsoleSettings) -> None:
    """Serve both ports until SIGINT or SIGTERM."""
    app = create_app(settings)
    links = {"in_jaeger": settings.jaeger_link, "in_grafana": settings.grafana_link}
    add_pages(app, app.state.view, links)
    common: dict[str, Any] = {
        "host": settings.host,
        "log_level": "warning",
        "log_config": None,  # plainview's pipeline takes uvicorn's lines
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 2,  # open browsers must not hold the end
    }
    # the receiver only takes and shows nothing: it asks for no token
    taking: dict[str, Any] = {
        "port": settings.otlp_port,
        "lifespan": "off",
        "limit_concurrency": 64,
    }
    servers = [
        _Server(uvicorn.Config(Guard(app, settings.token), port=settings.port, **common)),
        _Server(uvicorn.Config(otlp_app(app.state.view.store), **taking, **common)),
    ]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop)
    running = [asyncio.create_task(server.serve()) for server in servers]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*running)


class _Server(uvicorn.Server):
    """One of two in a loop: signals are for both."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
