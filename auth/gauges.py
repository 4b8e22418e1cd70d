"""Sets the gauges of users from the database, so they are right after any restart."""

from datetime import datetime, time, timedelta, tzinfo
from itertools import pairwise

from auth import signals
from auth.repository import Users
from shared.windows import DAYS


class Gauges:
    """Counts all users, and sign-ups by day of the business time zone."""

    def __init__(self, users: Users, zone: tzinfo) -> None:
        self._users, self._zone = users, zone

    async def turn(self) -> None:
        today = datetime.now(self._zone).date()
        # Made from dates: subtracting 24 hours is wrong where a clock change makes it 23 or 25.
        starts = [
            datetime.combine(today - timedelta(days=ago), time(), self._zone)
            for ago in range(-1, DAYS)
        ]
        sign_ups = [
            await self._users.count_created(since, until) for until, since in pairwise(starts)
        ]
        signals.population(await self._users.count(), sign_ups)
