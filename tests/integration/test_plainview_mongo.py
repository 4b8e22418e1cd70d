"""Mongo metrics and spans over sockets, with each of the three clients."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from opentelemetry import trace
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import DuplicateKeyError, OperationFailure, ServerSelectionTimeoutError

from plainview import observe_mongo
from plainview.signals import (
    DB_CONNECTION_FAILURES,
    DB_OPERATION_DURATION,
    DB_OPERATION_FAILURES,
)
from plainview.testing import captured_spans, metric_delta
from tests.support.servers import free_port

Call = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["pymongo", "motor", "sync"])
async def collection(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[Any]:
    """A new collection whose methods are awaited, whatever the client."""
    observe_mongo()
    observe_mongo()
    makers = {"pymongo": AsyncMongoClient, "motor": AsyncIOMotorClient, "sync": MongoClient}
    client: Any = makers[request.param](mongo_url, maxPoolSize=7, retryWrites=False)
    yield client.plainview[f"c{uuid.uuid4().hex}"]
    closed = client.close()
    if closed is not None:
        await closed


async def wait(result: Any) -> Any:
    return await result if hasattr(result, "__await__") else result


def commands(name: str) -> metric_delta:
    return metric_delta(DB_OPERATION_DURATION, db_system_name="mongodb", db_operation_name=name)


async def test_commands_are_counted_once_and_traced_without_data(collection: Any) -> None:
    tracer = trace.get_tracer("test")
    with (
        captured_spans() as spans,
        commands("insert") as inserts,
        commands("find") as finds,
        tracer.start_as_current_span("work") as work,
    ):
        await wait(collection.insert_one({"_id": 1, "card": "c4n4ry"}))
        assert (await wait(collection.find_one({"card": "c4n4ry"})))["_id"] == 1
    assert (inserts.value, finds.value) == (1, 1)
    insert, find = [span for span in spans if span.name.startswith("plainview.")]
    assert (insert.name, find.name) == ("plainview.insert", "plainview.find")
    for span in (insert, find):
        assert span.parent_id == format(work.get_span_context().span_id, "016x")
        assert span.kind == "client"
        assert span.attributes["db.system.name"] == "mongodb"
        assert span.attributes["db.collection.name"] == collection.name
    assert "c4n4ry" not in repr(spans)


async def test_failures_are_counted_but_duplicates_are_answers(collection: Any) -> None:
    failures = metric_delta(DB_OPERATION_FAILURES, db_system_name="mongodb")
    with failures:
        await wait(collection.insert_one({"_id": 1}))
        with pytest.raises(DuplicateKeyError):
            await wait(collection.insert_one({"_id": 1}))
    assert failures.value == 0
    command = {"aggregate": collection.name, "pipeline": [{"$noSuchStage": 1}], "cursor": {}}
    with failures, pytest.raises(OperationFailure):
        await wait(collection.database.command(command))
    assert failures.value == 1


async def test_a_server_that_is_away_is_a_connection_failure() -> None:
    observe_mongo()
    client: Any = AsyncMongoClient(
        f"mongodb://127.0.0.1:{free_port()}", serverSelectionTimeoutMS=300
    )
    with metric_delta(DB_CONNECTION_FAILURES, db_system_name="mongodb") as failures:
        with pytest.raises(ServerSelectionTimeoutError):
            await client.db.c.find_one({})
        await client.close()
    assert failures.value >= 1
