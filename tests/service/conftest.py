"""The services over memory, new for each test; one with other settings a test makes itself."""

import pytest

from tests.support.auth_app import auth_app
from tests.support.event_app import event_app
from tests.support.gateway_app import gateway, upstream


@pytest.fixture
async def auth():
    async with auth_app() as app:
        yield app


@pytest.fixture
async def service():
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
