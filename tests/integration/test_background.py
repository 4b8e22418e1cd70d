"""Jobs end when they are told to, in the middle of whatever they ask a database."""

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial

from shared.background import repeat
from shared.storage.mongo import Database


async def test_a_busy_job_ends_at_any_moment(database: Database) -> None:
    things = database["things"]
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
