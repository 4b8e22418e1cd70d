"""Ready-made checks: a word for each way to fail, in a bounded time, on real servers."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
import redis
import redis.asyncio
from fastapi import FastAPI, Response
from motor.motor_asyncio import AsyncIOMotorClient
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from plainview import Check, checks
from plainview.health import reason_of
from tests.support.gateway_app import served
from tests.support.processes import ended
from tests.support.servers import EmbeddedValkey, free_port
from tests.support.waiting import soon

AT_MOST_S = 10  # of a check that gives up after 0.9 s, on a busy machine


async def reason(check: Check) -> str | None:
    """Why it fails; None if it passes."""
    async with asyncio.timeout(AT_MOST_S):
        try:
            await check.ping()
        except Exception as error:
            return reason_of(error)
    return None


async def closed(client: Any) -> None:
    names = [name for name in ("aclose", "dispose", "close") if hasattr(type(client), name)]
    done = getattr(client, names[0])()
    if asyncio.iscoroutine(done):
        await done


MONGOS = [pymongo.MongoClient, pymongo.AsyncMongoClient, AsyncIOMotorClient]


@pytest.mark.parametrize("make", MONGOS)
async def test_mongo(make: Any, mongo_url: str) -> None:
    well, away = make(mongo_url), make(f"mongodb://127.0.0.1:{free_port()}")
    # its driver's own patience is 30 s; the server of the tests lets nobody sign in
    stranger = make(mongo_url.replace("//", "//nobody:hunter2@") + "/?authMechanism=PLAIN")
    assert await reason(checks.mongo(well)) is None
    assert await reason(checks.mongo(away)) == "refused"
    assert await reason(checks.mongo(stranger)) in ("credentials", "other")
    for client in (well, away, stranger):
        await closed(client)


@pytest.mark.parametrize("module", [redis, redis.asyncio])
async def test_redis(module: Any, redis_url: str) -> None:
    well = module.Redis.from_url(redis_url)
    # by default both try again for seconds; of a sync one nobody learns why
    again = {} if module is redis.asyncio else {"retry": Retry(NoBackoff(), 0)}
    away = module.Redis(port=free_port(), **again)
    stranger = module.Redis.from_url(redis_url.replace("//", "//nobody:hunter2@"))
    assert await reason(checks.redis(well)) is None
    assert await reason(checks.redis(away)) == "refused"
    assert await reason(checks.redis(stranger)) == "credentials"
    with EmbeddedValkey() as server:
        hung = module.Redis.from_url(server.url)
        check = checks.redis(hung, timeout_s=0.2)
        assert await reason(check) is None
        server.pause()
        for _ in range(3):
            assert await reason(check) == "timeout"
        waiting = [each for each in threading.enumerate() if each.name == "plainview-check"]
        assert len(waiting) <= 1  # it is not asked again while it hangs
        server.resume()

        async def back() -> bool:
            return await reason(check) is None

        await soon(back)
        await closed(hung)
    for client in (well, away, stranger):
        await closed(client)


@pytest.mark.parametrize(
    ("make", "driver"), [(create_engine, "sqlite"), (create_async_engine, "sqlite+aiosqlite")]
)
async def test_sqlalchemy(make: Any, driver: str, tmp_path: Path) -> None:
    well, away = make(f"{driver}:///{tmp_path}/x.db"), make(f"{driver}:///{tmp_path}/none/x.db")
    assert await reason(checks.sqlalchemy(well)) is None
    assert await reason(checks.sqlalchemy(away)) == "refused"
    for engine in (well, away):
        await closed(engine)
    # aiosqlite's thread of a connection that failed answers to the event loop once more
    await soon(lambda: not any("_connection_worker" in t.name for t in threading.enumerate()))


async def test_postgresql_that_is_away_or_does_not_know_us() -> None:
    engine = create_async_engine(f"postgresql+asyncpg://a:b@127.0.0.1:{free_port()}/x")
    assert await reason(checks.sqlalchemy(engine)) == "refused"
    await engine.dispose()


@pytest.fixture
async def neighbour() -> AsyncIterator[str]:
    app = FastAPI()

    @app.get("/status/{code}")
    async def status(code: int) -> Response:
        return Response("hunter2", code)

    @app.get("/draining")
    async def draining() -> Response:
        return Response('{"status": "fail", "output": "draining"}', 503)

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(AT_MOST_S)

    async with served(app) as url:
        yield url


@pytest.mark.parametrize("by", ["url", "client", "client with a base"])
async def test_http(by: str, neighbour: str) -> None:
    async with httpx.AsyncClient() as client, httpx.AsyncClient(base_url=neighbour) as based:

        def check(path: str, **more: Any) -> Check:
            if by == "url":
                return checks.http(neighbour + path, **more)
            if by == "client":
                return checks.http(client, neighbour + path, **more)
            return checks.http(based, path, **more)

        found = {
            path: await reason(check(path))
            for path in ("/status/204", "/status/301", "/status/401", "/status/403", "/status/404")
        }
        assert list(found.values()) == [None, None, "credentials", "credentials", "other"]
        assert await reason(check("/draining")) == "draining"
        assert await reason(check("/slow", timeout_s=0.2)) == "timeout"
    # a name with "auth" in it is no reason to speak of credentials
    assert await reason(checks.http(f"http://127.0.0.1:{free_port()}/auth")) == "refused"
    assert await reason(checks.http("http://auth.invalid")) == "refused"


@pytest.mark.parametrize("url", ["", "auth:8000", "ftp://x", "http://", "//x"])
def test_a_url_that_cannot_be_asked_is_an_error_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        checks.http(url)


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    program = """
import asyncio, threading, time
from plainview import checks
check = checks._in_thread(lambda: threading.Event().wait(), 0.1)
try:
    asyncio.run(check())
except TimeoutError:
    print("given up")
"""
    done = ended([sys.executable, "-c", program], timeout_s=60)
    assert done.stdout == "given up\n", done.stderr
