"""Two event processes: 1,000 concurrent claims for a stock of 100, and the titles they tell."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import httpx
import pytest

from event.records import Participation
from plainview.decode import parse_metrics
from shared.storage.mongo import Database, connect
from shared.times import now
from shared.tokens import Role
from tests.support.event_data import add_event, add_reward
from tests.support.servers import EmbeddedMongo
from tests.support.trio import PATIENCE_S, Service, Trio
from tests.support.waiting import until

USERS, STOCK = 500, 100
NOT_FINAL = {429, 502, 503, 504}


@pytest.fixture(scope="module")
def trio(
    mongo: EmbeddedMongo, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    directory = tmp_path_factory.mktemp("claims")
    with Trio(directory, mongo.url, redis_url, events=2, LOG_LEVEL="warning") as trio:
        yield trio


@dataclass
class Answer:
    user: str
    key: str
    status: int
    body: dict[str, Any]
    attempts: int


async def claim(
    session: aiohttp.ClientSession, trio: Trio, reward: str, user: str, n: int
) -> Answer:
    """Ask until the answer is final, always with the same key."""
    key = f"key-{n}"
    headers = {**trio.headers(user, Role.USER), "Idempotency-Key": key}
    url = f"{trio.url}/api/v1/rewards/{reward}/requests"
    for attempt in range(200):
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(url, headers=headers) as reply:
                body = await reply.json(content_type=None)
                if reply.status not in NOT_FINAL and body.get("code") != "in_flight":
                    return Answer(user, key, reply.status, body, attempt + 1)
        await asyncio.sleep(0.2)
    raise AssertionError(f"{user} never got a final answer")


async def flood(trio: Trio, reward: str) -> list[Answer]:
    # every second user is impatient and asks twice at once, with one key or with two
    wanted = [(f"u{n % USERS:03}", n if n % 4 else n % USERS) for n in range(2 * USERS)]
    connector = aiohttp.TCPConnector(limit=200)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return await asyncio.gather(*(claim(session, trio, reward, user, n) for user, n in wanted))


async def test_exactly_the_stock_is_granted_and_the_replies_equal_the_database(
    mongo: EmbeddedMongo, trio: Trio
) -> None:
    client = connect(mongo.url, "pymongo", "test")
    try:
        database = client.database(trio.events[0].environment["MONGO_DATABASE"])
        event = await add_event(database)
        reward = await add_reward(database, event, stock=STOCK)
        joined = Participation(event_id=event, user_id="", joined_at=now())
        rows = [replace(joined, user_id=f"u{n:03}").document() for n in range(USERS)]
        await database["participations"].inner.insert_many(rows)
        answers = await flood(trio, reward)
        await check(database, reward, answers, trio)
    finally:
        await client.close()


async def check(database: Database, reward: str, answers: list[Answer], trio: Trio) -> None:
    outcomes = Counter((answer.status, answer.body.get("code")) for answer in answers)
    assert set(outcomes) <= {(201, None), (409, "sold_out"), (409, "already_requested")}, outcomes
    assert len(answers) == 2 * USERS

    stored = await database["requests"].find({"reward_id": reward})
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
    for event in trio.events:
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{event.url}/metrics")).text
        for sample in parse_metrics(text):
            if sample.name == "reward_requests_total":
                counted[sample.labels["status"]] += int(sample.value)
    assert counted["approved"] == STOCK, "both processes together"


def test_both_replicas_tell_one_title_of_an_event_also_while_it_changes(trio: Trio) -> None:
    event_id, reward_id = trio.offer(stock=1)

    def told(service: Service, name: str) -> list[str]:
        """Every scrape has one title at most for an ID."""
        page = httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S).text
        by_id = {"event_info": ("event_id", event_id), "reward_info": ("reward_id", reward_id)}
        label, id_ = by_id[name]
        samples = [s for s in parse_metrics(page) if s.name == name and s.labels[label] == id_]
        assert {s.value for s in samples} <= {1}
        assert len(samples) <= 1, samples
        return [s.labels["title"] for s in samples]

    def all_tell(name: str, title: str) -> None:
        for event in trio.events:
            until(lambda: told(event, name) == [title], 60, f"{event.log}: {name} has no {title}")  # noqa: B023

    with trio.client("boss", Role.OPERATOR) as http:
        http.patch(f"/events/{event_id}", json={"title": "Winter"}).raise_for_status()
        all_tell("event_info", "Winter")
        all_tell("reward_info", "R")
        http.patch(f"/events/{event_id}", json={"title": "Winter " * 20}).raise_for_status()
        all_tell("event_info", ("Winter " * 20)[:79].strip() + "…")
        http.patch(f"/events/{event_id}", json={"status": "closed"}).raise_for_status()
    for event in trio.events:
        until(lambda: not told(event, "event_info"), 60, "a closed event has a title")  # noqa: B023
        assert not told(event, "reward_info")
