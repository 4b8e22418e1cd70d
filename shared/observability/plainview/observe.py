"""`observe()`, the one call that makes an app observable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, get_args

import orjson
from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from . import logs, metrics, stdlib_logs, stock, tracing, workers
from .catalogue import Catalogue, HistogramSpec
from .context import text_of
from .guarded import guarded
from .health import Check, Finding, HealthMonitor, Probe, refresh_ready
from .http_metrics import Collectors, HttpLabels, HttpMetrics, LabelSource, collectors
from .middleware import Page, RequestMiddleware, Watch
from .ops_server import OpsServer
from .routes import RouteFinder
from .server_spans import ServerSpans
from .settings import ObservabilitySettings

Wrap = Callable[[ASGIApp], ASGIApp]
_apps: set[Observability] = set()  # running apps of this process


class Observability:
    """What `observe()` has set up; also `app.state.observability`."""

    def __init__(
        self,
        settings: ObservabilitySettings,
        checks: Callable[[], Mapping[str, Check]],
        catalogue: Catalogue | None = None,
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.health = HealthMonitor(settings, checks, _log_change)

    def start_draining(self) -> None:
        """Turn readiness to 503 while requests are still served; for a SIGTERM handler."""
        self.health.start_draining()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background work; ends before the app closes its own resources."""
        lag: asyncio.Task[None] | None = None
        try:
            if self.settings.health:
                await self.health.start()
            if self.settings.metrics and self.settings.event_loop_lag:
                lag = asyncio.create_task(metrics.sample_event_loop_lag(), name="plainview-lag")
            yield
        finally:
            if lag is not None:
                lag.cancel()
            await self.health.stop()

    @asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        """At the end, write waiting lines and export waiting spans within `shutdown_timeout_s`."""
        _apps.add(self)
        logs.SINK.prompt = False
        with guarded("traces"):
            _tell(tracing.start() if self.settings.traces else [])
        if self.settings.logs:
            logs.take_over()  # servers and the application may have configured logging since
            if self.settings.debug_signal and not logs.toggle_debug_on_signal():
                _tell(["debug_signal needs the main thread"])
        if self.settings.metrics:
            _tell_of_workers()
        ops = self._ops_server()
        try:
            yield
        finally:
            _apps.discard(self)
            if ops is not None:
                await asyncio.to_thread(ops.stop)
            if not _apps:  # the last app: logs and spans belong to the process
                with guarded("shutdown"):
                    limit = self.settings.shutdown_timeout_s
                    await asyncio.gather(
                        asyncio.to_thread(tracing.shutdown, limit),
                        asyncio.to_thread(logs.flush_logs, limit),
                    )
                    logs.SINK.prompt = True  # nobody would flush later lines

    def _ops_server(self) -> OpsServer | None:
        settings = self.settings
        if settings.ops_port is None:
            return None
        try:
            return OpsServer(settings.ops_host, settings.ops_port, self.pages(), settings.allow)
        except OSError as error:
            where = f"{settings.ops_host}:{settings.ops_port}"
            _tell([f"no metrics and no health on {where}: {error.strerror}"])
            return None

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
    http_labels: Mapping[str, LabelSource] | None = None,
) -> Observability:
    """Give the app metrics, health, traces, logs and request IDs, each unless switched off.

    `checks` is called once, when the app has started: name to `Check` of each dependency.
    `catalogue` holds the app's own metrics. `http_labels` are labels of your own on the HTTP
    metrics: name to `header:X-Tenant`, `state:plan` (of `request.state`) or a function of the ASGI
    scope. Logs and traces belong to the process: of several apps the last one's log settings and
    the first one's trace settings hold, and the first one's buckets and labels.

    Whatever fails is left out, and a log line `telemetry.degraded` says which part and why.
    RuntimeError if the app is observed already or has served a request, ValueError for
    `http_labels` that cannot be.
    """
    if isinstance(getattr(app.state, "observability", None), Observability):
        raise RuntimeError(f"observe() was called twice on the app {app.title!r}")
    if app.middleware_stack is not None:
        raise RuntimeError("observe() has to come before the first request of the app")
    labels = HttpLabels(http_labels, settings.http_labels_limit) if http_labels else None
    settings = settings.identified()
    observability = Observability(settings, checks, catalogue)
    app.state.observability = observability
    logs.configure_logging(settings)
    told = settings.told
    if settings.metrics_by == "stock" and (labels or settings.http_sizes):
        told.append("http_labels and http_sizes are not used with metrics_by=stock")
        labels, settings = None, settings.model_copy(update={"http_sizes": False})
    made = _install_metrics(settings, catalogue, labels, told)
    _wrap_stack(app, observability, made, labels, told)
    if settings.metrics and settings.traces and settings.exemplars:
        HistogramSpec.exemplar = staticmethod(tracing.exemplar)
    _wrap_lifespan(app, observability)
    _tell(told)
    return observability


def _install_metrics(
    settings: ObservabilitySettings,
    catalogue: Catalogue | None,
    labels: HttpLabels | None,
    told: list[str],
) -> Collectors | None:
    if not settings.metrics:
        return None
    made = None
    with guarded("metrics"):
        told += metrics.install(settings)
        if catalogue is not None:
            told += catalogue.expose()
        if settings.http_metrics:
            made, more = collectors(settings, labels.names if labels else ())
            told += more
    return made


def _wrap_stack(
    app: FastAPI,
    observability: Observability,
    made: Collectors | None,
    labels: HttpLabels | None,
    told: list[str],
) -> None:
    """Have the app build its middlewares with the library's among them.

    The order from outside: `RequestMiddleware` (request ID, record, span), Starlette's error
    handler, `Watch` (which notes failures), the application's middlewares.
    """
    settings = observability.settings
    inside: list[Wrap] = [Watch]  # of the error handler; innermost first
    counts: HttpMetrics | None = None
    spans: ServerSpans | None = None
    given: Wrap | None = None
    if made is not None:
        by_stock = settings.metrics_by == "stock"
        use = partial(stock.counting, made, settings)
        if by_stock and (counting := _stock("metrics_by", use, told)) is not None:
            inside.append(counting)
        else:
            counts = HttpMetrics(
                made, settings.service_name, exemplars=settings.exemplars, labels=labels
            )
    build = app.build_middleware_stack

    def build_inner() -> ASGIApp:
        stack = build()
        handler = stack if isinstance(stack, ServerErrorMiddleware) else None
        inner = stack if handler is None else handler.app
        for wrap in inside:
            inner = wrap(inner)
        if handler is None:
            return inner
        handler.app = inner
        return handler

    app.build_middleware_stack = build_inner  # type: ignore[method-assign]
    if settings.traces:
        with guarded("traces"):
            provider = tracing.install(settings, told)
            _step_aside(app)
            if not getattr(app, "_is_instrumented_by_opentelemetry", False):  # by the application
                if settings.spans_by == "stock":
                    given = _stock("spans_by", partial(stock.instrument_spans, app), told)
                if given is None:
                    own = tracing.is_own(provider)
                    spans = ServerSpans(provider, own=own, masking=settings.masking)
                else:
                    inside.insert(0, given)
    build_outer = app.build_middleware_stack  # the stock way has wrapped it

    def build_all() -> ASGIApp:
        stack = build_outer()
        return RequestMiddleware(
            stock.Escaped(stack) if given else stack,
            routes=RouteFinder(app),
            pages=observability.pages() if settings.ops_port is None else {},
            allow=settings.allow,
            trusted_proxies=settings.trusted_proxies,
            spans=spans,
            traced=settings.traces,
            metrics=counts,
            app_name=settings.service_name,
            access=logs.access if settings.logs and settings.access_log else None,
            failure=_log_failure if settings.logs else None,
        )

    app.build_middleware_stack = build_all  # type: ignore[method-assign]


def _stock(setting: str, use: Callable[[], Wrap], told: list[str]) -> Wrap | None:
    try:
        return use()
    except ImportError as error:
        told.append(f"{setting}=stock needs plainview[stock]: {error}")
        return None


def _step_aside(app: FastAPI) -> None:
    """Switch off FastAPI's own telemetry for this app, or each request would have two spans."""
    own = getattr(app, "_telemetry", None)
    if isinstance(own, dict):
        own.update(tracing=False, metrics=False, logs=False)


def _wrap_lifespan(app: FastAPI, observability: Observability) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with observability.flushing(), inner(app) as state, observability.running():
            yield state

    app.router.lifespan_context = lifespan


_log = logs.get_logger("http")
_COMPONENTS: dict[str, logs.Component] = {"datastore": "db", "cache": "cache"}


def _tell(sentences: list[str]) -> None:
    """Log a line per sentence; by stdlib logging if the library writes no lines."""
    for text in sentences:
        if logs.enabled():
            logs.get_logger("job").warning("telemetry.degraded", reason=text)
        else:
            logging.getLogger("plainview").warning("telemetry degraded: %s", text)


def _tell_of_workers() -> None:
    """Say once per server what its workers' metrics lack, or that they are not shared at all."""
    with guarded("metrics"):
        workers.serving()
        place = workers.place()
        if workers.DIRECTORY is not None:
            if place == 0:
                logs.get_logger("job").info(
                    "telemetry.workers_counted_together",
                    directory=str(workers.DIRECTORY),
                    lost=workers.LOST,
                )
        elif place == 1 and not workers.TOLD:
            _tell(
                [
                    "several workers share a port and each has counts of its own:"
                    f" set {workers.VARIABLE} to a directory, or run one worker per container"
                ]
            )


def _log_failure(error: BaseException) -> None:
    """Log an exception and mark it, so that the server's own line about it is dropped."""
    _log.error("http.request.failed", exc_info=error)
    with suppress(AttributeError):  # a class with slots takes no mark
        setattr(error, stdlib_logs.LOGGED, True)


def _log_change(name: str, check: Check, found: Finding) -> None:
    log = logs.get_logger(_COMPONENTS.get(check.component_type, "http"))
    if found.ok:
        log.info("dependency.recovered", dependency=name)
        return
    about: dict[str, Any] = {"reason": found.reason, "required": check.required}
    if found.error is not None:
        about["exception_type"] = type(found.error).__qualname__
        about["exception_message"] = text_of(found.error)
    (log.error if check.required else log.warning)("dependency.failed", dependency=name, **about)
