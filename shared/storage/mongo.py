"""The only place that connects to MongoDB, with Motor or PyMongo's own async client.

`Collection` has only calls that mean the same on both; each has a deadline.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo import errors as mongo_errors
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError
from pymongo.results import DeleteResult, InsertOneResult, UpdateResult

from plainview import get_logger, observe_mongo
from shared.storage.mongo_calls import (
    DEADLINE_S,
    POOL,
    WAIT_S,
    BoundedCalls,
    DatabaseRefused,
    DatabaseUnavailable,
)

DuplicateKey = DuplicateKeyError
Document = dict[str, Any]
Filter = Mapping[str, Any]
Keys = Sequence[tuple[str, int]]


class IndexMissing(DatabaseUnavailable):
    """An index is not made yet or could not be made; the log has the reason."""

    code = "index_missing"
    reason = "index"


class Collection:
    """A collection: arguments and results as in PyMongo.

    Every call raises DatabaseTimeout or DatabaseUnavailable within DEADLINE_S seconds; inserts
    and updates DuplicateKey.
    """

    def __init__(self, inner: AsyncCollection[Document], calls: BoundedCalls) -> None:
        self.inner = inner  # PyMongo's collection, or Motor's, which has the same methods
        self._run = calls.run

    async def find(
        self, filter: Filter, projection: Any = None, *, sort: Keys | None = None, limit: int = 0
    ) -> list[Document]:
        """All matches; with `limit` only so many, the first in the order of `sort`."""
        most = limit or None
        return await self._run(
            lambda: self.inner.find(filter, projection, sort=sort, limit=limit).to_list(most)
        )

    async def find_one(self, filter: Filter, projection: Any = None) -> Document | None:
        return await self._run(lambda: self.inner.find_one(filter, projection))

    async def insert_one(self, document: Document) -> InsertOneResult:
        return await self._run(lambda: self.inner.insert_one(document))

    async def update_one(
        self, filter: Filter, update: Filter, upsert: bool = False
    ) -> UpdateResult:
        """Change the first match; with `upsert` insert it if there is none."""
        return await self._run(lambda: self.inner.update_one(filter, update, upsert))

    async def find_one_and_update(
        self, filter: Filter, update: Filter, projection: Any = None
    ) -> Document | None:
        """Change the first match and return it as it is afterwards."""
        after = ReturnDocument.AFTER
        return await self._run(
            lambda: self.inner.find_one_and_update(
                filter, update, projection, return_document=after
            )
        )

    async def delete_one(self, filter: Filter) -> DeleteResult:
        return await self._run(lambda: self.inner.delete_one(filter))

    async def delete_many(self, filter: Filter) -> DeleteResult:
        return await self._run(lambda: self.inner.delete_many(filter))

    async def create_index(self, keys: Keys, **options: Any) -> str:
        return await self._run(lambda: self.inner.create_index(keys, **options))

    async def aggregate(self, pipeline: Sequence[Filter], limit: int) -> list[Document]:
        """The first `limit` results; use only simple stages, which every MongoDB has."""

        async def run() -> list[Document]:
            cursor: Any = self.inner.aggregate(pipeline)
            if asyncio.iscoroutine(cursor):  # with PyMongo; Motor returns the cursor itself
                cursor = await cursor
            return list(await cursor.to_list(limit))

        return await self._run(run)

    async def count_documents(self, filter: Filter) -> int:
        """How many match; for conditions on dates, which the demo's server misses in `count`."""
        return await self._run(lambda: self.inner.count_documents(filter))

    async def count(self, filter: Filter) -> int:
        """How many match, counted by the server."""
        found = await self.aggregate([{"$match": dict(filter)}, {"$count": "n"}], 1)
        return int(found[0]["n"]) if found else 0


class Database:
    """`database["users"]` is a collection."""

    def __init__(self, inner: Any, calls: BoundedCalls) -> None:
        self._inner, self._calls = inner, calls

    def __getitem__(self, name: str) -> Collection:
        return Collection(self._inner[name], self._calls)


Index = tuple[Collection, Keys, Mapping[str, Any]]
"""A collection, the keys of an index on it, and the index's options."""


class Indexes:
    """The indexes that a service relies on."""

    def __init__(self, *wanted: Index) -> None:
        self._wanted = wanted
        self._turn = asyncio.Lock()
        self._told = ""
        self.made = False

    async def make(self) -> None:
        """Make the indexes, once per process; IndexMissing if MongoDB refuses one."""
        async with self._turn:
            if self.made:
                return
            for collection, keys, options in self._wanted:
                try:
                    await collection.create_index(keys, **options)
                except (mongo_errors.OperationFailure, DatabaseRefused) as exc:
                    if str(exc) != self._told:  # one line per reason, not per attempt
                        self._told = str(exc)
                        get_logger("db").error("index.failed", keys=str(keys), exc_info=exc)
                    raise IndexMissing(f"The index on {keys} cannot be made") from exc
            self.made = True

    def check(self) -> None:
        """Raise IndexMissing if they are not made yet; for readiness."""
        if not self.made:
            raise IndexMissing("The indexes are not made yet")


class Mongo:
    """A connected client; it belongs to the event loop that it was made in."""

    def __init__(self, client: Any) -> None:
        self._client, self._calls = client, BoundedCalls()

    def database(self, name: str) -> Database:
        """The database of this name, to hand to repositories."""
        return Database(self._client[name], self._calls)

    async def ping(self) -> None:
        await self._calls.run(lambda: self._client.admin.command("ping"))

    async def close(self) -> None:
        """Close all connections; those that take longer than DEADLINE_S are left behind."""
        closing = self._client.close
        if not asyncio.iscoroutinefunction(closing):  # Motor's close() blocks: a thread
            loop = asyncio.get_running_loop()
            task: asyncio.Future[Any] = loop.run_in_executor(None, closing)
        else:
            task = asyncio.ensure_future(closing())
        await asyncio.wait({task}, timeout=DEADLINE_S)
        task.cancel()


def connect(url: str, driver: Literal["motor", "pymongo"], app_name: str) -> Mongo:
    """A client that connects at its first use; every call ends within DEADLINE_S seconds."""
    observe_mongo()
    options: dict[str, Any] = {
        "appname": app_name,
        "maxPoolSize": POOL,
        # bounds of the single waits; BoundedCalls.run() bounds their sum
        "waitQueueTimeoutMS": int(1000 * WAIT_S),
        "serverSelectionTimeoutMS": 750,  # counts twice for a read, which the driver retries once
        "connectTimeoutMS": 1000,
        "socketTimeoutMS": 1500,
        "w": "majority",
        # Claims repeat a write whose reply was lost by their own rules, which count it once.
        "retryWrites": False,
        "tz_aware": True,
    }
    if driver == "pymongo":
        return Mongo(AsyncMongoClient(url, **options))
    # Motor runs calls in threads. With fewer threads than connections, calls would wait for a
    # thread, where no time-out of the driver applies.
    os.environ.setdefault("MOTOR_MAX_WORKERS", str(POOL))
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - reads the variable at import

    return Mongo(AsyncIOMotorClient(url, **options))
