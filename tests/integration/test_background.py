"""Jobs end when they are told to, in the middle of whatever they ask a database."""

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial
from uuid import uuid4

import pytest

from shared.background import repeat
from shared.storage.mongo import connect


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_a_busy_job_ends_at_any_moment(mongo_url: str, driver: str) -> None:
    client = connect(mongo_url, driver, "tests")
    things = client.database(f"jobs_{uuid4().hex[:12]}")["things"]
    running: set[int] = set()

    async def turn(number: int) -> None:
        running.add(number)
        try:
            await things.find_one({"_id": number})
        finally:
            running.discard(number)

    async with asyncio.timeout(60):
        for number in range(20):
            async with AsyncExitStack() as stack:
                repeat(stack, "busy", partial(turn, number))
                await asyncio.sleep(random.random() / 100)
            assert not running
    await client.close()
