"""The one call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, get_args

import orjson
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from . import logs, metrics, tracing
from .catalogue import Catalogue, HistogramSpec
from .guarded import guarded
from .health import Check, HealthMonitor, Probe, refresh_ready
from .http_metrics import HttpMetrics
from .middleware import Page, RequestMiddleware
from .settings import ObservabilitySettings

_apps: set[Observability] = set()  # of this process, that run


class Observability:
    """What `observe()` has set up; also `app.state.observability`."""

    def __init__(
        self, settings: ObservabilitySettings, checks: Callable[[], Mapping[str, Check]]
    ) -> None:
        self.settings = settings
        self.health = HealthMonitor(settings, checks, _log_change)

    def start_draining(self) -> None:
        """Turn readiness to 503 while requests are still served; for a SIGTERM handler."""
        self.health.start_draining()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Background work, for as long as the app has its own resources."""
        lag: asyncio.Task[None] | None = None
        try:
            if self.settings.health:
                await self.health.start()
            if self.settings.metrics and self.settings.event_loop_lag:
                lag = asyncio.create_task(metrics.sample_event_loop_lag(), name="plainview-lag")
            yield
        finally:
            if lag:
                lag.cancel()
            await self.health.stop()

    @asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        """In the end write and export what waits, within `shutdown_timeout_s`."""
        _apps.add(self)
        try:
            yield
        finally:
            _apps.discard(self)
            if not _apps:  # logs and spans are the process's
                with guarded("shutdown"):
                    limit = self.settings.shutdown_timeout_s
                    await asyncio.gather(
                        asyncio.to_thread(tracing.shutdown, limit),
                        asyncio.to_thread(logs.flush_logs, limit),
                    )

    def pages(self) -> dict[str, Page]:
        """The library's own pages by path."""
        pages: dict[str, Page] = {}
        if self.settings.metrics:
            pages["/metrics"] = self._metrics_page
        if self.settings.health:
            for probe in get_args(Probe):
                pages[f"/health/{probe}"] = partial(self._health_page, probe)
        return pages

    def _health_page(self, probe: Probe, accept: str) -> tuple[int, bytes, str]:
        status, body = self.health.report(probe)
        return status, orjson.dumps(body), "application/health+json"

    def _metrics_page(self, accept: str) -> tuple[int, bytes, str]:
        if self.settings.health:
            refresh_ready()
        return 200, *metrics.page(accept)


def observe(
    app: FastAPI,
    settings: ObservabilitySettings,
    *,
    checks: Callable[[], Mapping[str, Check]] = dict,
    catalogue: Catalogue | None = None,
) -> Observability:
    """Give the app metrics, health, traces, logs and request IDs, each unless switched off.

    `checks` is called once, when the app has started: name to `Check` of each dependency.
    `catalogue` holds the app's own metrics. Logs and traces belong to the process: of several
    apps the last one's log settings and the first one's trace settings hold.
    RuntimeError if the app is observed already or has served a request.
    """
    if isinstance(getattr(app.state, "observability", None), Observability):
        raise RuntimeError(f"observe() was called twice on the app {app.title!r}")
    if app.middleware_stack is not None:
        raise RuntimeError("observe() has to come before the first request of the app")
    observability = Observability(settings, checks)
    app.state.observability = observability
    logs.configure_logging(settings)
    if settings.logs:
        _silence_repeats()
    if settings.metrics:
        metrics.install(settings)
        if catalogue is not None:
            catalogue.register()
    if settings.traces:
        with guarded("traces"):
            tracing.install(settings)
            tracing.instrument_app(app, settings)
    if settings.metrics and settings.traces and settings.exemplars:
        HistogramSpec.exemplar = staticmethod(tracing.exemplar)
    _wrap_stack(app, observability)
    _wrap_lifespan(app, observability)
    return observability


def _wrap_stack(app: FastAPI, observability: Observability) -> None:
    """Order from outside: request ID and log lines, span, error handlers, HTTP metrics, app."""
    settings = observability.settings
    exemplar = tracing.exemplar if settings.traces and settings.exemplars else None
    build = app.build_middleware_stack

    def build_middleware_stack() -> ASGIApp:
        # as late as this, so that it is around the middlewares that were added after observe()
        if settings.metrics and settings.http_metrics:
            metric = Middleware(HttpMetrics, settings=settings, exemplar=exemplar)
            app.user_middleware.insert(0, metric)
        return RequestMiddleware(
            build(),
            pages=observability.pages(),
            allow=settings.allow,
            access=logs.access if settings.logs and settings.access_log else None,
            failure=_log_failure if settings.logs else None,
        )

    app.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign]


def _wrap_lifespan(app: FastAPI, observability: Observability) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with observability.flushing(), inner(app) as state, observability.running():
            yield state

    app.router.lifespan_context = lifespan


_log = logs.get_logger("http")


def _log_failure(error: BaseException) -> None:
    """The one line of an exception; the server's own report of it is dropped."""
    _log.error("http.request.failed", exc_info=error)
    with suppress(AttributeError):  # of a class with slots
        error.__plainview_logged__ = True  # type: ignore[attr-defined]


def _log_change(name: str, check: Check, ok: bool) -> None:
    log = logs.get_logger("db" if check.component_type == "datastore" else "http")
    if ok:
        log.info("dependency.recovered", dependency=name)
    else:
        fail = log.error if check.required else log.warning
        fail("dependency.failed", dependency=name, required=check.required)


def _logged_before(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not getattr(error, "__plainview_logged__", False)


def _silence_repeats() -> None:
    server = logging.getLogger("uvicorn.error")
    if _logged_before not in server.filters:
        server.addFilter(_logged_before)
