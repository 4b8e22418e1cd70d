"""The gateway on a real Valkey: who is limited, who is active, and what a hang costs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date, datetime
from itertools import count
from unittest.mock import patch
from zoneinfo import ZoneInfo

import httpx
import pytest

from gateway.active_users import AGAIN_S, ActiveUsers
from plainview.testing import metric_delta
from shared.errors import Unavailable
from shared.storage import redis
from shared.tokens import Role
from shared.windows import active_key
from tests.support.gateway_app import gateway, upstream
from tests.support.issuer import Issuer
from tests.support.servers import EmbeddedValkey
from tests.support.timing import in_time
from tests.support.waiting import soon

EVENTS = "/api/v1/events"
SEOUL = ZoneInfo("Asia/Seoul")
BEHIND = {"trusted_proxies": "127.0.0.1"}
_NUMBERS = count()


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[redis.Redis]:
    client = redis.connect(f"{redis_url.rpartition('/')[0]}/14", timeout_s=3)
    await client.flushdb()
    yield client
    await client.aclose()


def user() -> str:
    return f"u{next(_NUMBERS)}-{time.time_ns()}"


def today() -> str:
    return active_key(datetime.now(SEOUL).date())


def address() -> str:
    """Of a network that no other test uses."""
    return f"2001:db8:{next(_NUMBERS):x}:{time.time_ns() % 65536:x}::1"


async def test_sign_ins_have_a_limit_of_their_own_by_address(redis_url: str) -> None:
    limits = {"redis_url": redis_url, "rate_limit_sign_in": "3/minute", **BEHIND}
    async with upstream() as up, gateway(redis=True, auth_url=up.url, **limits) as gw:
        ours = address()

        async def ask(what: str, forwarded: str) -> httpx.Response:
            headers = {"X-Forwarded-For": forwarded}
            return await gw.client.post(f"/api/v1/auth/{what}", json={}, headers=headers)

        async def call(what: str, forwarded: str) -> int:
            return (await ask(what, forwarded)).status_code

        assert [await call(what, ours) for what in ("login", "register", "login")] == [200] * 3
        with metric_delta("rate_limit_decisions_total", limit="sign_in", outcome="limited") as no:
            refused = await ask("login", ours)
            assert await call("register", f"9.9.9.9, {ours}") == 429
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["limit"]) == (
            429,
            "rate_limited",
            "sign_in",
        )
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert no.value == 2
        assert len(up.seen) == 3
        assert await call("refresh", ours) == 200  # costs no hash
        assert await call("login", "192.0.2.77") == 200


async def test_an_address_is_limited_before_its_token_is_looked_at(
    redis_url: str, issuer: Issuer
) -> None:
    """Others behind the same NAT have used up its limit: valid tokens are served all the same."""
    limits = {"redis_url": redis_url, "rate_limit_address": "2/minute", **BEHIND}
    async with (
        upstream() as up,
        gateway(redis=True, event_url=up.url, auth_url=issuer.url, **limits) as gw,
    ):
        forwarded = {"X-Forwarded-For": address()}
        token, forged = issuer.headers(user(), Role.USER), {"Authorization": "Bearer x.y.z"}

        async def ask(given: dict[str, str]) -> int:
            return (await gw.client.get(EVENTS, headers={**forwarded, **given})).status_code

        assert [await ask({}) for _ in range(3)] == [401, 401, 429]
        assert [await ask(token) for _ in range(3)] == [200] * 3
        assert [await ask(forged) for _ in range(2)] == [429] * 2


async def test_a_redis_that_hangs_costs_300_ms_once_then_limits_are_local(
    issuer: Issuer, own_valkey: EmbeddedValkey
) -> None:
    async with (
        upstream() as up,
        gateway(
            redis=True,
            event_url=up.url,
            auth_url=issuer.url,
            redis_url=own_valkey.url,
            rate_limit_user="12/minute",
            upstream_connect_seconds=20,  # client and upstream live in this busy loop as well
        ) as gw,
    ):

        async def timed(headers: dict[str, str]) -> tuple[int, float]:
            began = time.monotonic()
            reply = await gw.client.get(EVENTS, headers=headers)
            return reply.status_code, time.monotonic() - began

        async def together() -> float:
            """The slowest of 40 users at once."""
            calls = [timed(issuer.headers(user(), Role.USER)) for _ in range(40)]
            statuses, took = zip(*await asyncio.gather(*calls), strict=True)
            assert set(statuses) == {200}
            return max(took)

        async def recovered() -> bool:
            """It asks Redis again every two seconds."""
            await timed(issuer.headers(user(), Role.USER))
            return "rate_limit_degraded 0.0" in (await gw.client.get("/metrics")).text

        async def in_an_outage() -> float:
            own_valkey.pause()
            try:
                return await together()
            finally:
                own_valkey.resume()
                await soon(recovered)

        usual = max(await together(), await together())
        await in_time(in_an_outage, usual * 2 + 0.5)  # 0.3 s of it ours, the rest a busy machine's
        own_valkey.pause()
        try:
            headers = issuer.headers(user(), Role.USER)
            results = [await timed(headers) for _ in range(14)]
            assert [status for status, _ in results] == [200] * 12 + [429] * 2
            assert sorted(took for _, took in results)[7] < 0.1
            assert "rate_limit_degraded 1.0" in (await gw.client.get("/metrics")).text

            async def warned() -> bool:
                ready = await gw.client.get("/health/ready")
                assert ready.status_code == 200
                return bool(ready.json()["status"] == "warn")

            await soon(warned)
        finally:
            own_valkey.resume()
        await soon(recovered)


async def test_users_are_active_by_authenticated_requests(
    issuer: Issuer, cache: redis.Redis, redis_url: str
) -> None:
    url = f"{redis_url.rpartition('/')[0]}/14"
    async with (
        upstream() as up,
        gateway(redis=True, event_url=up.url, auth_url=issuer.url, redis_url=url) as gw,
    ):
        for name in ("ann", "ben", "ann"):
            await gw.client.get(EVENTS, headers=issuer.headers(name, Role.USER))
        await gw.client.post(EVENTS, headers=issuer.headers("cat", Role.USER))  # 403, and there
        await gw.client.get(EVENTS)
        await gw.client.get(EVENTS, headers={"Authorization": "Bearer x.y.z"})

        async def counted() -> bool:
            with suppress(Unavailable):  # on a busy machine Redis may answer too late
                await gw.deps.active_users.flush()
            return bool(await cache.pfcount(today()) == 3)

        await soon(counted)
        assert await cache.keys("*active*ann*") == []
        assert 60 * 86_400 < await cache.ttl(today()) <= 62 * 86_400
        await gw.client.get(EVENTS, headers=issuer.headers("dan", Role.USER))
    assert await cache.pfcount(today()) == 4  # what waited was written at the stop


async def test_a_user_is_written_once_in_five_minutes(cache: redis.Redis) -> None:
    active, clock = ActiveUsers(cache, SEOUL), 1000.0

    async def calls() -> int:
        return int((await cache.info("commandstats")).get("cmdstat_pfadd", {"calls": 0})["calls"])

    async def written() -> int:
        before = await calls()
        with patch("gateway.active_users.time.monotonic", lambda: clock):
            active.mark("ann")
        await active.flush()
        return await calls() - before

    assert [await written() for _ in range(3)] == [1, 0, 0]
    clock += AGAIN_S - 1
    assert await written() == 0
    clock += 2
    assert await written() == 1


async def test_a_new_day_counts_at_once_and_begins_in_the_business_zone(
    cache: redis.Redis,
) -> None:
    active = ActiveUsers(cache, SEOUL)
    with patch("gateway.active_users.datetime") as clock:
        for utc in ("2026-03-01T14:59:30+00:00", "2026-03-01T15:00:10+00:00"):
            at = datetime.fromisoformat(utc)
            clock.now = lambda zone, at=at: at.astimezone(zone)
            active.mark("ann")
        await active.flush()
    days = [active_key(date(2026, 3, day)) for day in (1, 2)]
    assert sorted(await cache.keys("*active*")) == days


async def test_redis_away_loses_no_active_user(own_valkey: EmbeddedValkey) -> None:
    client = redis.connect(own_valkey.url)
    active = ActiveUsers(client, SEOUL)
    await client.flushdb()
    own_valkey.pause()
    try:
        for number in range(2500):
            active.mark(f"u{number}")
        for _ in range(2):
            with pytest.raises(Unavailable):
                await active.flush()
    finally:
        own_valkey.resume()
    await active.flush()
    estimate = await client.pfcount(today())
    assert abs(estimate - 2500) <= 2500 * 0.0081 * 4
    await active.flush()
    assert await client.pfcount(today()) == estimate
    await client.aclose()
