"""Work beside the requests, for as long as an app runs."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any


def background(stack: AsyncExitStack, work: Awaitable[None]) -> None:
    """Run `work` until `stack` ends it."""
    stack.push_async_callback(stop, asyncio.ensure_future(work))


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel `tasks` until all have ended, whatever they raise.

    Again and again: `asyncio.wait_for` of Python 3.11 drops a cancellation that comes as its work
    is done, and pymongo waits by it for every command.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)
