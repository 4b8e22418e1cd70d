"""The back-dated history reads through auth and event as if it had happened; written once."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from seed import history as seed_history
from seed import seeder as seed
from shared.storage import redis as cache
from shared.tokens import Role
from shared.windows import active_key
from tests.support.trio import Trio
from tests.support.waiting import until

JOB_SUCCESS = "background_job_last_success_timestamp_seconds"
SEOUL = ZoneInfo("Asia/Seoul")
STATE = {"traffic_password": "a-long-password-of-all"}


@pytest.fixture(scope="module")
def trio(
    mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    folder = tmp_path_factory.mktemp("history")
    with Trio(folder, mongo_url, redis_url, SIGNALS_SECONDS="1") as trio:
        yield trio


@pytest.fixture
async def seeded(trio: Trio, mongo_url: str) -> AsyncIterator[SimpleNamespace]:
    """The settings of a seeder that has written the history, and the databases of both services."""
    auth, event = trio.auth, trio.events[0]
    settings = seed.SeedSettings(
        user_hash_key="k" * 16,
        redis_url=auth.environment["REDIS_URL"],
        auth_mongo_url=mongo_url,
        event_mongo_url=mongo_url,
        auth_database=auth.environment["MONGO_DATABASE"],
        event_database=event.environment["MONGO_DATABASE"],
        seed_users=120,
    )
    await seed.make_history(settings, STATE)
    async with auth.database(mongo_url) as of_auth, event.database(mongo_url) as of_event:
        yield SimpleNamespace(settings=settings, users=of_auth["users"], event=of_event)


def make(seed_number: int, until: datetime, users: int) -> seed_history.History:
    return seed_history.History(seed_number, until, users, password="of-all-users", zone=SEOUL)


async def counts(seeded: SimpleNamespace) -> list[int]:
    names = ("events", "rewards", "participations", "requests", "members")
    found = [await seeded.event[name].count({}) for name in names]
    return [*found, await seeded.users.count({})]


async def test_it_is_written_once_and_completed_after_a_crash(seeded: SimpleNamespace) -> None:
    first = await counts(seeded)
    assert all(first)
    await seed.make_history(seeded.settings, STATE)
    assert await counts(seeded) == first

    # as a crash in the middle leaves it
    await seeded.event["seed"].update_one({"_id": "history"}, {"$set": {"done": False}})
    await seeded.event["requests"].delete_many({"status": "pending"})
    changed = await seeded.users.find_one({"email": seed_history.email_of(0)})
    await seeded.users.update_one({"_id": changed["_id"]}, {"$set": {"display_name": "Changed"}})
    await seed.make_history(seeded.settings, STATE)
    assert await counts(seeded) == first
    kept = await seeded.users.find_one({"_id": changed["_id"]})
    assert kept["display_name"] == "Changed"


async def test_it_reads_as_if_it_had_happened(seeded: SimpleNamespace, trio: Trio) -> None:
    account = {"email": seed_history.email_of(3), "password": STATE["traffic_password"]}
    with trio.client() as http:
        signed_in = http.post("/auth/login", json=account).raise_for_status().json()
        headers = {"Authorization": f"Bearer {signed_in['access_token']}"}
        me = http.get("/auth/me", headers=headers).json()
    assert (me["email"], me["roles"]) == (account["email"], ["USER"])
    assert datetime.fromisoformat(me["created_at"]) < datetime.now(UTC)

    with trio.client("operator", Role.OPERATOR) as http:

        def items(path: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = http.get(f"{path}?limit=100").json()["items"]
            return found

        events = items("/events")
        assert {e["title"] for e in events} == {about[0] for about in seed_history.EVENTS}
        assert {e["status"] for e in events} == {"active", "closed"}
        for event in events:
            path = f"/events/{event['id']}"
            assert len(items(f"{path}/participations")) == event["participants"]
            assert items(f"{path}/rewards")
        requests = items("/reward-requests")
        assert {r["status"] for r in requests} >= {"approved", "pending"}

        (service,) = trio.events
        for _ in range(3):  # what is wrong twice is a violation; one turn may be under way
            ended = service.metric(JOB_SUCCESS, task="gauges")
            until(lambda: service.metric(JOB_SUCCESS, task="gauges") > ended)  # noqa: B023
        assert service.metric("claim_invariant_violations") == 0
        assert service.metric("reward_requests_awaiting_decision") > 0
        assert service.metric("events_active") == 2

        pending = next(r for r in requests if r["status"] == "pending")
        path = f"/reward-requests/{pending['id']}"
        assert http.patch(path, json={"status": "rejected"}).status_code == 200


async def test_active_users_of_each_day_are_counted_in_redis(seeded: SimpleNamespace) -> None:
    redis = cache.connect(seeded.settings.redis_url.get_secret_value())
    day = (datetime.now(SEOUL) - timedelta(days=2)).date()
    assert await redis.pfcount(active_key(day)) > 0
    assert 0 < await redis.ttl(active_key(day)) <= 62 * 86_400
    await redis.aclose()


def test_the_same_seed_gives_the_same_history() -> None:
    until = datetime(2026, 11, 20, tzinfo=UTC)
    one, two = (make(7, until, 30) for _ in range(2))
    assert one.documents["requests"] == two.documents["requests"]
    assert one.documents["members"] == two.documents["members"]
    assert make(8, until, 30).documents["requests"] != one.documents["requests"]
    assert len(one.active) > 20


def test_state_is_kept_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "seed.json"
    state = seed.load_state(path)
    seed.save_state(path, state)
    assert seed.load_state(path) == state
    assert path.stat().st_mode & 0o077 == 0
    assert set(state["accounts"]) == set(seed.ROLES)
