"""Rate limits of users and addresses, counted in Redis, so they are exact over replicas."""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from limits import parse

from gateway import signals
from plainview import get_logger
from shared.errors import TooMany
from shared.storage.fallback import BUDGET_S, Fallback
from shared.storage.redis import NoScriptError, Redis, RedisError, patiently

# What is counted in this process while Redis is away: keys, and the times of requests of all of
# them together. A time takes 40 bytes, so this is 20 MB at most, however long Redis is away.
MAX_LOCAL = 10_000
MAX_TIMES = 500_000

Call = tuple[str, int, int]
"""The script's only key, and its two arguments."""

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
        self._trips = RoundTrips(redis) if redis is not None else None
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
    """MOVING_WINDOW in this process; beyond its bounds the longest unused keys are forgotten."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[int]] = OrderedDict()
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
        while len(self._times) > MAX_LOCAL or self.kept > MAX_TIMES > len(times):
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


@dataclass(slots=True)
class _Ask:
    calls: list[Call]
    answer: asyncio.Future[list[int]]
    context: Context = field(default_factory=copy_context)


class RoundTrips:
    """Calls MOVING_WINDOW in batches: calls that come during one round trip share the next.

    No timer delays a call, and the busier the process is, the more calls a round trip carries. A
    round trip that takes longer than BUDGET_S has failed.
    """

    _sha = hashlib.sha1(MOVING_WINDOW.encode(), usedforsecurity=False).hexdigest()

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[_Ask] = []
        self._trip: asyncio.Task[None] | None = None

    async def ask(self, calls: list[Call]) -> list[int]:
        """The script's replies, in the order of `calls`.

        RedisError if Redis refuses one of them, is away or too slow. It takes at most twice
        BUDGET_S: for the rest of the round trip that is under way, and for the one with these
        calls.
        """
        ask = _Ask(calls, asyncio.get_running_loop().create_future())
        self._waiting.append(ask)
        if self._trip is None:
            self._start()
        return await ask.answer

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        # The Redis span of the batch has to belong to one trace: that of the first request.
        work = self._serve(batch)
        self._trip = asyncio.create_task(work, context=batch[0].context)

    async def _serve(self, batch: list[_Ask]) -> None:
        try:
            calls = [call for ask in batch for call in ask.calls]
            replies = iter(await patiently(self._send(calls), BUDGET_S))
            for ask in batch:
                values = [next(replies) for _ in ask.calls]
                refused = next((one for one in values if isinstance(one, Exception)), None)
                if ask.answer.done():
                    continue
                if refused is not None:  # the others of the batch are answered all the same
                    ask.answer.set_exception(refused)
                else:
                    ask.answer.set_result([int(one) for one in values])  # type: ignore[call-overload]
        except BaseException as error:
            # Calls that wait for the next round trip fail too: they have used up their time.
            failed = error if isinstance(error, Exception) else RedisError("stopped")
            waiting, self._waiting = self._waiting, []
            for ask in (*batch, *waiting):
                if not ask.answer.done():
                    ask.answer.set_exception(failed)
            if not isinstance(error, Exception):
                raise
        finally:
            self._trip = None
            if self._waiting:
                self._start()

    async def _send(self, calls: list[Call]) -> list[object]:
        replies = await self._pipeline("EVALSHA", self._sha, calls)
        missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:  # Redis does not know the script, e.g. after a restart; EVAL loads it
            again = await self._pipeline("EVAL", MOVING_WINDOW, [calls[n] for n in missing])
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
        return replies

    async def _pipeline(self, command: str, script: str, calls: list[Call]) -> list[object]:
        pipeline = self._redis.pipeline(transaction=False)
        for key, first, second in calls:
            pipeline.execute_command(command, script, 1, key, first, second)
        return list(await pipeline.execute(raise_on_error=False))
