"""Sign-ups by day of the business time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import time_machine

from auth import signals
from auth.records import User
from auth.repository import Users
from plainview.testing import metric_delta
from tests.support.fake_mongo import FakeDatabase

SEOUL = ZoneInfo("Asia/Seoul")


def value(metric: object, **labels: str) -> float:
    return metric_delta(metric, **labels).value


@time_machine.travel(datetime(2026, 3, 10, 16, 0, tzinfo=UTC), tick=False)  # 01:00 of the 11th
async def test_days_begin_at_midnight_of_the_business_time_zone():
    users = Users(FakeDatabase())
    for hours in (0.5, 1.5, 24 * 6, 24 * 8, 24 * 29, 24 * 31):  # one of today, one of yesterday ...
        created = datetime.now(UTC) - timedelta(hours=hours)
        await users.create(User(str(hours), str(hours), "", "", created_at=created), {"id": "1"})
    signals.population(await users.count(), await users.sign_ups(SEOUL))
    assert value(signals.REGISTERED) == 6
    by_day = [value(signals.NEW_BY_DAY, days_ago=str(day)) for day in range(30)]
    assert [day for day, count in enumerate(by_day) if count == 1] == [0, 1, 6, 8, 29]
    windows = {name: value(signals.NEW, window=name) for name in signals.WINDOWS}
    assert windows == {"day": 1, "week": 3, "month": 5}


async def test_a_day_with_23_hours_is_counted_whole_and_once():
    zone = ZoneInfo("Europe/Berlin")
    with time_machine.travel(datetime(2026, 3, 30, 10, 0, tzinfo=UTC), tick=False):
        users = Users(FakeDatabase())
        first = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # 00:30 of the 29th, a day of 23 hours
        for hour in range(23):
            user = User(str(hour), str(hour), "", "", created_at=first + timedelta(hours=hour))
            await users.create(user, {"id": "1"})
        signals.population(await users.count(), await users.sign_ups(zone))
        assert value(signals.NEW_BY_DAY, days_ago="1") == 23
        assert value(signals.NEW_BY_DAY, days_ago="0") == 0
