"""Active users by day in MongoDB: they outlast Redis, where the gateway marks who is active.

A day's users are a HyperLogLog, a sketch of the set. Two sketches are merged in any order and any
number of times, so Redis and MongoDB tell each other what they know, and so do replicas. After a
loss of Redis its sketches come back from here.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from auth import signals
from shared.errors import Unavailable
from shared.storage.mongo import Collection, Database, Document, DuplicateKey
from shared.storage.redis import RedisError
from shared.windows import ACTIVE_DAYS, DAYS, MONTHS, WINDOWS, active_key

KEPT_DAYS = 800  # numbers of days; two years can be compared
_BYTES = ("utf-8", "surrogateescape")  # how the client turns Redis' bytes into text


class ActiveDays:
    """Numbers of active users by day of the business time zone, and the sketches behind them.

    `active_days` holds `{_id: "2026-11-26", active, week, month}`; `week` and `month` are the users
    of the 7 and 30 days that end with it. `active_sketches` holds the last 62 days' sketches.
    """

    def __init__(self, database: Database, redis: Redis, zone: tzinfo) -> None:
        self._numbers, self._sketches = database["active_days"], database["active_sketches"]
        self._redis, self._zone = redis, zone
        self._tidied = ""

    async def turn(self) -> None:
        """Merge what Redis and MongoDB know, and set the gauges.

        Unavailable if Redis is away: then the gauges show what MongoDB knows.
        """
        today = datetime.now(self._zone).date()
        days = [today - timedelta(days=ago) for ago in range(KEPT_DAYS)]
        try:
            if self._tidied != str(today):
                await self._carry_over(days[:ACTIVE_DAYS])
            await self._merge(days)
        except (RedisError, OSError) as error:
            raise Unavailable("Active users wait for Redis") from error
        finally:
            await self._show(days)
        if self._tidied != str(today):
            for collection, kept in ((self._numbers, KEPT_DAYS), (self._sketches, ACTIVE_DAYS)):
                await collection.delete_many({"_id": {"$lt": str(today - timedelta(days=kept))}})
            self._tidied = str(today)

    async def _carry_over(self, days: Sequence[date]) -> None:
        """Take over what Redis has under `active:DAY`, the keys of versions before 0.1.0.

        Gateways that are not changed yet still write them, so they are read at the start and once a
        day, and stay until they expire. They are in other slots: no command may name both keys.
        """
        for ago, day in enumerate(days):
            sketch = cast("str | None", await self._redis.get(f"active:{day}"))
            if sketch:
                async with self._redis.pipeline(transaction=True) as pipe:
                    _add(pipe, active_key(day), sketch.encode(*_BYTES))
                    pipe.expire(active_key(day), (ACTIVE_DAYS - ago) * 86_400)
                    await pipe.execute()

    async def _merge(self, days: Sequence[date]) -> None:
        """Bring the numbers of days with a sketch up to date; `days` begin with today."""
        recent = days[:ACTIVE_DAYS]
        stored = await self._read([*recent])
        async with self._redis.pipeline(transaction=False) as pipe:
            for day in recent:
                pipe.pfcount(active_key(day))
            counted = await pipe.execute()
        oldest = 0  # days ago: the oldest day whose number has changed
        for ago, day in enumerate(recent):
            known = stored.get(str(day), {}).get("active", 0)
            if counted[ago] != known and await self._merge_day(day, ACTIVE_DAYS - ago):
                oldest = ago
        # A day also counts in the weeks and months that end on later days, so these are stored
        # again too; and today's change at midnight, even if no number did.
        for ago in range(oldest + 1):
            if ago + DAYS <= ACTIVE_DAYS:  # else a part of its month has no sketch any more
                await self._count_windows(recent[ago:])

    async def _merge_day(self, day: date, left: int) -> bool:
        """Make both sketches of a day one, and store its size; False if there is none.

        Redis keeps it `left` days more.
        """
        key = active_key(day)
        stored = await self._sketches.find_one({"_id": str(day)})
        async with self._redis.pipeline(transaction=True) as pipe:
            if stored:
                _add(pipe, key, b64decode(stored["sketch"]))
            pipe.expire(key, left * 86_400)
            pipe.get(key)
            pipe.pfcount(key)
            *_, sketch, active = await pipe.execute()
        if not sketch:
            return False
        # As text: every server of MongoDB's protocol returns text just as it was stored.
        text = b64encode(sketch.encode(*_BYTES)).decode()
        await _set(self._sketches, str(day), {"sketch": text})
        await _set(self._numbers, str(day), {"active": active})
        return True

    async def _count_windows(self, days: Sequence[date]) -> None:
        """Store the week and the month that end with the first of `days`, newest first."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for window in ("week", "month"):
                pipe.pfcount(*(active_key(day) for day in days[: WINDOWS[window]]))
            week, month = await pipe.execute()
        await _set(self._numbers, str(days[0]), {"week": week, "month": month})

    async def _read(self, days: Sequence[date]) -> dict[str, Document]:
        found = await self._numbers.find({"_id": {"$in": [str(day) for day in days]}})
        return {row["_id"]: row for row in found}

    async def _show(self, days: Sequence[date]) -> None:
        by_day, by_month = days[:DAYS], days[: DAYS * MONTHS : DAYS]
        stored = await self._read([*by_day, *by_month])
        newest = next((stored[str(day)] for day in by_day if str(day) in stored), {})
        signals.active_users(
            {"week": newest.get("week", 0), "month": newest.get("month", 0)},
            [stored.get(str(day), {}).get("active", 0) for day in by_day],
            [stored.get(str(day), {}).get("month", 0) for day in by_month],
        )


def _add(pipe: Pipeline, key: str, sketch: bytes) -> None:
    """Merge a sketch into the one at `key`, in the same slot."""
    other = f"{key}:stored"
    pipe.set(other, sketch, ex=60)
    pipe.pfmerge(key, other)
    pipe.delete(other)


async def _set(collection: Collection, id_: str, change: Document) -> None:
    try:
        await collection.update_one({"_id": id_}, {"$set": change}, upsert=True)
    except DuplicateKey:  # another replica has just made it
        await collection.update_one({"_id": id_}, {"$set": change})
