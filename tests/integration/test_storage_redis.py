"""shared.storage.redis against a real Valkey that is hung and restarted."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from shared.storage.redis import RedisError, connect
from tests.support.servers import EmbeddedValkey, free_port
from tests.support.timing import in_time
from tests.support.waiting import soon


async def test_absent_server_costs_at_most_300_ms() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    await in_time(partial(_failing, _get, client), 0.35)
    await client.aclose()


async def _failing(call: Callable[[Any], Awaitable[None]], client: Any) -> float:
    begin = time.monotonic()
    with pytest.raises(RedisError):
        await call(client)
    return time.monotonic() - begin


async def _get(client: Any) -> None:
    await client.get("x")


async def _pipeline(client: Any) -> None:
    async with client.pipeline() as pipe:
        await pipe.get("x").get("y").execute()


async def _script(client: Any) -> None:
    await client.register_script("return 1")()


@pytest.mark.parametrize("call", [_get, _pipeline, _script])
async def test_hung_server_costs_at_most_300_ms(call: Callable[[Any], Awaitable[None]]) -> None:
    with EmbeddedValkey() as server:
        client = connect(server.url)

        async def slowest() -> float:
            await call(client)
            server.pause()
            try:  # the first on a known connection, then on new ones
                return max([await _failing(call, client) for _ in range(3)])
            finally:
                server.resume()

        await in_time(slowest, 0.35)

        async def recovered() -> bool:
            with suppress(RedisError):  # of a busy machine
                await call(client)
                return True
            return False

        await soon(recovered)
        await client.aclose()


async def test_reader_with_a_longer_timeout_may_block(redis_url: str) -> None:
    client = connect(redis_url, timeout_s=3)
    begin = time.monotonic()
    assert not await client.xread({uuid4().hex: "$"}, block=500)
    assert 0.4 < time.monotonic() - begin < 2.9
    await client.aclose()
