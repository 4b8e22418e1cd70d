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
WAIT_S = 2 * BUDGET_S  # and to one that is slow, with others waiting before it
RETRY_S = 2.0  # then nobody asks it for so long
# A burst that opened a connection for each request would be so slow at it that Redis seems away.
TURNS = 8
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
        self._turns = asyncio.Semaphore(TURNS)

    async def check(self, name: str, key: str) -> None:
        """Count one request of `key`; TooMany with the seconds to wait if there is none left."""
        limit = self._limits[name]
        wait = await self._count(limit, name, key)
        signals.limit_decision(name, not wait)
        if wait:
            raise TooMany(f"The limit is {limit}", retry_after=wait, limit=name)

    async def _count(self, limit: RateLimitItem, name: str, key: str) -> int:
        if self._shared and self._asks:
            try:
                async with asyncio.timeout(WAIT_S), self._turns:
                    if self._asks:  # else somebody before has waited in vain
                        return await self._ask(self._shared, limit, name, key)
            except _AWAY:
                self._set_degraded(True)
        return await _hit(self._local, limit, name, key)

    @property
    def _asks(self) -> bool:
        return time.monotonic() >= self._ask_at

    async def _ask(
        self, shared: MovingWindowRateLimiter, limit: RateLimitItem, name: str, key: str
    ) -> int:
        if self.degraded:
            self._ask_at = time.monotonic() + RETRY_S  # one asks, the others do not wait
        async with asyncio.timeout(BUDGET_S):
            wait = await _hit(shared, limit, name, key)
        self._ask_at = 0.0
        self._set_degraded(False)
        return wait

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
