"""Load of 16 connections on one URL: by wrk, or by a process of ours where there is none."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

CONNECTIONS = 16


def generator() -> str:
    """What makes the load."""
    return "wrk -t1 -c16" if shutil.which("wrk") else "python -m lab.bench.load"


def drive(url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, float, int]:
    """GET it for so long: requests, seconds taken, replies that are no 2xx or did not come."""
    wrk = shutil.which("wrk")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if wrk:
        given = [part for line in lines for part in ("-H", line)]
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", *given, url]
    else:
        command = [sys.executable, "-m", "lab.bench.load", url, str(seconds), *lines]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    if not wrk:
        requests, took, failed = json.loads(done.stdout)
        return int(requests), float(took), int(failed)
    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", done.stdout)
    if total is None:
        raise RuntimeError(f"wrk said {done.stdout!r}")
    unit = {"ms": 0.001, "s": 1.0, "m": 60.0}[total[3]]
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    failed = int(wrong[1]) if wrong else 0
    failed += sum(int(count) for count in broken.groups()) if broken else 0
    return int(total[1]), float(total[2]) * unit, failed


async def _connection(url: str, headers: list[str], until: float) -> tuple[int, int]:
    where = urlsplit(url)
    lines = [f"GET {where.path} HTTP/1.1", f"Host: {where.netloc}", *headers, "", ""]
    request, requests, failed = "\r\n".join(lines).encode(), 0, 0
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    while time.monotonic() < until:
        writer.write(request)
        requests += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            failed += not head.startswith(b"HTTP/1.1 2")
        except (EOFError, OSError):  # closed in the middle, or instead of a reply
            failed += 1
            writer.close()
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.close()
    return requests, failed


async def _ours(url: str, seconds: float, headers: list[str]) -> tuple[int, float, int]:
    start = time.monotonic()
    counts = await asyncio.gather(
        *(_connection(url, headers, start + seconds) for _ in range(CONNECTIONS))
    )
    requests, failed = (sum(column) for column in zip(*counts, strict=True))
    return requests, time.monotonic() - start, failed


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_ours(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))))
