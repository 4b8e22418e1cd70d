"""The gateway's limiter on a real Valkey: its decisions, its round trips, and what a burst does."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from unittest.mock import patch
from uuid import uuid4

import pytest
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from gateway.limits import MOVING_WINDOW, Call, Limits, LocalWindows, RoundTrips
from plainview.testing import captured_logs
from shared.errors import TooMany
from shared.storage import redis
from shared.tokens import Role
from tests.support.gateway_app import gateway, upstream
from tests.support.issuer import Issuer
from tests.support.servers import EmbeddedValkey

SCHEDULES = 1_000
TICK = 1 / 64  # s: exact as a float of seconds and as a whole number of microseconds


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis.connect(redis_url, timeout_s=5)
    yield made
    await made.aclose()


async def calls(client: redis.Redis, command: str) -> int:
    stats = await client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def allowed(limits: Limits, *asked: tuple[str, str]) -> bool:
    try:
        await limits.check(*asked)
    except TooMany:
        return False
    return True


async def test_decisions_equal_those_of_the_library_limits(client: redis.Redis) -> None:
    """Random schedules of one key each; what is refused is not counted, the window's end is in it.

    Ours runs with the schedule's clock, as the library's moving window does, whose decisions are
    the reference; the windows in this process are compared as well.
    """
    chance = random.Random(20261126)
    storage = RedisStorage(
        "redis://", implementation="redispy", connection_pool=client.connection_pool
    )
    reference = MovingWindowRateLimiter(storage)
    clock = 1_790_000_000.0
    refused = 0
    for number in range(SCHEDULES):
        limit, window = chance.choice((1, 2, 3, 5, 8)), chance.choice((1, 2, 3))
        item = RateLimitItemPerSecond(limit, window)
        # from bursts within one tick to pauses longer than a window, often exactly at its end
        steps = [0, 0, 1, 3, window * 64 // limit, window * 64, window * 64 + 1]
        at, times = clock + number * 100, []
        for _ in range(chance.randint(limit, 4 * limit + 6)):
            at += chance.choice(steps) * TICK
            times.append(at)
        key, local = f"schedule:{uuid4().hex}", LocalWindows()
        expected = []
        for moment in times:
            with patch("time.time", lambda moment=moment: moment):
                expected.append(await reference.hit(item, key))
        pipeline = client.pipeline(transaction=False)
        for moment in times:
            now = round(moment * 1_000_000)
            pipeline.eval(MOVING_WINDOW, 1, f"ours:{key}", limit, window * 1_000_000, now)
        waits = await pipeline.execute()
        assert [wait == 0 for wait in waits] == expected, (limit, window, times)
        call = (key, limit, window * 1_000_000)
        assert [local.hit(call, round(moment * 1_000_000)) for moment in times] == waits
        # the wait is true: one microsecond before it is over it is not, then it is
        if waits[-1]:
            refused += 1
            now = round(times[-1] * 1_000_000) + waits[-1]
            arguments = (1, f"ours:{key}", limit, window * 1_000_000)
            assert await client.eval(MOVING_WINDOW, *arguments, now - 1) == 1
            assert await client.eval(MOVING_WINDOW, *arguments, now) == 0
    assert refused > SCHEDULES / 10


async def test_keys_of_the_window_end_with_it(client: redis.Redis) -> None:
    key = uuid4().hex
    for _ in range(5):
        await client.eval(MOVING_WINDOW, 1, key, 3, 60_000_000)
    assert await client.llen(key) == 3
    assert 59_000 < await client.pttl(key) <= 60_000


async def test_limits_are_exact_over_replicas_with_skewed_clocks(client: redis.Redis) -> None:
    replicas = [Limits(client, {"user": "20/5 seconds"}) for _ in range(3)]
    user, real = uuid4().hex, time.time

    async def hit(number: int) -> bool:
        skew = (-90, 0, 90)[number % 3]
        with patch("time.time", lambda: real() + skew):
            return await allowed(replicas[number % 3], ("user", user))

    begin = time.monotonic()
    let_in = sum([await hit(number) for number in range(60)])
    assert time.monotonic() - begin < 5
    assert let_in == 20
    with pytest.raises(TooMany) as caught:
        await replicas[0].check(("user", user))
    wait = caught.value.retry_after
    assert wait is not None
    assert 1 <= wait <= 5
    await asyncio.sleep(wait)
    assert await allowed(replicas[2], ("user", user))


async def test_calls_that_come_meanwhile_share_the_next_round_trip(client: redis.Redis) -> None:
    limits, key = Limits(client, {"user": "30/minute", "address": "1000/minute"}), uuid4().hex
    trips = 0
    execute = client.pipeline().__class__.execute

    async def counted(*args: object, **more: object) -> object:
        nonlocal trips
        trips += 1
        return await execute(*args, **more)  # type: ignore[arg-type]

    before = await calls(client, "evalsha")
    with patch.object(client.pipeline().__class__, "execute", counted):
        results = await asyncio.gather(
            *(allowed(limits, ("address", key), ("user", key)) for _ in range(200))
        )
    assert sum(results) == 30
    assert await calls(client, "evalsha") - before == 400
    assert trips <= 3  # the first one's, all others', and the script's text if it was missing
    assert not limits.fallback.degraded


async def test_one_that_leaves_takes_nobody_with_it(client: redis.Redis) -> None:
    limits, key = Limits(client, {"user": "1000/minute"}), uuid4().hex
    asked = [asyncio.ensure_future(allowed(limits, ("user", key))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    assert await asyncio.gather(*asked[1::2]) == [True] * 10
    assert await allowed(limits, ("user", key))
    assert not limits.fallback.degraded


async def test_a_redis_that_was_restarted_gets_the_script_again() -> None:
    with EmbeddedValkey() as server:
        client = redis.connect(server.url)
        limits = Limits(client, {"user": "2/minute"})
        assert await allowed(limits, ("user", "a"))
        await client.script_flush()
        assert await allowed(limits, ("user", "a"))
        assert not await allowed(limits, ("user", "a"))
        assert not limits.fallback.degraded
        await client.aclose()


async def test_a_busy_process_does_not_take_redis_for_away(client: redis.Redis) -> None:
    """Its event loop stands still for longer than the budget, over and over."""
    limits, key = Limits(client, {"user": "5/minute"}), uuid4().hex

    async def busy() -> None:
        for _ in range(6):
            time.sleep(0.3)
            await asyncio.sleep(0)

    results, _ = await asyncio.gather(
        asyncio.gather(*(allowed(limits, ("user", key)) for _ in range(20))), busy()
    )
    assert sum(results) == 5
    assert not limits.fallback.degraded


async def test_a_burst_of_one_client_gets_what_the_limit_gives(redis_url: str) -> None:
    more = {"redis_url": redis_url, "rate_limit_sign_in": "30/minute"}
    more["trusted_proxies"] = "127.0.0.1"
    headers = {"X-Forwarded-For": f"2001:db8:{random.randrange(65536):x}::1"}
    async with upstream() as up, gateway(redis=True, auth_url=up.url, **more) as gw:
        with captured_logs() as lines:
            replies = await asyncio.gather(
                *(
                    gw.client.post("/api/v1/auth/login", json={}, headers=headers)
                    for _ in range(150)
                )
            )
        statuses = [reply.status_code for reply in replies]
        assert statuses.count(200) == 30
        assert statuses.count(429) == 120
        assert not [line for line in lines if line["event"] == "rate_limits.changed"]


async def test_a_known_token_is_counted_for_its_user_alone(redis_url: str) -> None:
    trips: list[list[str]] = []
    send = RoundTrips._send

    async def recorded(self: RoundTrips, asked: list[Call]) -> list[int]:
        trips.append([key.split("/")[1] for key, _, _ in asked])
        return await send(self, asked)

    with Issuer() as issuer:
        more = {"redis_url": redis_url, "auth_url": issuer.url}
        headers = issuer.headers(uuid4().hex, Role.USER)
        forged = {"Authorization": headers["Authorization"][:-9] + "A" * 9}
        async with upstream() as up, gateway(redis=True, event_url=up.url, **more) as gw:
            with patch.object(RoundTrips, "_send", recorded):
                statuses = [
                    (await gw.client.get("/api/v1/events", headers=given)).status_code
                    for given in (headers, headers, forged)
                ]
    assert statuses == [200, 200, 401]
    assert trips == [["address"], ["user"], ["user"], ["address"]]


async def test_a_key_that_holds_something_else_is_nobody_elses_fault(client: redis.Redis) -> None:
    """The others of its batch are counted in Redis, and it is counted in this process."""
    limits, good, bad = Limits(client, {"user": "3/minute"}), uuid4().hex, uuid4().hex
    await client.set(limits._limits["user"].call(bad)[0], "not a list")
    keys = [good, bad] * 6
    results = await asyncio.gather(*(allowed(limits, ("user", key)) for key in keys))
    assert (sum(results[::2]), sum(results[1::2])) == (3, 3)
    assert not limits.fallback.degraded
    assert await client.llen(limits._limits["user"].call(good)[0]) == 3


async def test_a_redis_that_refuses_everything_is_away() -> None:
    with EmbeddedValkey() as server:
        client = redis.connect(server.url)
        limits = Limits(client, {"user": "3/minute"})
        await client.config_set("maxmemory", "1")
        results = await asyncio.gather(*(allowed(limits, ("user", "a")) for _ in range(6)))
        assert sum(results) == 3
        assert limits.fallback.degraded
        await client.aclose()


async def test_local_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all keys together, as one key may hold as many times as its limit allows."""
    monkeypatch.setattr("gateway.limits.MAX_LOCAL", 100)
    local = LocalWindows()
    for number in range(1000):
        local.hit((f"k{number}", 5, 1_000_000), number)
    assert len(local._times) == local.kept == 100
    monkeypatch.setattr("gateway.limits.MAX_TIMES", 1000)
    local = LocalWindows()
    for number in range(200_000):
        local.hit((f"k{number % 50}", 600, 10**12), number)
    kept = [len(times) for times in local._times.values()]
    assert sum(kept) == local.kept <= 1000
    busy = [local.hit(("busy", 600, 10**12), number) for number in range(5000)]
    assert busy.count(0) == 600  # who goes on is still limited
