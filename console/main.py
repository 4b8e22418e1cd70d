"""The console: a live, read-only view of the platform with a bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Query
from shared.settings import load

from console.access import Guard
from console.logs import LogFollower
from console.receiver import otlp_app
from console.settings import ConsoleSettings
from console.store import Line, Request, Store
from plainview import observe
from plainview.decode import SpanRecord


def create_app(settings: ConsoleSettings, store: Store | None = None) -> FastAPI:
    """The pages' and commands' side; `store` is what it shows."""
    memory = store or Store()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower = asyncio.create_task(LogFollower(settings.log_dir, memory.add_line).run())
        yield
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)

    app = FastAPI(title="console", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.store = memory

    @app.get("/api/requests")
    async def requests(
        kind: Literal["recent", "slow", "failed"] = "recent",
        limit: int = Query(50, ge=1, le=500),
    ) -> dict[str, Any]:
        """Known requests, newest first."""
        known = memory.requests(kind)
        return {"items": [_request(r) for r, _ in zip(known, range(limit), strict=False)]}

    @app.get("/api/requests/{wanted}")
    async def request(wanted: str) -> dict[str, Any]:
        """Spans and log lines of the request with this request ID or trace ID."""
        found = memory.find(wanted)
        if found is None:
            raise HTTPException(404, "nothing known of it")
        return {
            "spans": [_span(span) for span in found.spans],
            "lines": [_line(line) for line in found.lines],
        }

    observability = settings.observability("console").model_copy(
        update={"traces": False, "access_log": False}  # it would watch itself watching
    )
    observe(app, observability)
    app.add_middleware(Guard, token=settings.token)
    return app


def from_env() -> FastAPI:
    """For `uvicorn console.main:from_env --factory`: without the OTLP receiver."""
    return create_app(load(ConsoleSettings))


def _request(request: Request) -> dict[str, Any]:
    return asdict(request)


def _line(line: Line) -> dict[str, Any]:
    return {"service": line.service, "level": line.level, **line.fields()}


def _span(span: SpanRecord) -> dict[str, Any]:
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "service": span.service,
        "start": span.start_ns / 1e9,
        "duration_s": span.duration_s,
        "status": span.status,
        "attributes": span.attributes,
    }


async def serve(settings: ConsoleSettings) -> None:
    """Serve both ports until SIGINT or SIGTERM."""
    store = Store()
    common: dict[str, Any] = {
        "host": settings.host,
        "log_config": None,  # plainview's pipeline takes uvicorn's lines
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 2,  # open browsers must not hold the end
    }
    receiver = _Silent(
        uvicorn.Config(
            Guard(otlp_app(store), settings.token),
            port=settings.otlp_port,
            lifespan="off",
            limit_concurrency=64,
            **common,
        )
    )
    pages = uvicorn.Server(
        uvicorn.Config(create_app(settings, store), port=settings.port, **common)
    )
    receiving = asyncio.create_task(receiver.serve())
    try:
        await pages.serve()
    finally:
        receiver.should_exit = True
        await receiving


class _Silent(uvicorn.Server):
    """A second server in the same loop: signals are the first one's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
