"""shared.storage.mongo against a real server that is killed and hung, on both drivers."""

import asyncio
import math
import time
from typing import Any

import pytest

from shared.storage.mongo import Collection, Database, DuplicateKey, Mongo, connect
from shared.storage.mongo_calls import POOL, DatabaseTimeout, DatabaseUnavailable
from tests.support.servers import EmbeddedMongo, free_port
from tests.support.timing import in_time
from tests.support.waiting import soon


@pytest.fixture
def things(database: Database) -> Collection:
    return database["things"]


async def test_calls_mean_the_same_on_both_drivers(things: Collection) -> None:
    await things.insert_one({"_id": "a", "n": 1})
    await things.insert_one({"_id": "b", "n": 2})
    await things.insert_one({"_id": "c", "n": 3})
    with pytest.raises(DuplicateKey):
        await things.insert_one({"_id": "a"})
    assert await things.find_one({"_id": "a"}) == {"_id": "a", "n": 1}
    assert await things.find_one({"_id": "z"}) is None
    changed = await things.find_one_and_update({"_id": "a", "n": {"$gte": 1}}, {"$inc": {"n": -1}})
    assert changed == {"_id": "a", "n": 0}
    assert (
        await things.find_one_and_update({"_id": "a", "n": {"$gte": 1}}, {"$inc": {"n": 1}}) is None
    )
    assert (
        await things.update_one({"_id": "d"}, {"$set": {"n": 4}}, upsert=True)
    ).upserted_id == "d"
    found = await things.find({"n": {"$gt": 1}}, sort=[("n", -1)], limit=2)
    assert [row["_id"] for row in found] == ["d", "c"]
    assert await things.count({"n": {"$gt": 1}}) == 3
    assert await things.count({"n": {"$gt": 9}}) == 0
    assert await things.count_documents({"n": {"$gt": 1}}) == 3
    assert (await things.delete_many({"n": {"$gt": 2}})).deleted_count == 2
    assert (await things.delete_one({"_id": "a"})).deleted_count == 1


async def test_absent_server_is_unavailable_within_two_seconds(driver: Any) -> None:
    client = connect(f"mongodb://127.0.0.1:{free_port()}", driver, "tests")

    async def ping() -> float:
        begin = time.monotonic()
        with pytest.raises((DatabaseUnavailable, DatabaseTimeout)) as caught:
            await client.ping()
        # on a busy machine the deadline of the call may be noticed before that of the search
        late = isinstance(caught.value, DatabaseTimeout)
        return math.inf if late else time.monotonic() - begin

    await in_time(ping, 2.1)
    await client.close()


async def test_while_it_is_away_one_call_looks_for_it_and_the_others_are_refused(
    driver: Any,
) -> None:
    """At once, and so none of them holds a place; it is found again when it is back."""
    server = EmbeddedMongo()
    client = connect(server.url, driver, "tests")
    with pytest.raises(DatabaseUnavailable):
        await client.ping()
    took: list[float] = []

    async def ask() -> None:
        begin = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await client.ping()
        took.append(time.monotonic() - begin)

    await asyncio.gather(*(ask() for _ in range(4 * POOL)))
    assert sum(seconds > 0.6 for seconds in took) == 1  # looking for it takes 0.75 s
    with server:

        async def found() -> bool:
            try:
                await client.ping()
            except DatabaseUnavailable:
                return False
            return True

        await soon(found)
        await asyncio.gather(*(client.ping() for _ in range(POOL)))
    await client.close()


async def test_hung_server_sheds_hundreds_of_calls_in_time_and_recovers(driver: Any) -> None:
    with EmbeddedMongo() as server:
        client = connect(server.url, driver, "tests")
        things = client.database("hung")["things"]
        await things.insert_one({"_id": 1})
        server.pause()
        began = time.monotonic()
        calls = [things.find_one({"_id": 1}) for _ in range(300)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 8  # in waves of 50 it would take 12
        assert {type(result) for result in results} <= {DatabaseTimeout, DatabaseUnavailable}
        shed = [result for result in results if "busy" in str(result)]
        assert len(shed) == 300 - POOL, "who gets no connection is not told of a lost reply"
        assert {type(result) for result in shed} == {DatabaseUnavailable}
        server.resume()
        await soon(lambda: answers(client))
        assert await things.find_one({"_id": 1}) == {"_id": 1}
        await client.close()


async def answers(client: Mongo) -> bool:
    try:
        await client.ping()
    except (DatabaseUnavailable, DatabaseTimeout):
        return False
    return True
