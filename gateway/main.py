"""The gateway, wired. It is the only service that clients reach."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from gateway import signals
from gateway.deps import Deps, connect
from gateway.operations import load_document, operations
from gateway.proxy import ProxyRoute
from gateway.settings import Settings
from plainview import REQUEST_ID_HEADER, observe
from shared.web.body_limit import BodyLimit
from shared.web.docs_page import add_docs
from shared.web.problems import install_error_handlers


def create_app(
    settings: Settings, deps: Deps | None = None, document: dict[str, Any] | None = None
) -> FastAPI:
    """The service; it connects to nothing if a test passes in `deps`.

    `document` is the OpenAPI document of all services, by default the generated one.
    """
    api = document or load_document()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.deps = deps or connect(settings, stack)
            yield

    app = FastAPI(
        title="gateway",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lead to whatever host the client put into `Host`
    )
    app.openapi = lambda: api  # type: ignore[method-assign]
    for path, methods in operations(api).items():
        app.router.routes.append(ProxyRoute(path, methods))
    add_docs(app)  # after the others: each request tries the routes in their order
    app.add_middleware(BodyLimit, receive_s=settings.message_seconds)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                REQUEST_ID_HEADER,
                "traceparent",
            ],
            expose_headers=[REQUEST_ID_HEADER, "Retry-After"],
        )
    install_error_handlers(app)
    observe(
        app,
        settings.observability("gateway", trust_remote_sampling=False),
        checks=lambda: app.state.deps.checks,
        catalogue=signals.CATALOGUE,
    )
    return app
