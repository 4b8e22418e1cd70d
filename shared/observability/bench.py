"""What the parts cost per request, in process, on an empty async route; best of 5 rounds."""

from __future__ import annotations

import asyncio
import os
from time import perf_counter
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig

from plainview import ObservabilitySettings, configure_logging, observe

PARTS = ("metrics", "http_metrics", "traces", "logs", "access_log", "exemplars")
NOWHERE = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for as long as this runs
SETUPS: dict[str, tuple[str, ...] | None] = {
    "bare FastAPI": None,
    "request ID only": (),
    "+ HTTP metrics": ("metrics", "http_metrics"),
    "+ access line": ("metrics", "http_metrics", "logs", "access_log"),
    "+ spans, exemplars": PARTS,
}


async def _empty(x: str) -> str:
    return x


def _app(parts: tuple[str, ...] | None, routes: int) -> FastAPI:
    # FastAPI's own telemetry would measure "bare" too, once a provider exists
    own: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app, router = FastAPI(telemetry=own), APIRouter(prefix="/api")
    for number in range(routes):
        router.add_api_route(f"/r{number}/{{x}}", _empty)
    app.include_router(router)
    if parts is not None:
        switches: dict[str, Any] = {part: part in parts for part in PARTS}
        settings = ObservabilitySettings(service_name="bench", health=False, **switches)
        observe(app, settings)
        configure_logging(settings, NOWHERE)
    return app


async def _cost(app: FastAPI, path: str, requests: int) -> float:
    """Microseconds per request."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        """Nobody reads it."""

    base: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "headers": [],
        "query_string": b"",
        "scheme": "http",
    }
    base |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("x", 80)}
    start = perf_counter()
    for _ in range(requests):
        await app({**base, "path": path, "client": ("127.0.0.1", 1)}, receive, send)
    return (perf_counter() - start) / requests * 1e6


async def main() -> None:
    """Print microseconds per request, the last of 10 and of 50 routes."""
    sizes = (10, 50)
    apps = {(name, n): _app(parts, n) for name, parts in SETUPS.items() for n in sizes}
    best = dict.fromkeys(apps, float("inf"))
    for _ in range(5):
        for (name, n), app in apps.items():
            parts = SETUPS[name] or ()
            log = ObservabilitySettings(service_name="bench", logs="logs" in parts)
            configure_logging(log, NOWHERE)  # logs belong to the process, not to an app
            cost = await _cost(app, f"/api/r{n - 1}/1", 500)
            best[name, n] = min(best[name, n], cost)
    for name in SETUPS:
        print(f"{name:22}", *(f"{best[name, n]:6.0f} us" for n in sizes))  # noqa: T201


asyncio.run(main())
