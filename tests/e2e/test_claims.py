"""1,000 concurrent claims of 500 users on two event processes, with a stock of 100."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import pytest

from plainview.decode import parse_metrics
from shared.storage.mongo import Database, connect
from shared.tokens import Role
from tests.support.event_data import add_event, add_reward
from tests.support.event_process import EventProcess, Issuer
from tests.support.servers import EmbeddedMongo

USERS, STOCK = 500, 100
NOT_FINAL = {429, 502, 503, 504}


@dataclass
class Platform:
    doors: list[str]
    events: list[str]
    issuer: Issuer
    database: str


@pytest.fixture
def platform(mongo: EmbeddedMongo, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    database = f"event_{uuid4().hex[:12]}"
    with contextlib.ExitStack() as stack:
        issuer = stack.enter_context(Issuer())
        events = [
            stack.enter_context(
                EventProcess(
                    tmp_path / f"event{n}.log",
                    MONGO_URL=mongo.url,
                    MONGO_DATABASE=database,
                    REDIS_URL=redis_url,
                    AUTH_URL=issuer.url,
                    LOG_LEVEL="warning",
                )
            )
            for n in range(2)
        ]
        urls = [event.url for event in events]
        yield Platform(urls, urls, issuer, database)


@dataclass
class Answer:
    user: str
    key: str
    status: int
    body: dict[str, Any]
    attempts: int


async def claim(
    session: aiohttp.ClientSession, platform: Platform, reward: str, user: str, n: int
) -> Answer:
    """Ask until the answer is final, always with the same key."""
    key = f"key-{n}"
    headers = {**platform.issuer.headers(user, Role.USER), "Idempotency-Key": key}
    for attempt in range(200):
        door = platform.doors[(n + attempt) % len(platform.doors)]
        url = f"{door}/api/v1/rewards/{reward}/requests"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(url, headers=headers) as reply:
                body = await reply.json(content_type=None)
                if reply.status not in NOT_FINAL and body.get("code") != "in_flight":
                    return Answer(user, key, reply.status, body, attempt + 1)
        await asyncio.sleep(0.2)
    raise AssertionError(f"{user} never got a final answer")


async def flood(platform: Platform, reward: str) -> list[Answer]:
    # every second user is impatient and asks twice at once, with one key or with two
    wanted = [(f"u{n % USERS:03}", n if n % 4 else n % USERS) for n in range(2 * USERS)]
    connector = aiohttp.TCPConnector(limit=200)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return await asyncio.gather(
            *(claim(session, platform, reward, user, n) for user, n in wanted)
        )


async def test_exactly_the_stock_is_granted_and_the_replies_equal_the_database(
    mongo: EmbeddedMongo, platform: Platform
) -> None:
    client = connect(mongo.url, "pymongo", "test")
    try:
        database = client.database(platform.database)
        event = await add_event(database)
        reward = await add_reward(database, event, stock=STOCK)
        await database["participations"].insert_many(
            [
                {"_id": f"{event}:u{n:03}", "event_id": event, "user_id": f"u{n:03}"}
                for n in range(USERS)
            ]
        )
        answers = await flood(platform, reward)
        await check(database, reward, answers, platform)
    finally:
        await client.close()


async def check(database: Database, reward: str, answers: list[Answer], platform: Platform) -> None:
    outcomes = Counter((answer.status, answer.body.get("code")) for answer in answers)
    assert set(outcomes) <= {(201, None), (409, "sold_out"), (409, "already_requested")}, outcomes
    assert len(answers) == 2 * USERS

    stored = await database["requests"].find({"reward_id": reward}).to_list()
    assert len(stored) == STOCK
    by_user = {request["user_id"]: request for request in stored}
    assert len(by_user) == STOCK, "at most one per user"
    document = await database["rewards"].find_one({"_id": reward})
    assert document
    assert document["stock_left"] == 0

    for answer in answers:
        request = by_user.get(answer.user)
        if answer.status == 201:
            assert request
            assert answer.body["id"] == request["public_id"]
            assert answer.body["status"] == request["status"] == "approved"
            assert answer.body["decided_at"] == request["decided_at"]
        elif answer.body["code"] == "already_requested":
            assert request
            assert request["user_key"] != f"{answer.user}:{answer.key}"
    winners = {answer.user for answer in answers if answer.status == 201}
    assert winners == set(by_user), "whoever has one was told so"

    counted = Counter[str]()
    for url in platform.events:
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{url}/metrics")).text
        for sample in parse_metrics(text):
            if sample.name == "reward_requests_total":
                counted[sample.labels["status"]] += int(sample.value)
    assert counted["approved"] == STOCK
