"""Ready-made checks of dependencies, for the argument `checks` of `observe()`.

Each asks once, within `timeout_s` seconds, which is less than the setting `check_timeout_s`, so
that the reason of a failure is known and not only that it took too long. Clients may be sync or
async; a sync one is asked in a thread, one at a time. The client's own exception is raised, for
which `plainview.health.reason_of` finds the word that probes show.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .health import Check, CheckFailed
from .support import extra

if TYPE_CHECKING:
    import httpx
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

TIMEOUT_S = 0.9


def mongo(client: Any, *, required: bool = True, timeout_s: float = TIMEOUT_S) -> Check:
    """A check of MongoDB by `ping`; takes a client of PyMongo, sync or async, or of Motor."""
    with extra("mongo"):
        import pymongo  # noqa: PLC0415

    def ask_in_thread() -> None:
        with pymongo.timeout(2 * timeout_s):  # the driver's own patience is 30 s
            client.admin.command("ping")

    async def ask() -> None:
        await client.admin.command("ping")

    if isinstance(client, pymongo.MongoClient):
        asked = _in_thread(ask_in_thread, timeout_s)
    else:
        asked = _bounded(ask, timeout_s)

    async def ping() -> None:
        try:
            await asked()
        except TimeoutError as error:
            # while the driver looks for a server, only its picture of them tells what is wrong
            for server in client.topology_description.server_descriptions().values():
                if server.error is not None:
                    raise server.error from error
            raise

    return Check(ping, required)


def redis(
    client: Redis | AsyncRedis, *, required: bool = True, timeout_s: float = TIMEOUT_S
) -> Check:
    """A check of Redis by `PING`; takes a sync or async client.

    A sync client that tries again by itself for longer than `timeout_s` is a `timeout`.
    """
    with extra("redis"):
        import redis  # noqa: PLC0415

    asked: Any = client
    if isinstance(client, (redis.Redis, redis.RedisCluster)):
        return Check(_in_thread(asked.ping, timeout_s), required, "cache")

    async def ask() -> None:
        await asked.ping()

    return Check(_bounded(ask, timeout_s), required, "cache")


def sqlalchemy(
    engine: Engine | AsyncEngine, *, required: bool = True, timeout_s: float = TIMEOUT_S
) -> Check:
    """A check of a database by `SELECT 1` on a connection of the pool; sync or async engine."""
    with extra("sqlalchemy"):
        from sqlalchemy import Engine, literal, select  # noqa: PLC0415

    one = select(literal(1))
    if isinstance(engine, Engine):
        return Check(_in_thread(lambda: _select(engine, one), timeout_s), required)

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(one)

    return Check(_bounded(ask, timeout_s), required)


def _select(engine: Engine, statement: Any) -> None:
    with engine.connect() as connection:
        connection.execute(statement)


def http(
    client_or_url: httpx.AsyncClient | str,
    path: str = "",
    *,
    required: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> Check:
    """A check of another service by GET: a status below 400 is well.

    Takes a URL, or a client and the path or URL to ask. A URL is asked with a connection of its
    own and without the environment's proxies. 401 and 403 are `credentials`; a page of health that
    says so is `draining`.
    """
    with extra("httpx"):
        import httpx  # noqa: PLC0415

    if isinstance(client_or_url, str):
        url = httpx.URL(client_or_url).join(path)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"{client_or_url!r} is not a URL of http or https")
        # made once, as that is slow
        tls = httpx.create_ssl_context() if url.scheme == "https" else False

        async def ask() -> None:
            async with httpx.AsyncClient(verify=tls, trust_env=False) as client:
                _judge(await client.get(url, timeout=timeout_s))
    else:
        given = client_or_url

        async def ask() -> None:
            _judge(await given.get(path, timeout=timeout_s))

    return Check(_bounded(ask, timeout_s), required, "component")


def _judge(response: httpx.Response) -> None:
    status = response.status_code
    if status < 400:
        return
    text = f"{response.request.url.copy_with(query=None)} answered {status}"
    if status in (401, 403):
        raise CheckFailed("credentials", text)
    draining = status == 503 and '"output":"draining"' in response.text[:10_000].replace(" ", "")
    raise CheckFailed("draining" if draining else "other", text)


def _bounded(ask: Callable[[], Awaitable[object]], timeout_s: float) -> Callable[[], Any]:
    async def ping() -> None:
        async with asyncio.timeout(timeout_s):
            await ask()

    return ping


def _in_thread(ask: Callable[[], object], timeout_s: float) -> Callable[[], Any]:
    """Ask in a daemon thread, which a hanging driver may keep; it is not asked again until then."""
    last: list[threading.Thread] = []

    async def ping() -> None:
        if last and last[0].is_alive():
            raise TimeoutError("the last check has not ended yet")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[BaseException | None] = loop.create_future()

        def settle(found: BaseException | None) -> None:
            if not answer.done():
                answer.set_result(found)

        def work() -> None:
            found: BaseException | None = None
            try:
                ask()
            except Exception as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(settle, found)

        last[:] = [threading.Thread(target=work, daemon=True, name="plainview-check")]
        last[0].start()
        async with asyncio.timeout(timeout_s):
            found = await answer
        if found is not None:
            raise found

    return ping
