"""Announcements reach the stream, whatever happens to Redis."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from auth import signals
from auth.announcements import Relay, announcement
from auth.records import User
from auth.repository import Users
from plainview import request_context
from plainview.testing import captured_logs, captured_spans, metric_delta
from shared.announcements import STREAM, Announcement
from shared.background import repeat
from shared.storage.mongo import Database
from shared.storage.redis import connect
from tests.support.servers import EmbeddedValkey
from tests.support.timing import in_time
from tests.support.waiting import soon

REGISTERED, LOGGED_IN = Announcement


@pytest.fixture
def users(one_database: Database) -> Users:
    return Users(one_database)


@asynccontextmanager
async def running(users: Users, server: EmbeddedValkey) -> AsyncIterator[tuple[Relay, Redis]]:
    redis = connect(server.url)
    relay = Relay(users, redis)
    async with AsyncExitStack() as stack:
        repeat(stack, "relay", relay.turn)
        yield relay, redis
    await redis.aclose()


async def register(users: Users, relay: Relay, number: int = 0) -> User:
    user = User(uuid4().hex, f"user{number}@example.com", "Ann", "hash")
    await users.create(user, announcement(REGISTERED, user.id))
    relay.wake()
    return user


async def nothing_waits(users: Users) -> bool:
    return not await users.count_waiting()


async def read(redis: Redis, count: int) -> list[dict[str, str]]:
    async def entries() -> list[dict[str, str]]:
        found = [fields for _, fields in await redis.xrange(STREAM)]
        return found if len(found) >= count else []

    return await soon(entries, what=f"{count} entries")


async def test_an_announcement_is_there_at_once_with_its_context(
    users: Users, own_valkey: EmbeddedValkey
) -> None:
    async with running(users, own_valkey) as (relay, redis):
        counted = metric_delta(signals.ANNOUNCEMENTS, type=REGISTERED, outcome="published")
        with captured_spans() as spans, request_context("request-number-7"), counted:
            user = await register(users, relay)
            (entry,) = await read(redis, 1)
            await soon(lambda: nothing_waits(users))
        assert (entry["type"], entry["user_id"]) == (REGISTERED, user.id)
        assert entry["request_id"] == "request-number-7"
        produced = next(span for span in spans if span.name == f"send {STREAM}")
        assert entry["traceparent"].split("-")[1:3] == [produced.trace_id, produced.span_id]
        assert counted.value == 1
        assert metric_delta(signals.PENDING).value == 0

        known = itertools.count(1)

        async def seconds() -> float:
            await asyncio.sleep(0.3)  # it waits for its next poll, of one second
            number = next(known)
            await register(users, relay, number)
            start = time.monotonic()
            await read(redis, number + 1)
            return time.monotonic() - start

        await in_time(seconds, 0.5)


async def test_nothing_is_lost_while_redis_is_killed_and_order_is_kept(
    users: Users, own_valkey: EmbeddedValkey
) -> None:
    async with running(users, own_valkey) as (relay, redis):
        ann = await register(users, relay)
        await read(redis, 1)
        own_valkey.kill()
        written = []
        with captured_logs() as lines:
            for _ in range(5):
                login = announcement(LOGGED_IN, ann.id)
                assert await users.sign_in(ann, login, {}) is not None
                written.append(login["id"])
                relay.wake()
            bob = await register(users, relay, 1)
            await soon(lambda: metric_delta(signals.PENDING).value == 2)  # users
            own_valkey.start()
            entries = await read(redis, 7)
            await soon(lambda: nothing_waits(users))
        unique = {entry["id"]: entry for entry in entries}  # at least once
        assert [key for key, e in unique.items() if e["type"] == LOGGED_IN] == written
        assert {e["user_id"] for e in unique.values() if e["type"] == REGISTERED} == {
            ann.id,
            bob.id,
        }
        failures = [line for line in lines if line["event"] == "job.failed"]
        # a line for each kind of error, and not for each attempt
        assert 1 <= len(failures) <= len({line["error_type"] for line in failures}) + 1
        assert {(line["task"], line["level"]) for line in failures} == {("relay", "warning")}
        await asyncio.sleep(0.05)


async def test_what_another_process_left_is_published(
    users: Users, own_valkey: EmbeddedValkey
) -> None:
    for number in range(120):  # more than a batch
        user = User(uuid4().hex, f"user{number}@example.com", "Ann", "hash")
        await users.create(user, announcement(REGISTERED, user.id))
    async with running(users, own_valkey) as (_, redis):
        entries = await read(redis, 120)
        assert len({entry["id"] for entry in entries}) == 120
        await soon(lambda: nothing_waits(users))
