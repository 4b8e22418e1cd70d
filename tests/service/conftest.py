"""The services over memory, new for each test; one with other settings a test makes itself."""

import pytest

from tests.support.auth_app import auth_app
from tests.support.event_app import event_app
from tests.support.gateway_app import gateway, upstream


@pytest.fixture
async def auth(no_worker_threads):
    async with auth_app() as app:
        yield app


@pytest.fixture
async def service(no_worker_threads):
    """The event service."""
    async with event_app() as app:
        yield app


@pytest.fixture
async def up():
    """An upstream of the gateway that answers everything."""
    async with upstream() as fake:
        yield fake


@pytest.fixture
async def gw(up, issuer):
    """The gateway with `up` as its event service and `issuer` as its auth service."""
    async with gateway(event_url=up.url, auth_url=issuer.url) as made:
        yield made


@pytest.fixture
def no_worker_threads(monkeypatch):
    """FastAPI hands plain functions to worker threads, which costs more than a small request."""

    async def refuse(function, *_args, **_named):
        raise AssertionError(f"{function} is no coroutine function")

    libraries = ("routing", "dependencies.utils", "concurrency")
    for module in (*(f"fastapi.{name}" for name in libraries), "starlette.routing"):
        monkeypatch.setattr(f"{module}.run_in_threadpool", refuse)
