"""Work beside the requests: the counts of users for the business signals."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise

from auth import signals
from auth.repository import Users
from plainview import get_logger
from shared.errors import DomainError
from shared.windows import DAYS

INTERVAL_S = 15.0


async def count_users(users: Users, zone: tzinfo) -> None:
    """Count all users, and sign-ups by day of the business time zone."""
    days = [datetime.now(zone).date() - timedelta(days=ago) for ago in range(-1, DAYS)]
    starts = [_midnight(day, zone) for day in days]  # by dates: a day need not have 24 hours
    sign_ups = [await users.count_created(since, until) for until, since in pairwise(starts)]
    signals.population(await users.count(), sign_ups)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)


async def every(seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work for ever; a failure is logged and the next turn comes as usual."""
    log = get_logger("job")
    while True:
        try:
            await work()
        except DomainError as exc:
            log.warning("job.failed", job=name, error_type=type(exc).__name__)
        except Exception:  # a job that ends silently would never be missed
            log.exception("job.crashed", job=name)
        await asyncio.sleep(seconds)
