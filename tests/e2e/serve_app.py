"""What test_serve starts as a process: an app with a slow route, an echo and readiness."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from shared.serve import run
from shared.settings import ServiceSettings
from shared.web.body_limit import BodyLimit
from shared.web.problems import install_error_handlers


class Readiness:
    ready = True

    def start_draining(self) -> None:
        self.ready = False


def create_app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        sys.stderr.write("flushed")

    app = FastAPI(lifespan=lifespan)
    app.state.observability = Readiness()
    install_error_handlers(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=1024 * 1024)
    app.add_middleware(BodyLimit)

    @app.get("/ready")
    async def ready() -> bool:
        return bool(app.state.observability.ready)

    @app.get("/slow")
    async def slow(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.post("/ignore")
    async def ignore() -> str:
        return "did not read"

    return app


if __name__ == "__main__":
    run(create_app, ServiceSettings())
