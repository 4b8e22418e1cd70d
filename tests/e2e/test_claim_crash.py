"""Event dies with SIGKILL while the reply of one write of a claim is withheld, each in turn."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.storage.mongo import connect
from shared.tokens import Role
from tests.support.event_data import add_event, add_reward
from tests.support.issuer import Issuer
from tests.support.mongo_proxy import MongoProxy
from tests.support.servers import EmbeddedMongo
from tests.support.trio import Service

STOCK = 3
# The fourth, which forgets the marker, is the reconciler's and comes after the reply
WRITES = [
    ("insert", "requests"),
    ("update", "rewards"),
    ("findAndModify", "requests"),
    ("update", "rewards"),
]


@pytest.fixture
def event(
    mongo: EmbeddedMongo, redis_url: str, tmp_path: Path
) -> Iterator[tuple[Service, MongoProxy, Issuer, str]]:
    database = f"event_{uuid4().hex[:12]}"
    with MongoProxy(mongo.port, frozenset(["requests", "rewards"])) as proxy, Issuer() as issuer:
        process = Service(
            "event",
            tmp_path / "event.log",
            MONGO_URL=proxy.url,
            MONGO_DATABASE=database,
            REDIS_URL=redis_url,
            AUTH_URL=issuer.url,
            CLAIM_STALE_SECONDS="1",  # by default all this takes 20 s longer
            RECONCILE_SECONDS="0.5",
        )
        try:
            process.start().wait_ready()
            yield process, proxy, issuer, database
        finally:
            process.kill()


def test_each_write_of_a_claim_survives_a_kill(
    event: tuple[Service, MongoProxy, Issuer, str], mongo: EmbeddedMongo
) -> None:
    process, proxy, issuer, database = event
    for number in range(1, len(WRITES) + 1):
        reward = asyncio.run(prepare(mongo.url, database))
        claim = Claim(process.url, reward, issuer.headers("u", Role.USER))
        proxy.hold(number)
        claim.start()
        assert proxy.held.wait(10), f"no write {number}: {proxy.writes}"
        process.kill()
        claim.join(10)
        assert proxy.writes == WRITES[:number]
        assert (claim.reply is not None) == (number == 4), "before, nothing was acknowledged"

        process.start().wait_ready()
        requests = asyncio.run(converged(mongo.url, database, reward, deadline_s=60))
        assert [request["status"] for request in requests] == ["approved"]

        first, again = claim.post(), claim.post()
        assert first.status_code == 201, first.text
        assert first.json() == again.json()
        assert first.json()["id"] == requests[0]["public_id"]
        if claim.reply is not None:
            assert claim.reply.json() == first.json()
        assert asyncio.run(converged(mongo.url, database, reward, deadline_s=60)) == requests


class Claim(threading.Thread):
    """One client's request with one key; `reply` stays None if the connection broke."""

    def __init__(self, url: str, reward: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/api/v1/rewards/{reward}/requests"
        self._headers = {**headers, "Idempotency-Key": f"key-{reward}"}
        self.reply: httpx.Response | None = None

    def post(self) -> httpx.Response:
        return httpx.post(self._url, headers=self._headers, timeout=10)

    def run(self) -> None:
        try:
            self.reply = self.post()
        except httpx.TransportError:
            self.reply = None


async def prepare(url: str, database: str) -> str:
    client = connect(url, "pymongo", "test")
    try:
        event = await add_event(client.database(database), users=["u"])
        return await add_reward(client.database(database), event, stock=STOCK)
    finally:
        await client.close()


async def converged(url: str, database: str, reward: str, *, deadline_s: float) -> list[Any]:
    """The requests for the reward, once nothing is left to be done; checks that all adds up."""
    client, deadline = connect(url, "pymongo", "test"), time.monotonic() + deadline_s
    try:
        while True:
            db = client.database(database)
            requests = await db["requests"].find({"reward_id": reward})
            document = await db["rewards"].find_one({"_id": reward})
            assert document
            if not document["ops"] and not any("op" in request for request in requests):
                granted = [r for r in requests if r["status"] == "approved"]
                assert len(granted) + document["stock_left"] == STOCK
                return requests
            assert time.monotonic() < deadline, (requests, document)
            await asyncio.sleep(0.1)
    finally:
        await client.close()
