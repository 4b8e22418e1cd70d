"""Redis metrics and spans over sockets."""

from collections.abc import AsyncIterator

import pytest
from opentelemetry import trace
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from plainview import observe_redis
from plainview.signals import (
    DB_CONNECTION_FAILURES,
    DB_OPERATION_DURATION,
    DB_OPERATION_FAILURES,
)
from plainview.testing import captured_spans, metric_delta
from tests.support.servers import free_port


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    made = observe_redis(Redis.from_url(redis_url, decode_responses=True))
    yield observe_redis(made)
    await made.aclose()


def commands(name: str) -> metric_delta:
    return metric_delta(DB_OPERATION_DURATION, db_system_name="redis", db_operation_name=name)


def failures(kind: str) -> metric_delta:
    return metric_delta(DB_OPERATION_FAILURES, db_system_name="redis", error_type=kind)


async def test_commands_are_counted_once_and_traced_without_arguments(client: Redis) -> None:
    with (
        captured_spans() as spans,
        commands("SET") as sets,
        commands("GET") as gets,
        trace.get_tracer("test").start_as_current_span("work") as work,
    ):
        await client.set("c4n4ry-key", "c4n4ry-value")
        assert await client.get("c4n4ry-key") == "c4n4ry-value"
    assert (sets.value, gets.value) == (1, 1)
    assert [span.name for span in spans] == ["SET", "GET", "work"]
    assert spans[0].parent_id == format(work.get_span_context().span_id, "016x")
    assert spans[0].attributes["db.system.name"] == "redis"
    assert "c4n4ry" not in repr(spans)


async def test_a_pipeline_is_one_operation(client: Redis) -> None:
    with (
        captured_spans() as spans,
        commands("PIPELINE") as pipelines,
        commands("INCR") as increments,
        trace.get_tracer("test").start_as_current_span("work"),
    ):
        async with client.pipeline(transaction=True) as pipe:
            assert await pipe.incr("pv:n").incr("pv:n").expire("pv:n", 9).execute()
            assert await pipe.execute() == []
    assert (pipelines.value, increments.value) == (1, 0)
    assert "PIPELINE" in [span.name for span in spans]
    assert "pv:n" not in repr(spans)


async def test_what_is_not_sampled_is_counted_all_the_same(client: Redis) -> None:
    unsampled = trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=False))
    with (
        captured_spans() as spans,
        commands("PIPELINE") as pipelines,
        commands("SET") as sets,
        trace.use_span(unsampled),
    ):
        assert await client.set("pv:n", 1)
        async with client.pipeline(transaction=False) as pipe:
            assert await pipe.incr("pv:n").incr("pv:n").execute() == [2, 3]
    assert (pipelines.value, sets.value) == (1, 1)
    assert not spans


async def test_waiting_for_messages_is_not_latency(client: Redis) -> None:
    await client.delete("pv:stream")
    await client.xgroup_create("pv:stream", "g", mkstream=True)
    with (
        captured_spans() as spans,
        commands("XREADGROUP") as reads,
        commands("XREADGROUP_BLOCK") as waits,
        metric_delta(DB_OPERATION_FAILURES, db_system_name="redis") as failed,
    ):
        assert not await client.xreadgroup("g", "c", {"pv:stream": ">"}, block=20)
        await client.xreadgroup("g", "c", {"pv:stream": ">"})
        with pytest.raises(ResponseError, match="BUSYGROUP"):
            await client.xgroup_create("pv:stream", "g")
    assert (reads.value, waits.value, failed.value) == (1, 1, 0)
    assert spans == []  # polls outside of any span are no traces


async def test_rejected_and_unavailable(client: Redis) -> None:
    await client.set("pv:text", "x")
    with failures("rejected") as rejected, pytest.raises(ResponseError):
        await client.incr("pv:text")
    assert rejected.value == 1
    away = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    with (
        failures("unavailable") as unavailable,
        metric_delta(DB_CONNECTION_FAILURES, db_system_name="redis") as connections,
        pytest.raises(RedisConnectionError),
    ):
        await away.ping()
    assert (unavailable.value, connections.value) == (1, 1)
    await away.aclose()
