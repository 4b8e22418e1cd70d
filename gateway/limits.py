"""How often a user and an address may ask: counted in Redis, exact over replicas."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis

from gateway import signals
from plainview import get_logger
from shared.errors import TooMany
from shared.storage.redis import RedisError

BUDGET_S = 0.25  # what a request may lose to a Redis that hangs
RETRY_S = 2.0  # then nobody asks it for so long
_AWAY = (RedisError, OSError, TimeoutError)


class Limits:
    """Moving windows by name of limit. While Redis is away each process counts for itself."""

    def __init__(self, redis: Redis | None, limits: dict[str, str]) -> None:
        self._limits = {name: parse(text) for name, text in limits.items()}
        self._local = MovingWindowRateLimiter(MemoryStorage())
        options: dict[str, Any] = {"connection_pool": redis and redis.connection_pool}
        self._shared = redis and MovingWindowRateLimiter(
            RedisStorage("redis://", implementation="redispy", **options)
        )
        self._ask_at, self.degraded = 0.0, False

    async def check(self, name: str, key: str) -> None:
        """Count one request of `key`; TooMany with the seconds to wait if there is none left."""
        limit = self._limits[name]
        wait = await self._count(limit, name, key)
        signals.limit_decision(name, not wait)
        if wait:
            raise TooMany(f"The limit is {limit}", retry_after=wait, limit=name)

    async def _count(self, limit: RateLimitItem, name: str, key: str) -> int:
        if self._shared and time.monotonic() >= self._ask_at:
            if self.degraded:
                self._ask_at = time.monotonic() + RETRY_S  # one asks, the others do not wait
            try:
                async with asyncio.timeout(BUDGET_S):
                    wait = await _hit(self._shared, limit, name, key)
            except _AWAY:
                self._set_degraded(True)
            else:
                self._set_degraded(False)
                return wait
        return await _hit(self._local, limit, name, key)

    def _set_degraded(self, value: bool) -> None:
        if value:
            self._ask_at = time.monotonic() + RETRY_S
        if value != self.degraded:
            self.degraded = value
            signals.limits_degraded(value)
            get_logger("cache").warning("rate_limits.changed", degraded=value)


async def _hit(limiter: MovingWindowRateLimiter, limit: RateLimitItem, name: str, key: str) -> int:
    """0 if the request is within the limit, else the whole seconds until one is again."""
    if await limiter.hit(limit, name, key):
        return 0
    stats = await limiter.get_window_stats(limit, name, key)
    return min(limit.get_expiry(), max(1, math.ceil(stats.reset_time - time.time())))
