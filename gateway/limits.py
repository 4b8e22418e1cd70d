"""Rate limits of users and addresses, counted in Redis, so they are exact over replicas."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Mapping

from limits import parse

from gateway import signals
from gateway.round_trips import Call, RoundTrips
from plainview import get_logger
from shared.errors import TooMany
from shared.storage.fallback import BUDGET_S, Fallback
from shared.storage.redis import Redis, RedisError

# What is counted in this process while Redis is away: keys, and the times of requests of all of
# them together. A time takes 40 bytes, so this is 20 MB at most, however long Redis is away.
MAX_LOCAL = 10_000
MAX_TIMES = 500_000

# A moving window, as in the library `limits`: a request is let in unless `limit` others were let
# in during the last `window`. The time is that of Redis, so replicas need not agree on it.
# The script has one key only, as several keys may be on different servers of a Redis Cluster.
# KEYS[1]: a list of the times of requests that were let in, newest first, in microseconds.
# ARGV: limit, window in microseconds, and for tests the time in microseconds.
# Returns 0 if the request is let in (and counted), else the microseconds until one is.
MOVING_WINDOW = """
local limit, window, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local oldest = tonumber(redis.call('LINDEX', KEYS[1], limit - 1))
if oldest and oldest >= now - window then
  return oldest + window - now + 1
end
if redis.call('LPUSH', KEYS[1], string.format('%.0f', now)) > limit then
  redis.call('LTRIM', KEYS[1], 0, limit - 1)
end
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return 0
"""


class Limits:
    """Moving windows by name of limit. While Redis is away, each process counts by itself.

    `redis` should be a client of its own whose time-outs are longer than BUDGET_S.
    """

    def __init__(self, redis: Redis | None, limits: Mapping[signals.Limit, str]) -> None:
        self._limits = {name: _Limit(name, text) for name, text in limits.items()}
        self._local = LocalWindows()
        self._trips = RoundTrips(redis, MOVING_WINDOW, BUDGET_S) if redis is not None else None
        self.fallback = Fallback(_changed)

    async def check(self, *asked: tuple[signals.Limit, str]) -> None:
        """Count one request under each (name of limit, key), in one round trip.

        Every limit counts the request, also when another one refuses it. TooMany, with the
        seconds to wait, for the first limit that is used up.
        """
        calls = [self._limits[name].call(key) for name, key in asked]
        waits = await self._count(calls)
        for (name, _), wait in zip(asked, waits, strict=True):
            signals.limit_decision(name, not wait)
        for (name, _), wait in zip(asked, waits, strict=True):
            if wait:
                seconds = math.ceil(wait / 1_000_000)
                raise TooMany(
                    f"The limit is {self._limits[name].text}", retry_after=seconds, limit=name
                )

    async def _count(self, calls: list[Call]) -> list[int]:
        if self._trips and self.fallback.asks_redis():
            try:
                waits = await self._trips.ask(calls)
            except (RedisError, OSError) as error:
                # Something else is stored under the key: Redis serves all other keys.
                if "WRONGTYPE" not in str(error):
                    self.fallback.report(failed=True)
            else:
                self.fallback.report(failed=False)
                return waits
        now = time.monotonic_ns() // 1000
        return [self._local.hit(call, now) for call in calls]


def _changed(degraded: bool) -> None:
    signals.limits_degraded(degraded)
    get_logger("cache").warning("rate_limits.changed", degraded=degraded)


class LocalWindows:
    """MOVING_WINDOW in this process, for at most `max_keys` keys and `max_times` times.

    Beyond that the longest unused keys are forgotten.
    """

    def __init__(self, max_keys: int = MAX_LOCAL, max_times: int = MAX_TIMES) -> None:
        self._times: OrderedDict[str, deque[int]] = OrderedDict()
        self._max_keys, self._max_times = max_keys, max_times
        self.kept = 0  # times of all keys

    def hit(self, call: Call, now: int) -> int:
        """0 if the request is let in (and counted), else the microseconds to wait.

        `now` is in microseconds, of any clock that does not go back.
        """
        key, limit, window = call
        times = self._times.pop(key, None)
        if times is None:
            times = deque()
        self._times[key] = times
        if len(times) == limit and times[0] >= now - window:
            return times[0] + window - now + 1
        times.append(now)
        self.kept += 1
        if len(times) > limit:
            times.popleft()
            self.kept -= 1
        while len(self._times) > self._max_keys or self.kept > self._max_times > len(times):
            self.kept -= len(self._times.popitem(last=False)[1])
        return 0


class _Limit:
    """A limit such as `300/minute`, with its text and its key's parts made once."""

    def __init__(self, name: str, text: str) -> None:
        item = parse(text)
        self.text = str(item)
        self._before, self._after = item.key_for(name, "*").rsplit("*", 1)
        self._amount, self._window = item.amount, item.get_expiry() * 1_000_000

    def call(self, key: str) -> Call:
        return f"{self._before}{key}{self._after}", self._amount, self._window
