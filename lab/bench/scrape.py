"""What reading `/metrics` does to a service with a thousand routes, and to its other requests."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from lab.bench.processes import Process
from lab.bench.rig import Ratio, Rig
from lab.bench.stand_ins import ROUTES

ASKED = 20  # routes, the first ones: those behind them cost the router more than the request does
REQUESTS, RPS, CONNECTIONS = 10_000, 1_000, 16
EVERY_S = 5.0  # between two scrapes
PAIRS, PAGES = 5, 5
# a page's CPU and the loop's longest stall have an absolute goal: seconds
PAGE_S, STALL_S = 0.3, 0.02


def bench(rig: Rig) -> list[Ratio]:
    """A page's CPU, the loop's longest stall during it, and P99 with scrapes over P99 without."""
    return asyncio.run(_bench(rig.stand_in("scraped")))


async def _bench(process: Process) -> list[Ratio]:
    async with aiohttp.ClientSession(
        process.url, connector=aiohttp.TCPConnector(limit=CONNECTIONS), trust_env=False
    ) as http:
        cpu, stalls, size = [], [], 0
        for _ in range(PAGES):
            for number in range(ROUTES):  # a series that has not changed is not written anew
                await _get(http, f"/r{number}/1")
            await _get(http, "/stall")
            before = process.cpu_s
            size = len(await _get(http, "/metrics"))
            cpu.append(process.cpu_s - before)
            stalls.append(float(await _get(http, "/stall")))
        before = process.cpu_s
        for _ in range(PAGES):
            await _get(http, "/metrics")
        idle = (process.cpu_s - before) / PAGES
        page, stall = statistics.mean(cpu), statistics.median(stalls)
        print(f"\na page of {ROUTES} routes, {size / 2**20:.1f} MiB; all asked since the last:")
        print(f"CPU {page * 1000:.0f} ms, with none asked {idle * 1000:.0f} ms")
        print(f"longest stall of the event loop meanwhile: {stall * 1000:.1f} ms")
        pairs = [(await _p99(http), await _p99(http, scraped=True)) for _ in range(PAIRS)]
    print(f"P99 of {REQUESTS} requests at {RPS} a second, without and with a scrape every 5 s:")
    print("  " + ", ".join(f"{a * 1000:.1f} and {b * 1000:.1f} ms" for a, b in pairs))
    over = round(statistics.median(b / a for a, b in pairs), 3)
    return [
        Ratio("scrape_page_cpu_s", round(page, 3), PAGE_S, least=False),
        Ratio("scrape_stall_s", round(stall, 4), STALL_S, least=False),
        Ratio("scrape_p99", over, 1.3, least=False),
    ]


async def _get(http: aiohttp.ClientSession, path: str) -> bytes:
    async with http.get(path) as reply:
        body = await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status}")
        return body


async def _p99(http: aiohttp.ClientSession, *, scraped: bool = False) -> float:
    """Seconds of the slowest percent of requests that are due at fixed times."""
    scraping = asyncio.create_task(_scrape(http)) if scraped else None
    took: list[float] = []
    begin = time.perf_counter()

    async def connection(first: int) -> None:
        for number in range(first, REQUESTS, CONNECTIONS):
            due = begin + number / RPS
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            start = time.perf_counter()
            await _get(http, f"/r{number % ASKED}/1")
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
    if scraping is not None:
        scraping.cancel()
        with suppress(asyncio.CancelledError):
            await scraping
    return _percentile(took, 0.99)


async def _scrape(http: aiohttp.ClientSession) -> None:
    while True:
        await asyncio.sleep(EVERY_S / 2)
        await _get(http, "/metrics")
        await asyncio.sleep(EVERY_S / 2)


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]
