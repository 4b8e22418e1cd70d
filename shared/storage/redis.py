"""The one place that connects to Redis: short time-outs, no hidden retries."""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from plainview import instrument_redis

__all__ = ["Redis", "RedisError", "connect"]


def connect(url: str, *, max_connections: int = 50, timeout_s: float = 0.2) -> "Redis":
    """Make a client; a command costs at most `timeout_s` (plus 0.1 s for a connection).

    No retries: the library's ten would hide an outage for seconds.
    """
    instrument_redis()
    pool: Any = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=0.1,
        socket_timeout=timeout_s,
        socket_connect_timeout=0.1,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis(connection_pool=pool)
