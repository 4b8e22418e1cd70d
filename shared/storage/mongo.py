"""The one place that connects to MongoDB: Motor, or PyMongo's own async client.

Repositories use only calls that have the same form on both; `aggregate` hides the one that
has not. Every operation is over within 2 s (server selection 1 s, then the socket).
"""

import inspect
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Literal, Protocol

from bson import CodecOptions
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from plainview import instrument_mongo

Driver = Literal["motor", "pymongo"]
Document = dict[str, Any]
__all__ = [
    "Collection",
    "Database",
    "Document",
    "DuplicateKeyError",
    "Mongo",
    "PyMongoError",
    "aggregate",
    "connect",
    "is_timeout",
    "is_unavailable",
]

OPTIONS: Mapping[str, Any] = {
    "serverSelectionTimeoutMS": 1000,
    "connectTimeoutMS": 1000,
    "socketTimeoutMS": 2000,
    "waitQueueTimeoutMS": 1000,
    "maxPoolSize": 50,
    "w": "majority",
    # A write whose reply was lost is repeated by us, under the claim's own rules, not by the
    # driver: retryable writes need a replica set, and we run on any MongoDB.
    "retryWrites": False,
    "retryReads": True,
}


class Cursor(Protocol):
    """What `find` gives."""

    def sort(self, key: Any, direction: int | None = None) -> "Cursor": ...
    def limit(self, limit: int) -> "Cursor": ...
    async def to_list(self, length: int | None = None) -> list[Document]: ...


class Collection(Protocol):
    """The calls of a collection that have the same form on both drivers."""

    def find(self, filter: Any = None, projection: Any = None, **options: Any) -> Cursor: ...
    async def find_one(
        self, filter: Any = None, projection: Any = None, **options: Any
    ) -> Document | None: ...
    async def find_one_and_update(
        self, filter: Any, update: Any, **options: Any
    ) -> Document | None: ...
    async def insert_one(self, document: Document) -> Any: ...
    async def insert_many(self, documents: Sequence[Document], ordered: bool = True) -> Any: ...
    async def update_one(self, filter: Any, update: Any, upsert: bool = False) -> Any: ...
    async def update_many(self, filter: Any, update: Any, upsert: bool = False) -> Any: ...
    async def delete_one(self, filter: Any) -> Any: ...
    async def delete_many(self, filter: Any) -> Any: ...
    async def count_documents(self, filter: Any, **options: Any) -> int: ...
    async def create_index(self, keys: Any, **options: Any) -> Any: ...


class Database(Protocol):
    """A database: collections by name."""

    def __getitem__(self, name: str) -> Collection: ...
    async def command(self, command: Any) -> Any: ...


class Mongo:
    """A connected client: databases, a ping for health, an end."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def database(self, name: str) -> Database:
        """The database, its times as aware UTC."""
        options: CodecOptions[Any] = CodecOptions(tz_aware=True, tzinfo=UTC)
        database: Database = self._client.get_database(name, codec_options=options)
        return database

    async def ping(self) -> None:
        """Return when the server answers, raise otherwise."""
        await self._client.admin.command("ping")

    async def close(self) -> None:
        """Close all connections (a coroutine on one driver, a call on the other)."""
        closing = self._client.close()
        if inspect.isawaitable(closing):
            await closing


def connect(url: str, driver: Driver = "motor", app_name: str = "event-rewards") -> Mongo:
    """Make a client of the chosen driver; it connects when first used."""
    instrument_mongo()
    options = {**OPTIONS, "appname": app_name}
    if driver == "pymongo":
        from pymongo import AsyncMongoClient  # noqa: PLC0415 - one driver only is loaded

        return Mongo(AsyncMongoClient(url, **options))
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415

    return Mongo(AsyncIOMotorClient(url, **options))


async def aggregate(
    collection: Collection, pipeline: Sequence[Mapping[str, Any]], limit: int = 1000
) -> list[Document]:
    """Run a pipeline, at most `limit` documents: a cursor on Motor, awaited first on PyMongo."""
    cursor: Any = collection.aggregate(pipeline)  # type: ignore[attr-defined]
    if inspect.isawaitable(cursor):
        cursor = await cursor
    documents: list[Document] = await cursor.to_list(limit)
    return documents


def is_timeout(error: BaseException) -> bool:
    """Whether the server was there but did not answer in time."""
    if isinstance(error, ServerSelectionTimeoutError | WaitQueueTimeoutError):
        return False
    return isinstance(error, NetworkTimeout | ExecutionTimeout | WTimeoutError)


def is_unavailable(error: BaseException) -> bool:
    """Whether the server, or a connection to it, could not be had."""
    return isinstance(
        error, ConnectionFailure | AutoReconnect | ServerSelectionTimeoutError
    ) and not is_timeout(error)
