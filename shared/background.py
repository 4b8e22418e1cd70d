"""Work beside the requests, for as long as an app runs. Every job of the services is run here.

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
CLOSE_S = 5.0  # for one connection or job to end: a process that is told to stop has about 19 s

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
# What a job meets while a database or Redis is away: known, and over when they are back.
_AWAY = (Timeout, Unavailable, RedisError, TimeoutError)


def repeat(
    stack: AsyncExitStack,
    task: str,
    turn: Callable[[], Awaitable[object]],
    *,
    pause_s: float = 0.0,
) -> None:
    """Run `turn` again and again until `stack` closes; `task` is its name in logs and metrics.

    Between two turns lie `pause_s` seconds, or the duration of the last turn if that was longer.
    0 is for a turn that waits for work by itself.
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
                _end_if_told_to()  # else a driver has cancelled its own work
                failures += 1
                _failed.inc(task=task)
                if type(exc).__name__ != last_kind:  # not one line for every turn of an outage
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
            # replicas that failed together do not come back together
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311
        else:  # at least one turn for others, also if a turn of this job waited for nothing
            await asyncio.sleep(max(pause_s, time.monotonic() - start) if pause_s else 0)


def _end_if_told_to() -> None:
    """Raise CancelledError if this task was cancelled, also if a driver dropped the exception."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel `tasks` and wait until they have ended, at most `CLOSE_S`; whatever they raise.

    Cancelled again and again: `asyncio.wait_for` of Python 3.11 drops a cancellation that comes as
    its work is done, and pymongo waits by it for every command.
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
            task.exception()  # read, so that the event loop does not complain


def close_at_exit(
    stack: AsyncExitStack, what: str, closing: Callable[[], Awaitable[object]]
) -> None:
    """Close a connection when `stack` closes: after `CLOSE_S` it is left behind."""

    async def close() -> None:
        task = asyncio.ensure_future(closing())
        # not asyncio.timeout(): that waits for as long as what it cancels refuses to end
        done, _ = await asyncio.wait({task}, timeout=CLOSE_S)
        if not done:
            task.cancel()
            _log.warning("close.late", what=what, seconds=CLOSE_S)
        elif not task.cancelled() and (error := task.exception()):
            _log.warning("close.failed", what=what, error_type=type(error).__name__)

    stack.push_async_callback(close)
