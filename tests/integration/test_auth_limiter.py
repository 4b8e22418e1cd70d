"""Failed sign-ins are limited over processes; without Redis by each process alone."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from auth import signals
from auth.limiter import SignInLimiter, TooManyFailures
from plainview.testing import metric_delta
from shared.storage.redis import connect
from tests.support.servers import EmbeddedValkey


@pytest.fixture
async def redis(own_valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = connect(own_valkey.url)
    yield client
    await client.aclose()


async def allowed(limiter: SignInLimiter, account: str, times: int) -> int:
    results = await asyncio.gather(
        *(limiter.begin(account, uuid4().hex) for _ in range(times)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(result, TooManyFailures) for result in refused), refused
    return times - len(refused)


async def recovered(limiter: SignInLimiter) -> None:
    """Once it asks Redis again, which it does every two seconds."""
    async with asyncio.timeout(20):
        while metric_delta(signals.DEGRADED).value:
            await asyncio.sleep(0.2)
            await limiter.begin(uuid4().hex, "b")


async def test_two_processes_share_one_limit(redis: Redis) -> None:
    one, two = (SignInLimiter(redis, "5/minute", "100/minute") for _ in range(2))
    assert await allowed(one, "ann", 4) + await allowed(two, "ann", 4) == 5
    assert await allowed(two, "bob", 4) == 4
    keys = await redis.keys("*")
    assert keys
    assert not any("ann" in key for key in keys)


async def test_retry_after_is_true(redis: Redis) -> None:
    limiter = SignInLimiter(redis, "1/2 seconds", "100/minute")
    await limiter.begin("ann", "a")
    with pytest.raises(TooManyFailures) as caught:
        await limiter.begin("ann", "a")
    assert 1 <= (caught.value.retry_after or 0) <= 3
    await asyncio.sleep(caught.value.retry_after or 0)
    await limiter.begin("ann", "a")


async def test_what_is_given_back_can_be_used_again(redis: Redis) -> None:
    limiter = SignInLimiter(redis, "2/minute", "2/minute")
    for _ in range(6):
        await limiter.give_back(await limiter.begin("ann", "a"))
    failed = await limiter.begin("ann", "a")
    await limiter.give_back(await limiter.begin("ann", "a"), afresh=True)
    await limiter.begin("ann", "b")
    await limiter.begin("ann", "b")
    with pytest.raises(TooManyFailures):
        await limiter.begin("ann", "c")
    assert failed.store is not None


async def test_a_hanging_redis_costs_little_once_and_limits_go_on(
    redis: Redis, own_valkey: EmbeddedValkey
) -> None:
    first: list[float] = []
    then: list[float] = []
    for account in ("ann", "bob", "cat"):
        limiter = SignInLimiter(redis, "3/minute", "100/minute")
        await limiter.begin(account, "a")
        own_valkey.pause()
        start = time.monotonic()
        attempt = await limiter.begin(account, "a")
        first.append(time.monotonic() - start)
        assert metric_delta(signals.DEGRADED).value == 1
        start = time.monotonic()
        await limiter.give_back(attempt)
        assert await allowed(limiter, account, 10) == 3  # counted in here
        then.append(time.monotonic() - start)
        own_valkey.resume()
        await recovered(limiter)
    # the best of three: a busy machine makes some late, a limiter that waits would be late always
    assert min(first) < 0.3
    assert min(then) < 0.1
