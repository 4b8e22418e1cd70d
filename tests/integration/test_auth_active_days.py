"""Active users by day in MongoDB: right over replicas and restarts, and when Redis loses all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine
from redis.asyncio import Redis

from auth import active_days, signals
from auth.active_days import ActiveDays
from gateway.active_users import ActiveUsers
from plainview.testing import metric_delta
from shared.errors import Unavailable
from shared.storage.mongo import Database
from shared.storage.redis import RedisError, connect
from shared.windows import active_key
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import soon

SEOUL = ZoneInfo("Asia/Seoul")
NOW = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)  # 01:00 of the 11th


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    # more time than a service gives it: the machine may be busy
    client = connect(f"{redis_url.rpartition('/')[0]}/13", timeout_s=10)
    await client.flushdb()
    yield client
    await client.aclose()


def key(days_ago: int = 0, now: datetime = NOW) -> str:
    return active_key((now.astimezone(SEOUL) - timedelta(days=days_ago)).date())


def shown(now: datetime = NOW) -> dict[str, float]:
    windows = {name: metric_delta(signals.ACTIVE, window=name).value for name in signals.WINDOWS}
    by_day = [metric_delta(signals.ACTIVE_BY_DAY, days_ago=str(day)).value for day in range(30)]
    return windows | {f"{ago} ago": number for ago, number in enumerate(by_day) if number}


async def turn(database: Database, redis: Redis, at: datetime = NOW) -> None:
    with time_machine.travel(at, tick=False):
        await ActiveDays(database, redis, SEOUL).turn()


async def test_what_redis_has_is_counted_and_kept(database: Database, redis: Redis) -> None:
    await redis.pfadd(key(), "ann", "ben", "cat")
    await redis.pfadd(key(3), "old-1", "old-2")
    await redis.pfadd(key(20), "old-2", "old-3")
    await redis.pfadd(key(30), "too-old")
    await turn(database, redis)
    expected = {"day": 3, "week": 5, "month": 6, "0 ago": 3, "3 ago": 2, "20 ago": 2}
    assert shown() == expected
    row = await database["active_days"].find_one({"_id": "2026-03-08"})
    assert row == {"_id": "2026-03-08", "active": 2, "week": 2, "month": 4}
    before = await database["active_days"].count({})
    await turn(database, redis)
    assert shown() == expected
    assert await database["active_days"].count({}) == before
    assert "ann" not in str(await database["active_sketches"].find({}))


async def test_a_new_day_begins_in_the_business_zone_and_moves_the_windows(
    database: Database, redis: Redis
) -> None:
    await redis.pfadd(key(), "ann", "ben")
    await turn(database, redis)
    await turn(database, redis, NOW + timedelta(hours=22, minutes=59))  # 23:59 in Seoul
    assert shown()["day"] == 2
    await turn(database, redis, NOW + timedelta(hours=23))
    assert shown() == {"day": 0, "week": 2, "month": 2, "1 ago": 2}
    await turn(database, redis, NOW + timedelta(days=7))
    assert shown() == {"day": 0, "week": 0, "month": 2, "7 ago": 2}


async def test_a_redis_that_lost_everything_is_taught_again(
    database: Database, redis: Redis
) -> None:
    users = [f"u{number}" for number in range(3000)]
    await redis.pfadd(key(), *users[:2000])
    await redis.pfadd(key(5), *users[500:2500])
    await turn(database, redis)
    await redis.flushdb()
    await redis.pfadd(key(), *users[1900:])  # more than half of what was lost comes before a turn
    await turn(database, redis)
    numbers = shown()
    for window, exact in {"day": 3000, "week": 3000, "month": 3000, "5 ago": 2000}.items():
        assert numbers[window] == pytest.approx(exact, rel=4 * 0.0081), window
    assert await redis.pfcount(key()) == numbers["day"]
    assert 0 < await redis.ttl(key(5)) <= 57 * 86_400
    assert len(await redis.keys("*")) == 2, "nothing is left over"


async def test_without_redis_the_gauges_show_what_is_kept(database: Database, redis: Redis) -> None:
    await redis.pfadd(key(), "ann")
    await redis.pfadd(key(8), "ben")
    await turn(database, redis)
    signals.active_users({"week": 0, "month": 0}, [0] * 30, [0] * 13)
    away = connect("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await turn(database, away, NOW + timedelta(days=1))
    await away.aclose()
    assert shown() == {"day": 0, "week": 1, "month": 2, "1 ago": 1, "9 ago": 1}


async def test_replicas_at_once_lose_nobody(database: Database, redis: Redis) -> None:
    async def replica(number: int) -> None:
        for part in range(5):
            await redis.pfadd(key(), *(f"{number}-{part}-{user}" for user in range(20)))
            await turn_now(number)

    replicas = [ActiveDays(database, redis, SEOUL) for _ in range(3)]

    async def turn_now(number: int) -> None:
        await replicas[number].turn()

    with time_machine.travel(NOW, tick=True):
        await asyncio.gather(*(replica(number) for number in range(3)))
        await turn_now(0)
        before = shown()["day"]
        assert before == pytest.approx(300, rel=4 * 0.0081)
        await redis.flushdb()
        await turn_now(1)
    assert shown()["day"] == before


async def test_months_are_shown_for_a_year_and_the_oldest_days_go(
    database: Database, redis: Redis
) -> None:
    today = NOW.astimezone(SEOUL).date()
    for ago in (30, 360, 799, 800, 801):
        day = str(today - timedelta(days=ago))
        await database["active_days"].insert_one({"_id": day, "active": 1, "month": ago})
    for ago in (62, 63):
        await database["active_sketches"].insert_one({"_id": str(today - timedelta(days=ago))})
    await turn(database, redis)
    found = await database["active_days"].find({"month": {"$gt": 0}})
    assert sorted(row["month"] for row in found) == [30, 360, 799, 800], (
        "numbers without a sketch stay"
    )
    kept = await database["active_sketches"].find({})
    assert [row["_id"] for row in kept] == [str(today - timedelta(days=62))]
    months = [
        metric_delta(signals.ACTIVE_BY_MONTH, months_ago=str(month)).value for month in range(13)
    ]
    assert months == [0, 30, *[0] * 10, 360]
    assert active_days.KEPT_DAYS > 2 * 365


async def test_days_of_a_version_before_are_taken_over(database: Database, redis: Redis) -> None:
    service = ActiveDays(database, redis, SEOUL)
    await redis.pfadd("active:2026-03-11", "ann", "ben")
    await redis.pfadd(key(), "ben", "cat")
    await redis.pfadd("active:2026-03-06", "dan", "eve", "한국")
    with time_machine.travel(NOW, tick=False):
        await service.turn()
        assert shown() == {"day": 3, "week": 6, "month": 6, "0 ago": 3, "5 ago": 3}
        await redis.pfadd("active:2026-03-11", "fay")  # a gateway that was not changed yet
        await service.turn()
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        await service.turn()
    assert shown()["1 ago"] == 4
    assert 0 < await redis.ttl(key(5)) <= 57 * 86_400


class ClusterOfOne(EmbeddedValkey):
    """All slots on one node: it refuses keys of several slots, as a larger cluster does."""

    def command(self) -> list[str]:
        return [*super().command(), "--cluster-enabled", "yes"]


async def test_a_cluster_counts_over_the_days_of_a_window(
    database: Database, tmp_path: Path
) -> None:
    with ClusterOfOne(directory=tmp_path) as server:
        redis = connect(server.url, timeout_s=10)
        await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

        async def whole() -> bool:
            return "cluster_state:ok" in str(await redis.execute_command("CLUSTER", "INFO"))

        await soon(whole, what="every slot is served")
        with pytest.raises(RedisError, match="same slot"):
            await redis.pfcount("a", "b")
        with time_machine.travel(NOW, tick=False):
            gateway = ActiveUsers(redis, SEOUL)
            gateway.mark("ann")
            await gateway.flush()
        await redis.pfadd(key(3), "ben", "cat")
        await redis.pfadd("active:2026-02-19", "cat", "dan")  # 20 days ago, by a version before
        await turn(database, redis)
        await redis.flushdb()  # what MongoDB keeps comes back into it
        await turn(database, redis)
        assert await redis.pfcount(key(3)) == 2
        await redis.aclose()
    assert shown() == {"day": 1, "week": 3, "month": 4, "0 ago": 1, "3 ago": 2, "20 ago": 2}
