"""The back-dated history reads through auth and event as if it had happened; written once."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from prometheus_client import REGISTRY

import auth.main
import auth.settings
import event.deps
import event.main
import event.settings
from event.claims import Claims
from event.gauges import Gauges
from event.service import Service
from event.store import Store
from ops.secrets import new_signing_key
from seed import history as seed_history
from seed import seeder as seed
from shared.storage import mongo as storage
from shared.storage import redis as cache
from shared.token_keys import StaticKeys
from shared.tokens import TokenIssuer, TokenVerifier
from shared.windows import active_key

SEOUL = ZoneInfo("Asia/Seoul")
NAME = "event-rewards"


@pytest.fixture
async def world(mongo_url: str, redis_url: str) -> AsyncIterator[SimpleNamespace]:
    """Both services on databases of their own, and a seeder for them."""
    name, key = uuid4().hex[:12], new_signing_key()
    common: dict[str, Any] = {
        "user_hash_key": "k" * 16,
        "mongo_url": mongo_url,
        "redis_url": redis_url,
    }
    settings = seed.SeedSettings(
        **{key: value for key, value in common.items() if key != "mongo_url"},
        auth_mongo_url=mongo_url,
        event_mongo_url=mongo_url,
        auth_database=f"auth_{name}",
        event_database=f"event_{name}",
        seed_users=120,
    )
    async with AsyncExitStack() as stack:
        client = storage.connect(mongo_url, "pymongo", "test")
        stack.push_async_callback(client.close)
        issuer = TokenIssuer(key, NAME, NAME)
        store = Store(client.database(settings.event_database))
        await store.indexes.make()
        verifier = TokenVerifier(StaticKeys(issuer.jwks()), NAME, NAME)
        deps = event.deps.Deps(Claims(store, SEOUL, 15), Service(store), verifier)
        apps = [
            auth.main.create_app(
                auth.settings.Settings(
                    **common, auth_signing_key=key, mongo_database=settings.auth_database
                )
            ),
            event.main.create_app(
                event.settings.Settings(**common, mongo_database=settings.event_database), deps
            ),
        ]
        clients = []
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app)
            clients.append(
                await stack.enter_async_context(
                    httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")
                )
            )
        yield SimpleNamespace(
            settings=settings,
            auth=clients[0],
            event=clients[1],
            issuer=issuer,
            store=store,
            database=client.database(settings.event_database),
            users=client.database(settings.auth_database)["users"],
        )


def make(seed_number: int, until: datetime, users: int) -> seed_history.History:
    return seed_history.History(seed_number, until, users, password="of-all-users", zone=SEOUL)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_it_reads_as_if_it_had_happened(world: SimpleNamespace) -> None:
    state = {"traffic_password": "a-long-password-of-all"}
    await seed.make_history(world.settings, state)

    account = {"email": seed_history.email_of(3), "password": state["traffic_password"]}
    signed_in = await world.auth.post("/auth/login", json=account)
    assert signed_in.status_code == 200, signed_in.text
    headers = bearer(signed_in.json()["access_token"])
    me = (await world.auth.get("/auth/me", headers=headers)).json()
    assert (me["email"], me["roles"]) == (account["email"], ["USER"])
    assert datetime.fromisoformat(me["created_at"]) < datetime.now(UTC)

    operator = bearer(world.issuer.access("operator", ["OPERATOR"])[0])
    events = (await world.event.get("/events?limit=50", headers=operator)).json()["items"]
    assert {e["title"] for e in events} == {about[0] for about in seed_history.EVENTS}
    assert {e["status"] for e in events} == {"active", "closed"}
    for item in events:
        path = f"/events/{item['id']}"
        people = (
            await world.event.get(f"{path}/participations?limit=100", headers=operator)
        ).json()
        assert len(people["items"]) == item["participants"]
        rewards = (await world.event.get(f"{path}/rewards", headers=operator)).json()["items"]
        assert rewards
    requests = (await world.event.get("/reward-requests?limit=100", headers=operator)).json()
    assert {r["status"] for r in requests["items"]} >= {"approved", "pending"}

    gauges = Gauges(world.store)
    for _ in range(2):  # what is wrong twice is a violation
        await gauges.turn()
    assert REGISTRY.get_sample_value("claim_invariant_violations") == 0
    assert REGISTRY.get_sample_value("reward_requests_awaiting_decision") > 0
    assert REGISTRY.get_sample_value("events_active") == 2

    pending = next(r for r in requests["items"] if r["status"] == "pending")
    decision = await world.event.patch(
        f"/reward-requests/{pending['id']}", headers=operator, json={"status": "rejected"}
    )
    assert decision.status_code == 200, decision.text


async def test_it_is_written_once_and_completed_after_a_crash(world: SimpleNamespace) -> None:
    state = {"traffic_password": "a-long-password-of-all"}
    await seed.make_history(world.settings, state)
    first = await counts(world)
    assert all(first)

    await seed.make_history(world.settings, state)
    assert await counts(world) == first

    # as a crash in the middle leaves it
    await world.database["seed"].update_one({"_id": "history"}, {"$set": {"done": False}})
    await world.database["requests"].delete_many({"status": "pending"})
    changed = await world.users.find_one({"email": seed_history.email_of(0)})
    await world.users.update_one({"_id": changed["_id"]}, {"$set": {"display_name": "Changed"}})
    await seed.make_history(world.settings, state)
    assert await counts(world) == first
    kept = await world.users.find_one({"_id": changed["_id"]})
    assert kept["display_name"] == "Changed"


async def counts(world: SimpleNamespace) -> list[int]:
    names = ("events", "rewards", "participations", "requests", "members")
    found = [await world.database[name].count({}) for name in names]
    return [*found, await world.users.count({})]


async def test_active_users_of_each_day_are_counted_in_redis(
    world: SimpleNamespace, redis_url: str
) -> None:
    until = datetime.now(UTC)
    history = make(random.randrange(1000), until, 60)
    await seed.make_history(world.settings, {"traffic_password": "a-long-password-of-all"})
    redis = cache.connect(redis_url)
    day = (until.astimezone(SEOUL) - timedelta(days=2)).date()
    assert await redis.pfcount(active_key(day)) > 0
    assert 0 < await redis.ttl(active_key(day)) <= 62 * 86_400
    await redis.aclose()
    assert len(history.active) > 20


def test_the_same_seed_gives_the_same_history() -> None:
    until = datetime(2026, 11, 20, tzinfo=UTC)
    one, two = (make(7, until, 30) for _ in range(2))
    assert one.documents["requests"] == two.documents["requests"]
    assert one.documents["members"] == two.documents["members"]
    other = make(8, until, 30)
    assert other.documents["requests"] != one.documents["requests"]


def test_state_is_kept_and_private(tmp_path: Any) -> None:
    path = tmp_path / "deep" / "seed.json"
    state = seed.load_state(path)
    seed.save_state(path, state)
    assert seed.load_state(path) == state
    assert path.stat().st_mode & 0o077 == 0
    assert set(state["accounts"]) == set(seed.ROLES)
