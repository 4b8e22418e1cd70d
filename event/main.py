"""The event service (events, rewards, claims), wired."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from event import routes, signals
from event.deps import Deps, connect
from event.settings import Settings
from plainview import observe
from shared.web.body_limit import BodyLimit
from shared.web.docs_page import add_docs
from shared.web.problems import install_error_handlers


def create_app(settings: Settings, deps: Deps | None = None) -> FastAPI:
    """The service; it connects when it starts, unless a test passes in `deps`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.deps = deps or connect(settings, stack)
            yield

    app = FastAPI(title="event", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    add_docs(app)
    app.include_router(routes.router)
    app.add_middleware(BodyLimit, receive_s=settings.message_seconds)
    install_error_handlers(app)
    observe(
        app,
        settings.observability("event"),
        checks=lambda: app.state.deps.checks,
        catalogue=signals.CATALOGUE,
    )
    return app
