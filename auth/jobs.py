"""Background job that counts users for the business metrics."""

from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise

from auth import signals
from auth.repository import Users
from shared.windows import DAYS

INTERVAL_S = 15.0


async def count_users(users: Users, zone: tzinfo) -> None:
    """Count all users, and sign-ups by day of the business time zone."""
    days = [datetime.now(zone).date() - timedelta(days=ago) for ago in range(-1, DAYS)]
    # From dates, not by subtracting 24 hours: a day with a clock change has 23 or 25.
    starts = [_midnight(day, zone) for day in days]
    sign_ups = [await users.count_created(since, until) for until, since in pairwise(starts)]
    signals.population(await users.count(), sign_ups)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)
