"""Marks who is active: one HyperLogLog a day in Redis, written in batches by a job.

auth counts them, and keeps them in MongoDB.
"""

import time
from collections import OrderedDict
from datetime import datetime
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from shared.errors import Unavailable
from shared.storage.redis import RedisError
from shared.windows import ACTIVE_DAYS, active_key

AGAIN_S = 300  # seconds before the same user is written again
REMEMBERED = 100_000  # users; beyond it the oldest is forgotten, and so written again sooner
BATCH = 1000


class ActiveUsers:
    """Marks users as active, for a while in memory, then in Redis."""

    def __init__(self, redis: Redis, zone: ZoneInfo) -> None:
        self._redis, self._zone = redis, zone
        self._seen: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._waiting: dict[str, set[str]] = {}

    def mark(self, user_id: str) -> None:
        """Note that the user made an authenticated request; waits for nothing."""
        now, key = time.monotonic(), self._key()
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

    def _key(self) -> str:
        return active_key(datetime.now(self._zone).date())

    async def flush(self) -> None:
        """Write the noted users; Unavailable if Redis is away, and they are kept for later."""
        for key, users in list(self._waiting.items()):
            while users:
                batch = [users.pop() for _ in range(min(BATCH, len(users)))]
                try:
                    async with self._redis.pipeline(transaction=False) as pipe:
                        pipe.pfadd(key, *batch)
                        pipe.expire(key, ACTIVE_DAYS * 86_400)
                        await pipe.execute()
                except (RedisError, OSError) as error:
                    users.update(batch)
                    raise Unavailable("Active users wait for Redis") from error
            if key != self._key():
                del self._waiting[key]
