"""HTTP metrics by starlette-exporter, with a bounded number of series."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from prometheus_client import disable_created_metrics
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette_exporter import PrometheusMiddleware

from .context import current, request_id
from .settings import ObservabilitySettings

METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
OTHER_METHOD = "_OTHER"
UNKNOWN = "__unknown__"  # as starlette-exporter has it
_ALLOW = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def route_template(scope: Scope, root_path: str) -> str | None:
    """Full template of the route that took the request, such as `/api/v1/events/{id}`.

    None if there was none, or it is inside a mounted app. `root_path` is that at the entry.
    """
    # FastAPI keeps a router's prefixes only here, `scope["route"].path` lacks them
    included = scope.get("fastapi", {}).get("effective_route_context")
    route = included or scope.get("route")
    mounted = scope.get("root_path", "") != root_path
    return None if route is None or mounted else getattr(route, "path", None)


class _Found(BaseRoute):
    """A route that matches: starlette-exporter would look through all of them again."""

    def __init__(self, path: str) -> None:
        self.path = path

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.FULL, {}


class _Inside:
    """Between exporter and app: refuses unknown methods and tells the exporter the route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._routers: dict[str, SimpleNamespace] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] == OTHER_METHOD:
            await _refusal()(scope, receive, send)
        else:
            root_path = scope.get("root_path", "")
            try:
                await self.app(scope, receive, send)
            finally:
                context = current()
                path = context.route if context else None
                path = path or route_template(scope, root_path)
                if path is not None and "endpoint" in scope:
                    router = self._routers.get(path)
                    if router is None:  # as many as there are templates
                        router = self._routers[path] = SimpleNamespace(routes=[_Found(path)])
                    scope["router"] = router


def _refusal() -> JSONResponse:
    problem = {
        "type": "about:blank",
        "title": "Method Not Allowed",
        "status": 405,
        "code": "method_not_allowed",
        "request_id": request_id(),
    }
    return JSONResponse(problem, 405, {"Allow": _ALLOW}, "application/problem+json")


class HttpMetrics(PrometheusMiddleware):
    """`http_requests_total`, `http_request_duration_seconds`, `http_requests_in_progress`."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ObservabilitySettings,
        exemplar: Callable[[], dict[str, str]] | None,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        super().__init__(
            _Inside(app),
            app_name=settings.service_name,
            prefix="http",
            group_paths=True,
            filter_unhandled_paths=False,
            group_unhandled_paths=True,
            buckets=settings.latency_buckets,
            exemplars=exemplar,
        )
        # what strangers can cause exists from the start, so that a scan adds no series
        for method, status in (("GET", 404), ("POST", 404), (OTHER_METHOD, 405)):
            labels = (method, UNKNOWN, status, self.app_name)
            self.request_count.labels(*labels)
            self.request_time.labels(*labels)
        for method in (*METHODS, OTHER_METHOD):
            self.requests_in_progress.labels(method, self.app_name)
