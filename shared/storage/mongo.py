"""The one place that connects to MongoDB, through Motor or PyMongo's own async client.

`Collection` has only calls that mean the same on both, each with a deadline of its own.
"""

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo import errors as mongo_errors
from pymongo.errors import DuplicateKeyError as DuplicateKey
from pymongo.results import BulkWriteResult, DeleteResult, InsertOneResult, UpdateResult

from plainview import instrument_mongo
from shared.errors import Timeout, Unavailable

__all__ = [
    "Collection",
    "Database",
    "DatabaseTimeout",
    "DatabaseUnavailable",
    "Document",
    "DuplicateKey",
    "Find",
    "Mongo",
    "ReturnDocument",
    "aggregate",
    "connect",
    "is_timeout",
    "is_unavailable",
]

POOL = 50
DEADLINE_S = 2.0  # the gateway gives an upstream more than this, so a caller hears the reason

Document = dict[str, Any]
Filter = Mapping[str, Any]
Pipeline = Sequence[Mapping[str, Any]]
T = TypeVar("T")


class DatabaseTimeout(Timeout):
    """MongoDB did not answer in time: a write may or may not have happened."""

    code = "database_timeout"


class DatabaseUnavailable(Unavailable):
    """MongoDB is away, or no connection became free."""

    code = "database_unavailable"


def is_timeout(exc: BaseException) -> bool:
    """Whether the outcome is unknown because the database took too long."""
    return isinstance(exc, DatabaseTimeout)


def is_unavailable(exc: BaseException) -> bool:
    """Whether the database could not be reached."""
    return isinstance(exc, DatabaseUnavailable)


async def _bounded(call: Awaitable[T]) -> T:
    """Await a driver's call for at most DEADLINE_S, whatever it waits for (a thread, a socket)."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await call
    except mongo_errors.WaitQueueTimeoutError as exc:
        raise DatabaseUnavailable("The database is busy") from exc
    except mongo_errors.ServerSelectionTimeoutError as exc:
        raise DatabaseUnavailable("The database is away", retry_after=2) from exc
    except (TimeoutError, mongo_errors.PyMongoError) as exc:
        if isinstance(exc, TimeoutError) or exc.timeout:
            raise DatabaseTimeout("The database did not answer in time") from exc
        if isinstance(exc, mongo_errors.ConnectionFailure):
            raise DatabaseUnavailable("The database is away", retry_after=2) from exc
        raise


class Find:
    """A query being put together; nothing is sent before `to_list`."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def sort(self, key: str | Sequence[tuple[str, int]], direction: int | None = None) -> "Find":
        """Order by one key, or by a list of (key, direction)."""
        self._cursor.sort(key, direction)
        return self

    def limit(self, count: int) -> "Find":
        """At most so many documents; 0 is no limit."""
        self._cursor.limit(count)
        return self

    def skip(self, count: int) -> "Find":
        """Leave out the first documents."""
        self._cursor.skip(count)
        return self

    async def to_list(self, length: int | None = None) -> list[Document]:
        """The documents, at most `length`."""
        return list(await _bounded(self._cursor.to_list(length)))


class Collection:
    """A collection: arguments and results as in PyMongo.

    Every call raises DatabaseTimeout or DatabaseUnavailable within DEADLINE_S seconds; inserts
    and updates DuplicateKey.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def find(self, filter: Filter | None = None, projection: Any = None) -> Find:
        """A query for many documents."""
        return Find(self.inner.find(filter, projection))

    async def find_one(
        self, filter: Filter, projection: Any = None, **more: Any
    ) -> Document | None:
        """The first match (`sort=` decides which), or None."""
        found: Document | None = await _bounded(self.inner.find_one(filter, projection, **more))
        return found

    async def insert_one(self, document: Document) -> InsertOneResult:
        """Insert one document."""
        result: InsertOneResult = await _bounded(self.inner.insert_one(document))
        return result

    async def insert_many(self, documents: Sequence[Document], *, ordered: bool = True) -> None:
        """Insert documents."""
        await _bounded(self.inner.insert_many(documents, ordered=ordered))

    async def update_one(
        self,
        filter: Filter,
        update: Filter,
        *,
        upsert: bool = False,
    ) -> UpdateResult:
        """Change the first match."""
        result: UpdateResult = await _bounded(self.inner.update_one(filter, update, upsert=upsert))
        return result

    async def update_many(self, filter: Filter, update: Filter) -> UpdateResult:
        """Change all matches."""
        result: UpdateResult = await _bounded(self.inner.update_many(filter, update))
        return result

    async def replace_one(
        self,
        filter: Filter,
        replacement: Document,
        *,
        upsert: bool = False,
    ) -> UpdateResult:
        """Put another document in the place of the first match."""
        result: UpdateResult = await _bounded(
            self.inner.replace_one(filter, replacement, upsert=upsert)
        )
        return result

    async def find_one_and_update(
        self,
        filter: Filter,
        update: Filter,
        *,
        projection: Any = None,
        sort: Sequence[tuple[str, int]] | None = None,
        upsert: bool = False,
        return_document: bool = ReturnDocument.AFTER,
    ) -> Document | None:
        """Change the first match and return it, as it is afterwards unless asked otherwise."""
        found: Document | None = await _bounded(
            self.inner.find_one_and_update(
                filter,
                update,
                projection=projection,
                sort=sort,
                upsert=upsert,
                return_document=return_document,
            )
        )
        return found

    async def find_one_and_delete(self, filter: Filter, **more: Any) -> Document | None:
        """Remove the first match and return it."""
        found: Document | None = await _bounded(self.inner.find_one_and_delete(filter, **more))
        return found

    async def delete_one(self, filter: Filter) -> DeleteResult:
        """Remove the first match."""
        result: DeleteResult = await _bounded(self.inner.delete_one(filter))
        return result

    async def delete_many(self, filter: Filter) -> DeleteResult:
        """Remove all matches."""
        result: DeleteResult = await _bounded(self.inner.delete_many(filter))
        return result

    async def bulk_write(
        self, operations: Sequence[Any], *, ordered: bool = True
    ) -> BulkWriteResult:
        """Several writes in one message."""
        result: BulkWriteResult = await _bounded(self.inner.bulk_write(operations, ordered=ordered))
        return result

    async def count_documents(self, filter: Filter, *, limit: int | None = None) -> int:
        """How many match, counting no further than `limit`."""
        more = {} if limit is None else {"limit": limit}
        return int(await _bounded(self.inner.count_documents(filter, **more)))

    async def distinct(self, key: str, filter: Filter | None = None) -> list[Any]:
        """The values of a key."""
        return list(await _bounded(self.inner.distinct(key, filter)))

    async def create_index(self, keys: str | Sequence[tuple[str, int]], **options: Any) -> str:
        """Make sure that an index exists."""
        return str(await _bounded(self.inner.create_index(keys, **options)))


async def aggregate(collection: Collection, pipeline: Pipeline, limit: int) -> list[Document]:
    """The first `limit` results of an aggregation; simple stages only."""

    async def run() -> list[Document]:
        cursor = collection.inner.aggregate(list(pipeline))
        if asyncio.iscoroutine(cursor):  # PyMongo gives the cursor when awaited, Motor at once
            cursor = await cursor
        return list(await cursor.to_list(limit))

    return await _bounded(run())


class Database:
    """`database["users"]` is a collection."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getitem__(self, name: str) -> Collection:
        return Collection(self.inner[name])

    async def command(self, command: Filter) -> Document:
        """Run a command on the database."""
        result: Document = await _bounded(self.inner.command(command))
        return result


class Mongo:
    """A connected client; it belongs to the event loop that it was made in."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def database(self, name: str) -> Database:
        """A handle to give to repositories."""
        return Database(self._client[name])

    async def ping(self) -> None:
        """One round trip."""
        await _bounded(self._client.admin.command("ping"))

    async def close(self) -> None:
        """Close all connections."""
        closing = self._client.close()
        if closing is not None:
            await closing


def connect(url: str, driver: Literal["motor", "pymongo"], app_name: str) -> Mongo:
    """A client; it connects at its first use and waits for nothing longer than DEADLINE_S."""
    instrument_mongo()
    options: dict[str, Any] = {
        "appname": app_name,
        "maxPoolSize": POOL,
        # each wait has its own bound, and _bounded() one for their sum
        "waitQueueTimeoutMS": 1000,
        "serverSelectionTimeoutMS": 1000,
        "connectTimeoutMS": 1000,
        "socketTimeoutMS": 1500,
        "w": "majority",
        # a write whose reply was lost is repeated by us, under the claim's own rules
        "retryWrites": False,
        "tz_aware": True,
    }
    if driver == "pymongo":
        return Mongo(AsyncMongoClient(url, **options))
    # Motor works in threads: with fewer than connections, calls would wait where nobody counts
    os.environ.setdefault("MOTOR_MAX_WORKERS", str(POOL))
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - reads it when imported

    return Mongo(AsyncIOMotorClient(url, **options))
