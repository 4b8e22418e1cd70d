"""A new database for each test on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from shared.storage.mongo import Database, connect


@asynccontextmanager
async def new_database(url: str, driver: Any) -> AsyncIterator[Database]:
    client = connect(url, driver, "test")
    yield client.database(f"test_{uuid4().hex[:12]}")
    await client.close()


@pytest.fixture(params=["motor", "pymongo"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the two drivers in turn."""
    return str(request.param)


@pytest.fixture
async def database(mongo_url: str, driver: str) -> AsyncIterator[Database]:
    """Through each of the two drivers."""
    async with new_database(mongo_url, driver) as database:
        yield database


@pytest.fixture
async def one_database(mongo_url: str) -> AsyncIterator[Database]:
    """Through the driver that is the default."""
    async with new_database(mongo_url, "pymongo") as database:
        yield database
