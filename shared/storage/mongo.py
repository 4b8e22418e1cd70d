"""The only place that connects to MongoDB, with Motor or PyMongo's own async client.

`Collection` has only calls that mean the same on both; each has a deadline.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pymongo import AsyncMongoClient, ReplaceOne, ReturnDocument, UpdateOne
from pymongo import errors as mongo_errors
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import DuplicateKeyError as DuplicateKey
from pymongo.results import (
    BulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)

from plainview import get_logger, observe_mongo
from shared.errors import Timeout, Unavailable

__all__ = [
    "Collection",
    "Database",
    "DatabaseRefused",
    "DatabaseTimeout",
    "DatabaseTooOld",
    "DatabaseUnavailable",
    "Document",
    "DuplicateKey",
    "Find",
    "Index",
    "IndexMissing",
    "Indexes",
    "Mongo",
    "aggregate",
    "connect",
]

POOL = 50
WAIT_S = 1.0  # longest wait for a free connection; part of DEADLINE_S
DEADLINE_S = 2.0  # for one call; less than the gateway's 5 s, so that clients hear the reason

Document = dict[str, Any]
Filter = Mapping[str, Any]
Pipeline = Sequence[Mapping[str, Any]]
Keys = str | Sequence[tuple[str, int]]
T = TypeVar("T")


class DatabaseTimeout(Timeout):
    """MongoDB did not answer in time: a write may or may not have happened."""

    code = "database_timeout"


class DatabaseUnavailable(Unavailable):
    """MongoDB is away, or no connection became free."""

    code = "database_unavailable"


class DatabaseRefused(DatabaseUnavailable):
    """MongoDB does not accept the user or password, or the user may not do this."""

    reason = "credentials"


class DatabaseTooOld(DatabaseUnavailable):
    """This version of MongoDB is too old for the driver."""

    reason = "version"


class IndexMissing(DatabaseUnavailable):
    """An index is not made yet or could not be made; the log has the reason."""

    code = "index_missing"
    reason = "index"


_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18  # error codes of MongoDB


class _Places:
    """Lets as many commands run at once as there are connections; others wait at most WAIT_S.

    Motor's commands first wait for a thread, which the driver's time-out for a free connection
    does not cover. Without this, an overload would make them all wait until DEADLINE_S.

    When the driver finds no server, one command at a time goes on looking for one, and all others
    are refused at once. Otherwise each would hold a place for as long as it looks.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(POOL)
        self._away = self._looking = False

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a driver's call and await it for at most DEADLINE_S; errors become our own."""
        looks = False
        try:
            async with asyncio.timeout(DEADLINE_S):
                self._refuse_while_away()
                await self._enter()
                try:
                    self._refuse_while_away()
                    looks = self._looking = self._away
                    result = await call()
                    self._away = False
                    return result
                finally:
                    self._free.release()
                    if looks:
                        self._looking = False
        except mongo_errors.WaitQueueTimeoutError as exc:
            raise DatabaseUnavailable("The database is busy") from exc
        except mongo_errors.ServerSelectionTimeoutError as exc:
            self._away = True
            raise DatabaseUnavailable("The database is away", retry_after=2) from exc
        except mongo_errors.ConfigurationError as exc:
            raise DatabaseTooOld("The database cannot be used") from exc
        except (TimeoutError, mongo_errors.PyMongoError) as exc:
            if isinstance(exc, TimeoutError) or exc.timeout:
                raise DatabaseTimeout("The database did not answer in time") from exc
            if isinstance(exc, mongo_errors.ConnectionFailure):
                raise DatabaseUnavailable("The database is away", retry_after=2) from exc
            self._away = False  # a server has answered
            code = exc.code if isinstance(exc, mongo_errors.OperationFailure) else None
            if code in (_UNAUTHORIZED, _AUTHENTICATION_FAILED):
                raise DatabaseRefused("The database refuses the credentials") from exc
            raise

    def _refuse_while_away(self) -> None:
        if self._away and self._looking:
            raise DatabaseUnavailable("The database is away", retry_after=2)

    async def _enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError as exc:
            raise DatabaseUnavailable("The database is busy") from exc


class Find:
    """A query; it is sent by `to_list`."""

    def __init__(self, cursor: AsyncCursor[Document], places: _Places) -> None:
        self._cursor, self._places = cursor, places

    def sort(self, keys: Keys, direction: int | None = None) -> "Find":
        """Order by one key, or by a list of (key, direction)."""
        self._cursor.sort(keys, direction)
        return self

    def limit(self, count: int) -> "Find":
        """At most so many documents; 0 is no limit."""
        self._cursor.limit(count)
        return self

    async def to_list(self, length: int | None = None) -> list[Document]:
        """The documents, at most `length`."""
        return await self._places.run(lambda: self._cursor.to_list(length))


class Collection:
    """A collection: arguments and results as in PyMongo.

    Every call raises DatabaseTimeout or DatabaseUnavailable within DEADLINE_S seconds; inserts
    and updates DuplicateKey.
    """

    def __init__(self, inner: AsyncCollection[Document], places: _Places) -> None:
        self.inner = inner  # PyMongo's collection, or Motor's, which has the same methods
        self.run = places.run
        self._places = places

    def find(self, filter: Filter | None = None, projection: Any = None) -> Find:
        """A query for many documents."""
        return Find(self.inner.find(filter, projection), self._places)

    async def find_one(self, filter: Filter, projection: Any = None) -> Document | None:
        """The first match, or None."""
        return await self.run(lambda: self.inner.find_one(filter, projection))

    async def insert_one(self, document: Document) -> InsertOneResult:
        """Insert one document."""
        return await self.run(lambda: self.inner.insert_one(document))

    async def insert_many(
        self, documents: Sequence[Document], ordered: bool = True
    ) -> InsertManyResult:
        """Insert documents."""
        return await self.run(lambda: self.inner.insert_many(documents, ordered))

    async def bulk_write(
        self, writes: Sequence[UpdateOne | ReplaceOne[Document]], ordered: bool = True
    ) -> BulkWriteResult:
        """Send several writes in as few messages as possible."""
        return await self.run(lambda: self.inner.bulk_write(writes, ordered))

    async def update_one(
        self, filter: Filter, update: Filter, upsert: bool = False
    ) -> UpdateResult:
        """Change the first match; with `upsert` insert it if there is none."""
        return await self.run(lambda: self.inner.update_one(filter, update, upsert))

    async def find_one_and_update(
        self, filter: Filter, update: Filter, projection: Any = None
    ) -> Document | None:
        """Change the first match and return it as it is afterwards."""
        after = ReturnDocument.AFTER
        return await self.run(
            lambda: self.inner.find_one_and_update(
                filter, update, projection, return_document=after
            )
        )

    async def delete_one(self, filter: Filter) -> DeleteResult:
        """Remove the first match."""
        return await self.run(lambda: self.inner.delete_one(filter))

    async def delete_many(self, filter: Filter) -> DeleteResult:
        """Remove all matches."""
        return await self.run(lambda: self.inner.delete_many(filter))

    async def count_documents(self, filter: Filter) -> int:
        """How many match."""
        return await self.run(lambda: self.inner.count_documents(filter))

    async def create_index(self, keys: Keys, **options: Any) -> str:
        """Make sure that an index exists."""
        return await self.run(lambda: self.inner.create_index(keys, **options))


async def aggregate(collection: Collection, pipeline: Pipeline, limit: int) -> list[Document]:
    """The first `limit` results; use only simple stages, which every MongoDB has."""

    async def run() -> list[Document]:
        cursor: Any = collection.inner.aggregate(pipeline)
        if asyncio.iscoroutine(cursor):  # a coroutine with PyMongo, the cursor itself with Motor
            cursor = await cursor
        return list(await cursor.to_list(limit))

    return await collection.run(run)


class Database:
    """`database["users"]` is a collection."""

    def __init__(self, inner: Any, places: _Places) -> None:
        self.inner, self._places = inner, places

    def __getitem__(self, name: str) -> Collection:
        return Collection(self.inner[name], self._places)


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
        self._client, self._places = client, _Places()

    def database(self, name: str) -> Database:
        """The database of this name, to hand to repositories."""
        return Database(self._client[name], self._places)

    async def ping(self) -> None:
        """One round trip."""
        await self._places.run(lambda: self._client.admin.command("ping"))

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
        # bounds of the single waits; _Places.run() bounds their sum
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
