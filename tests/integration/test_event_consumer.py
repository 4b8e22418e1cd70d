"""The stream of auth's announcements on real servers: at least once, in order, never stuck."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis as RawRedis
from redis.exceptions import ResponseError

from event import consumer as consumer_module
from event import signals
from event.consumer import DEAD_LETTERS, GROUP, Consumer
from event.records import Member
from event.repository import MemberRepository
from plainview import inject_context, produce_span
from plainview.testing import captured_spans, metric_delta
from shared.announcements import STREAM
from shared.background import repeat
from shared.storage import redis as redis_storage
from shared.storage.mongo import Database
from shared.storage.mongo_calls import DatabaseUnavailable
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import soon

SEOUL = ZoneInfo("Asia/Seoul")
AT = "2026-11-22T16:30:00Z"  # the 23rd in Seoul


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client = redis_storage.connect(redis_url, timeout_s=4)
    await client.delete(STREAM, DEAD_LETTERS)
    yield client
    await client.aclose()


@pytest.fixture
def members(one_database: Database) -> MemberRepository:
    return MemberRepository(one_database)


async def announce(redis: Any, type_: str, user: str = "u", at: str = AT, **more: str) -> None:
    fields = {"id": uuid4().hex, "type": type_, "user_id": user, "occurred_at": at}
    await redis.xadd(STREAM, {**fields, **more})


async def pending(redis: Any) -> int:
    return int((await redis.xpending(STREAM, GROUP))["pending"])


async def test_announcements_become_what_is_known_about_members(
    redis: Any, members: MemberRepository
) -> None:
    consumer = Consumer(redis, members, SEOUL)
    await announce(redis, "user.registered")
    await announce(redis, "user.logged_in")
    await announce(redis, "user.logged_in")
    async with (
        metric_delta(signals.STREAM_MESSAGES, outcome="applied") as applied,
        metric_delta(signals.STREAM_MESSAGES, outcome="duplicate") as duplicate,
        metric_delta(signals.ACTIVITY, kind="sign_in") as sign_ins,
    ):
        assert await consumer.turn(0.1) == 3
    assert (applied.value, duplicate.value, sign_ins.value) == (2, 1, 1)
    assert await members.member("u") == Member(
        id="u",
        registered_at=datetime(2026, 11, 22, 16, 30, tzinfo=UTC),
        login_days={"20261123": 1},
        last_login_at=datetime(2026, 11, 22, 16, 30, tzinfo=UTC),
    )
    assert await pending(redis) == 0
    assert await consumer.turn(0.1) == 0


async def test_a_message_is_a_span_in_its_producers_trace_and_a_batch_links_to_all(
    redis: Any, members: MemberRepository
) -> None:
    with captured_spans() as spans:
        for user in ("u", "v"):
            with produce_span(STREAM):
                await announce(redis, "user.registered", user, **inject_context())
        await Consumer(redis, members, SEOUL).turn(0.1)
    sent = [span for span in spans if span.name == f"send {STREAM}"]
    processed = [span for span in spans if span.name == f"process {STREAM}"]
    (received,) = [span for span in spans if span.name == f"receive {STREAM}"]
    assert {s.trace_id for s in sent} == {s.trace_id for s in processed}
    assert {s.span_id for s in sent} == {s.parent_id for s in processed}
    assert len(received.links) == 2
    updates = [span for span in spans if span.name.endswith(".update")]
    assert {span.parent_id for span in updates} == {span.span_id for span in processed}


async def test_poison_is_tried_then_kept_as_a_dead_letter_and_stops_nobody(
    redis: Any, members: MemberRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "MAX_DEAD_LETTERS", 2)
    consumer = Consumer(redis, members, SEOUL, takeover_s=0, max_deliveries=3)
    for n in range(3):
        await announce(redis, "user.vanished", f"bad{n}")
    await announce(redis, "user.logged_in", at="yesterday")
    await announce(redis, "user.registered", "good")
    async with metric_delta(signals.STREAM_MESSAGES, outcome="failed") as failed:
        await consumer.turn(0.1)
        assert await members.member("good")
        assert await pending(redis) == 4
        await consumer.turn(0.1)
        await consumer.turn(0.1)
    assert failed.value == 12
    assert await pending(redis) == 0
    letters = await redis.xrange(DEAD_LETTERS)
    assert len(letters) == 2, "the list is bounded"
    assert letters[-1][1]["occurred_at"] == "yesterday"


async def test_what_a_dead_consumer_had_taken_is_taken_over(
    redis: Any, members: MemberRepository
) -> None:
    await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await announce(redis, "user.registered")
    await redis.xreadgroup(GROUP, "dead", {STREAM: ">"})
    await asyncio.sleep(0.2)
    assert await Consumer(redis, members, SEOUL, takeover_s=60).turn(0.1) == 0
    assert await Consumer(redis, members, SEOUL, takeover_s=0.1).turn(0.1) == 1
    assert await members.member("u")
    assert await pending(redis) == 0


async def test_lag_counts_what_waits_and_what_is_not_acknowledged(
    redis: Any, members: MemberRepository
) -> None:
    await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for _ in range(4):
        await announce(redis, "user.registered")
    await redis.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=1)
    signals.stream_lag(0)
    async with metric_delta(signals.STREAM_LAG) as lag:
        await Consumer(redis, members, SEOUL).turn(0.1)
    assert lag.value == 4


async def test_an_outage_of_the_database_kills_no_message(
    redis: Any, members: MemberRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(redis, members, SEOUL, takeover_s=0, max_deliveries=1)
    await announce(redis, "user.registered")
    real = members.registered

    async def away(*_: str) -> bool:
        raise DatabaseUnavailable("away")

    members.registered = away  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await consumer.turn(0.1)
    members.registered = real  # type: ignore[method-assign]
    await consumer.turn(0.1)
    assert await members.member("u")
    assert await redis.xlen(DEAD_LETTERS) == 0


async def test_it_goes_on_after_redis_was_killed_and_came_back(
    own_valkey: EmbeddedValkey, members: MemberRepository
) -> None:
    redis = redis_storage.connect(own_valkey.url, timeout_s=4)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        repeat(stack, "consumer", Consumer(redis, members, SEOUL).turn)
        await announce(redis, "user.registered", "before")
        await soon(lambda: members.member("before"))
        own_valkey.kill()
        await asyncio.sleep(0.5)
        own_valkey.start()
        await announce(redis, "user.registered", "after", datetime.now(UTC).isoformat())
        await soon(lambda: members.member("after"))


async def test_what_is_no_utf_8_is_a_dead_letter_and_the_others_are_read(
    redis: Any, redis_url: str, members: MemberRepository
) -> None:
    async with RawRedis.from_url(redis_url) as raw:
        await raw.xadd(STREAM, {b"type": b"user.registered", b"user_id": b"\xff\xfe"})
        await raw.xadd(STREAM, {b"\x80": b""})
        await announce(redis, "user.registered")
        async with (
            metric_delta(signals.STREAM_MESSAGES, outcome="undecodable") as undecodable,
            metric_delta(signals.STREAM_MESSAGES, outcome="applied") as applied,
        ):
            assert await Consumer(redis, members, SEOUL).turn(0.1) == 3
        assert (undecodable.value, applied.value) == (2, 1)
        assert await members.member("u")
        assert await pending(redis) == 0
        letters = [fields for _, fields in await raw.xrange(DEAD_LETTERS)]
        assert [letter.get(b"user_id") for letter in letters] == [b"\xff\xfe", None]
        assert b"\x80" in letters[1]


@pytest.mark.parametrize("takeover", [True, False], ids=["Redis 6.2", "Redis 5"])
async def test_a_redis_that_is_older_than_7_ends_nothing(
    redis: Any, members: MemberRepository, monkeypatch: pytest.MonkeyPatch, takeover: bool
) -> None:
    infos = redis.xinfo_groups

    async def old_infos(name: str) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in info.items() if key not in ("lag", "entries-read")}
            for info in await infos(name)
        ]

    async def unknown(*_: object, **__: object) -> None:
        raise ResponseError("ERR unknown command 'XAUTOCLAIM', with args beginning with: ")

    monkeypatch.setattr(redis, "xinfo_groups", old_infos)
    if not takeover:
        monkeypatch.setattr(redis, "xautoclaim", unknown)
    consumer = Consumer(redis, members, SEOUL, takeover_s=0)
    for number in range(5):
        await announce(redis, "user.registered", f"u{number}")
    signals.stream_lag(0)
    async with metric_delta(signals.STREAM_LAG) as lag:
        await consumer._create_group()
        await redis.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=2)
        await consumer._housekeep()
        assert lag.value == 5  # three that nobody has read, two that are not acknowledged
    for _ in range(2):
        await consumer.turn(0.1)
    assert await members.member("u4")
    assert bool(await members.member("u0")) == takeover
