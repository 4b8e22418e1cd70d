"""Estimates of active users: one HyperLogLog a day in Redis, written in batches by a job."""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from gateway import signals
from shared.errors import Unavailable
from shared.storage.redis import RedisError
from shared.windows import DAYS, WINDOWS

KEEP_DAYS = 62  # two months, so that one month can be compared with the one before
AGAIN_S = 300  # seconds before the same user is written again
REMEMBERED = 100_000  # users; beyond it the oldest is forgotten, and so written again sooner
BATCH = 1000


class ActiveUsers:
    """Marks users as active and estimates how many there were."""

    def __init__(self, redis: Redis, zone: ZoneInfo) -> None:
        self._redis, self._zone = redis, zone
        self._seen: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._waiting: dict[str, set[str]] = {}

    def mark(self, user_id: str) -> None:
        """Note that the user made an authenticated request; waits for nothing."""
        now, key = time.monotonic(), self._key(0)
        at, seen_in = self._seen.get(user_id, (0.0, ""))
        if seen_in == key and now - at < AGAIN_S:
            return
        self._seen[user_id] = now, key
        self._seen.move_to_end(user_id)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        waiting = self._waiting.setdefault(key, set())
        if len(waiting) < REMEMBERED:
            waiting.add(user_id)

    def _key(self, days_ago: int) -> str:
        day = datetime.now(self._zone).date() - timedelta(days=days_ago)
        return f"active:{day.isoformat()}"

    async def flush(self) -> None:
        """Write the noted users; Unavailable if Redis is away, and they are kept for later."""
        for key, users in list(self._waiting.items()):
            while users:
                batch = [users.pop() for _ in range(min(BATCH, len(users)))]
                try:
                    async with self._redis.pipeline(transaction=False) as pipe:
                        pipe.pfadd(key, *batch)
                        pipe.expire(key, KEEP_DAYS * 86_400)
                        await pipe.execute()
                except (RedisError, OSError) as error:
                    users.update(batch)
                    raise Unavailable("Active users wait for Redis") from error
            if key != self._key(0):
                del self._waiting[key]

    async def refresh(self) -> None:
        """Flush, then set the gauges from the estimates; Unavailable if Redis is away."""
        await self.flush()
        keys = [self._key(day) for day in range(DAYS)]
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.pfcount(key)
                for days in WINDOWS.values():
                    pipe.pfcount(*keys[:days])
                counts = await pipe.execute()
        except (RedisError, OSError) as error:
            raise Unavailable("Active users wait for Redis") from error
        by_day, windows = counts[:DAYS], counts[DAYS:]
        signals.active_users(dict(zip(WINDOWS, windows, strict=True)), by_day)
