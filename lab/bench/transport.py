"""Ways to call an upstream: CPU of the client's side per small GET, for decision 9."""

import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from lab.bench.rig import Ratio, Rig
from shared.web.transport import UpstreamTransport

REQUESTS = 500  # of one way in one round
HEADERS = {"accept": "application/json", "authorization": "Bearer " + "x" * 500}


def bench(rig: Rig) -> list[Ratio]:
    """Prints the table; it has no goals."""
    import uvloop  # noqa: PLC0415

    uvloop.run(_bench(rig.stand_in("upstream").url + "/api/v1/events", rig.rounds))
    return []


async def _bench(url: str, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        own, other = UpstreamTransport(url), AiohttpTransport()
        stack.push_async_callback(own.aclose)
        stack.push_async_callback(other.aclose)
        client = httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await stack.enter_async_context(client)

        # as the gateway uses a transport: nothing is parsed anew, parts are passed on
        parsed, raw = httpx.URL(url), httpx.Headers(HEADERS).raw

        def direct(transport: httpx.AsyncBaseTransport) -> Callable[[], Awaitable[None]]:
            async def get() -> None:
                request = httpx.Request("GET", parsed, headers=raw, extensions={"timeout": {}})
                response = await transport.handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it is async
                async for _ in response.stream:
                    pass
                await response.aclose()

            return get

        async def by_client() -> None:
            await client.get(url, headers=HEADERS)

        async def by_aiohttp() -> None:
            async with session.get(url, headers=HEADERS) as reply:
                await reply.read()

        ways = {
            "this transport": direct(own),
            "aiohttp's own client": by_aiohttp,
            "httpx-aiohttp's transport": direct(other),
            "httpx.AsyncClient over that": by_client,
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, get in ways.items():
                start = time.process_time()
                for _ in range(REQUESTS):
                    await get()
                if number:  # the first round only warms up
                    found[name].append((time.process_time() - start) / REQUESTS * 1e6)
    base = statistics.median(found["this transport"])
    print(f"\n{'a small GET by':32} {'CPU us':>8} {'of the first':>14}")
    for name, each in found.items():
        cost = statistics.median(each)
        print(f"{name:32} {cost:8.0f} {cost / base:14.1f}")
