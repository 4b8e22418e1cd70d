"""Runs the background jobs of all services, and closes connections, for as long as an app runs.

A job is a coroutine function that does one turn. An exception never ends it: it is logged and
counted, and the next turn comes after a pause that grows while turns fail.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from plainview import Bounded, Catalogue, get_logger, request_context
from shared.errors import Timeout, Unavailable
from shared.storage.redis import RedisError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # after a turn that failed
CLOSE_S = 5.0  # for one connection or job to end; a stopping process has 19 s in all

CATALOGUE = Catalogue("background")
_succeeded = CATALOGUE.gauge(
    "background_job_last_success_timestamp_seconds",
    "When a turn of the job ended well, Unix time; its start before there was one",
    unit="seconds",
    labels={"task": Bounded(20)},
)
_failed = CATALOGUE.counter(
    "background_job_failures_total",
    "Turns of the job that ended with an exception",
    labels={"task": Bounded(20)},
)
_log = get_logger("job")
# Errors while a database or Redis is away: logged without a traceback, as they end by themselves.
_AWAY = (Timeout, Unavailable, RedisError, TimeoutError)


def repeat(
    stack: AsyncExitStack,
    task: str,
    turn: Callable[[], Awaitable[object]],
    *,
    pause_s: float = 0.0,
) -> None:
    """Run `turn` again and again until `stack` closes; `task` is its name in logs and metrics.

    The pause between turns is `pause_s` seconds, or as long as the last turn if that was longer.
    Use 0 for a turn that waits for work by itself.
    """
    CATALOGUE.register()
    stack.push_async_callback(stop, asyncio.ensure_future(_repeat(task, turn, pause_s)))


async def _repeat(task: str, turn: Callable[[], Awaitable[object]], pause_s: float) -> None:
    _succeeded.set(time.time(), task=task)
    _failed.inc(0, task=task)
    failures, last_kind = 0, ""
    while True:
        start = time.monotonic()
        with request_context():
            try:
                await turn()
            except (Exception, asyncio.CancelledError) as exc:
                # If this raises nothing, a driver has cancelled its own work: the turn has failed.
                _end_if_told_to()
                failures += 1
                _failed.inc(task=task)
                if type(exc).__name__ != last_kind:  # one line per outage, not per turn
                    last_kind = type(exc).__name__
                    write = _log.warning if isinstance(exc, _AWAY) else _log.exception
                    write("job.failed", task=task, error_type=last_kind)
            else:
                _end_if_told_to()
                if failures:
                    _log.info("job.resumed", task=task, failures=failures)
                failures, last_kind = 0, ""
                _succeeded.set(time.time(), task=task)
        if failures:
            # A random part of the pause, so that replicas do not all retry at the same moment.
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311
        else:  # sleep(0) at least, so that a turn that never waits cannot block the event loop
            await asyncio.sleep(max(pause_s, time.monotonic() - start) if pause_s else 0)


def _end_if_told_to() -> None:
    """Raise CancelledError if this task was cancelled, even if a driver swallowed the exception."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel `tasks`, wait at most `CLOSE_S` for them to end, and ignore what they raise.

    They are cancelled repeatedly: in Python 3.11 `asyncio.wait_for`, which PyMongo uses for every
    command, loses a cancellation that arrives as its work completes.
    """
    deadline = time.monotonic() + CLOSE_S
    while (waiting := [task for task in tasks if not task.done()]) and time.monotonic() < deadline:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=min(1, CLOSE_S / 2))
    for task in tasks:
        if not task.done():
            _log.error("job.did_not_end", seconds=CLOSE_S)
        elif not task.cancelled():
            task.exception()  # retrieved, else asyncio logs that it never was


def close_at_exit(
    stack: AsyncExitStack, what: str, closing: Callable[[], Awaitable[object]]
) -> None:
    """Call `closing` when `stack` closes, and give it up after `CLOSE_S` seconds."""

    async def close() -> None:
        task = asyncio.ensure_future(closing())
        # asyncio.timeout() would not do: it waits until the cancelled work has really ended.
        done, _ = await asyncio.wait({task}, timeout=CLOSE_S)
        if not done:
            task.cancel()
            _log.warning("close.late", what=what, seconds=CLOSE_S)
        elif not task.cancelled() and (error := task.exception()):
            _log.warning("close.failed", what=what, error_type=type(error).__name__)

    stack.push_async_callback(close)
