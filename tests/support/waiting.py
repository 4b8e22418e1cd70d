"""Waiting for what is asserted, for a bounded time: the one way in which tests wait."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], timeout_s: float = 30, what: str = "", every_s: float = 0.05) -> T:
    """What `look()` finds, once that is true; AssertionError that says `what` if it never is.

    `look` has to look for all that is asserted afterwards: the rest may come later.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or look}"
        time.sleep(every_s)
    return found


async def soon(
    look: Callable[[], T | Awaitable[T]],
    timeout_s: float = 30,
    what: str = "",
    every_s: float = 0.02,
) -> T:
    """`until` while an event loop runs; `look` may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        looked = look()
        found: T = await looked if inspect.isawaitable(looked) else looked  # type: ignore[assignment]
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or look}"
        await asyncio.sleep(every_s)
