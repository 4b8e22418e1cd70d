"""What reading `/metrics` does to a service with a thousand routes, and to its other requests."""

import asyncio
import statistics
import time

import aiohttp

from lab.bench.rig import Rig
from lab.bench.stand_ins import ROUTES
from lab.processes import Process

ASKED = 20  # routes, the first ones: those behind them cost the router more than the request does
REQUESTS, RPS, CONNECTIONS = 10_000, 1_000, 16
EVERY_S = 5.0  # between two scrapes
PAIRS, PAGES = 5, 5


def scrape(rig: Rig) -> dict[str, float]:
    """A page's CPU, the loop's longest stall during it, and P99 with scrapes over P99 without."""
    return asyncio.run(_scrape(rig.stand_in("scraped")))


async def _scrape(process: Process) -> dict[str, float]:
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
    over = statistics.median(b / a for a, b in pairs)
    return {"scrape_page_cpu_s": page, "scrape_stall_s": stall, "scrape_p99": over}


async def _get(http: aiohttp.ClientSession, path: str) -> bytes:
    async with http.get(path) as reply:
        body = await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status}")
        return body


async def _p99(http: aiohttp.ClientSession, *, scraped: bool = False) -> float:
    """Seconds of the slowest percent of requests that are due at fixed times."""
    took: list[float] = []
    begin = time.perf_counter()

    async def connection(first: int) -> None:
        for number in range(first, REQUESTS, CONNECTIONS):
            due = begin + number / RPS
            await asyncio.sleep(max(0, due - time.perf_counter()))
            start = time.perf_counter()
            await _get(http, f"/r{number % ASKED}/1")
            took.append(time.perf_counter() - start)

    async def scrapes() -> None:
        while scraped:
            await asyncio.sleep(EVERY_S / 2)
            await _get(http, "/metrics")
            await asyncio.sleep(EVERY_S / 2)

    scraping = asyncio.create_task(scrapes())
    await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
    scraping.cancel()
    await asyncio.wait([scraping])
    return sorted(took)[int(len(took) * 0.99)]
