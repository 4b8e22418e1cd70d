"""Do the services keep more and more memory? `make soak`: the demo under load, RSS twice.

The demo runs on ports and in a directory of its own. After a quarter of the time (10 of 40 minutes:
by then caches and pools are filled) and at the end each process collects its garbage on a signal,
and its resident memory is read from /proc. Exit status 1 if a process has grown by more than its
bound, or if a request failed.
"""

import argparse
import asyncio
import math
import os
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from demo.machine import ROOT
from lab.incidents.places import Demo
from lab.processes import demo, demo_environment

BOUNDS_MIB = {"gateway": 2.0, "auth": 2.0, "event": 2.0, "console": 4.0}
COLLECT_S = 2
READINGS = 5
LOGIN_S = 120  # access tokens live for five minutes


Memory = dict[tuple[str, int], float]


async def memory_mib(place: Demo) -> Memory:
    """MiB that each process, by name and ID, keeps after a collection of its garbage.

    It is the least of some readings: a password's hash takes 19 MiB while it is calculated, and a
    request under way takes some, too. A process that is not there is left out.
    """
    least: Memory = {}
    for _ in range(READINGS):
        pids = {name: pid for name in BOUNDS_MIB if (pid := place.pid(name))}
        for pid in pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR2)
        for _ in range(10):
            await asyncio.sleep(0.1)
            for name, pid in pids.items():
                with suppress(OSError):  # it has ended since
                    least[name, pid] = min(least.get((name, pid), math.inf), _resident_mib(pid))
        await asyncio.sleep(COLLECT_S)
    return least


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Load:
    """So many requests a second at the gateway, as the accounts of the demo; statuses counted."""

    def __init__(self, http: aiohttp.ClientSession, info: dict[str, Any], rps: float) -> None:
        self._http, self._info, self._pause_s = http, info, 1 / rps
        self._url = f"{info['services']['gateway']}/api/v1"
        self._headers: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        reward = self._info["example"]["reward_id"]
        paths = ("/events", "/auth/me", f"/rewards/{reward}", "/reward-requests", "/nowhere")
        logged_in, due, number = -float(LOGIN_S), time.monotonic(), 0
        async with asyncio.TaskGroup() as tasks:
            while True:
                if time.monotonic() - logged_in > LOGIN_S:
                    await self._log_in()
                    logged_in = time.monotonic()
                tasks.create_task(self._ask(paths[number % len(paths)]))
                number, due = number + 1, due + self._pause_s
                await asyncio.sleep(due - time.monotonic())

    async def _log_in(self) -> None:
        account = self._info["accounts"]["USER"]
        async with self._http.post(f"{self._url}/auth/login", json=account) as reply:
            reply.raise_for_status()
            token = (await reply.json())["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    async def _ask(self, path: str) -> None:
        try:
            async with self._http.get(f"{self._url}{path}", headers=self._headers) as reply:
                await reply.read()
                self.statuses[reply.status] += 1
        except (aiohttp.ClientError, TimeoutError):
            self.statuses[0] += 1


async def soak(
    place: Demo, info: dict[str, Any], minutes: float, rps: float
) -> tuple[Memory, Memory, Counter[int]]:
    """Memory after a quarter of the time and at the end, and statuses (0: no reply)."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
        load = Load(http, info, rps)
        running = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(minutes * 60 / 4)
            before = await memory_mib(place)
            await asyncio.sleep(minutes * 60 * 3 / 4)
            after = await memory_mib(place)
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return before, after, load.statuses


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--rps", type=float, default=100, help="requests a second")
    options = parser.parse_args()
    directory = ROOT / ".local/soak"
    shutil.rmtree(directory, ignore_errors=True)
    limits = {f"RATE_LIMIT_{name}": "1000000/minute" for name in ("USER", "ADDRESS", "SIGN_IN")}
    with demo(demo_environment(directory, **limits)) as (_, info):
        before, after, statuses = asyncio.run(
            soak(Demo(directory), info, options.minutes, options.rps)
        )
    failed = sum(count for status, count in statuses.items() if not 200 <= status < 500)
    print(f"{sum(statuses.values())} requests, {failed} failed: {dict(sorted(statuses.items()))}")
    print(f"{'process':10} {'MiB before':>10} {'after':>8} {'growth':>8} {'at most':>8}")
    missed = failed > 0
    for name, bound in BOUNDS_MIB.items():
        seen = [key for key in before.keys() | after if key[0] == name]
        if len(seen) != 1 or seen[0] not in before or seen[0] not in after:
            print(f"{name:10} was not the same process at both times: MISSES")
            missed = True
            continue
        was, became = before[seen[0]], after[seen[0]]
        growth = became - was
        verdict = "holds" if growth <= bound else "MISSES"
        print(f"{name:10} {was:10.1f} {became:8.1f} {growth:+8.1f} {bound:+8.1f}  {verdict}")
        missed |= growth > bound
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
