"""The only place that connects to Redis; every call ends within its time-out."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from plainview import observe_redis

__all__ = [
    "NoScriptError",
    "Redis",
    "RedisConnectionError",
    "RedisError",
    "RedisTimeoutError",
    "connect",
    "patiently",
]

TIMEOUT_S = 0.3
SLICES = 5
T = TypeVar("T")


class _BoundedPipeline(Pipeline):
    timeout_s = TIMEOUT_S

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            async with asyncio.timeout(self.timeout_s):
                return list(await super().execute(raise_on_error))
        except TimeoutError as exc:
            raise RedisTimeoutError("no answer in time") from exc


class _BoundedRedis(Redis):
    """Bounds a whole call (waiting, connecting, asking); the driver bounds only each step."""

    timeout_s = TIMEOUT_S

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except TimeoutError as exc:
            raise RedisTimeoutError("no answer in time") from exc

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = _BoundedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.timeout_s = self.timeout_s
        return pipeline


async def patiently(call: Coroutine[Any, Any, T], budget_s: float) -> T:
    """The result of a call, or RedisTimeoutError after `budget_s`, which is waited for in slices.

    When the event loop was blocked, the answer may have come long ago, unread. However long that
    was, it uses up one slice only, so it is never mistaken for a Redis that hangs. The client has
    to be one whose own time-outs are longer.
    """
    asking = asyncio.ensure_future(call)
    asking.add_done_callback(_retrieve)
    try:
        for _ in range(SLICES):
            await asyncio.wait({asking}, timeout=budget_s / SLICES)
            if asking.done():
                return asking.result()
    except asyncio.CancelledError:
        asking.cancel()
        raise
    # The command is not cancelled: it ends by the client's own time-out, and is then counted as a
    # failure of Redis.
    raise RedisTimeoutError("no answer in time")


def _retrieve(done: asyncio.Future[Any]) -> None:
    if not done.cancelled():
        done.exception()


def connect(url: str, *, timeout_s: float = TIMEOUT_S, max_connections: int = 50) -> Redis:
    """A client that answers in text and raises a RedisError within `timeout_s` seconds.

    A reader that blocks (XREADGROUP) needs a client of its own, with more than its BLOCK time.
    """
    observe_redis()
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout_s / 2,  # for a free connection
        socket_connect_timeout=timeout_s / 3,
        socket_timeout=timeout_s * 2 / 3,
        # One retry instead of ten: enough for a connection that was closed while idle.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        decode_responses=True,
        # Bytes that are not UTF-8 become lone surrogates, which are written back as those bytes.
        encoding_errors="surrogateescape",
        protocol=2,  # RESP3 would need a greeting: one more round trip per connection
        driver_info=None,
    )
    client = _BoundedRedis(connection_pool=pool)
    client.timeout_s = timeout_s
    return client
