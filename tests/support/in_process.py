"""Asking an application within the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI


@asynccontextmanager
async def client_of(app: FastAPI, **transport: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app while it runs; what the app raises is a 500, as behind a server."""
    asgi = httpx.ASGITransport(app, raise_app_exceptions=False, **transport)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=asgi, base_url="http://test") as client,
    ):
        yield client
