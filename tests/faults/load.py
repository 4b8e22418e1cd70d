"""Requests at a steady rate beside a fault, whether or not the ones before are answered."""

import asyncio
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import httpx

from shared.tokens import Role
from tests.support.trio import Trio

API = "/api/v1"
ADDRESSES = tuple(f"127.0.0.{n}" for n in range(2, 12))
BROKEN = 0  # the status of a request whose connection broke off or that got no reply in 20 s


@dataclass(frozen=True)
class Sample:
    """One request: begin and duration in seconds; `body` only of what is no 2xx."""

    path: str
    start: float
    seconds: float
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class Ask:
    """What to send."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def browsing(trio: Trio) -> Callable[[int], Ask]:
    """Fifty users who look at the list of events."""
    headers = [trio.headers(f"reader{number}", Role.USER) for number in range(50)]
    return lambda number: Ask("GET", f"{API}/events", headers[number % 50])


def browse(trio: Trio, url: str = "") -> httpx.Response:
    """The list of events, asked for by one user, of the gateway or whoever is at `url`."""
    headers = trio.headers("somebody", Role.USER)
    return httpx.get(f"{url or trio.url}{API}/events", headers=headers, timeout=20)


def serves(trio: Trio) -> bool:
    """The gateway answers that user."""
    return browse(trio).status_code == 200


@asynccontextmanager
async def crowd(
    addresses: Sequence[str] = ADDRESSES, timeout_s: float = 20
) -> AsyncIterator[list[aiohttp.ClientSession]]:
    """A session from each of these addresses of loopback: no client is refused for being many."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, local_addr=(address, 0)),
                    timeout=timeout,
                )
            )
            for address in addresses
        ]


class Load:
    """`with Load(url, browsing(trio), rps=50) as load: ...; load.samples`."""

    def __init__(
        self,
        url: str,
        ask: Callable[[int], Ask],
        rps: float = 50,
        addresses: Sequence[str] = ADDRESSES,
    ) -> None:
        self._url, self._ask, self._rps, self._addresses = url, ask, rps, addresses
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    async def _run(self) -> None:
        async with crowd(self._addresses) as sessions:
            running: set[asyncio.Task[None]] = set()
            began = time.monotonic()
            for number in itertools.count():
                if self._stop.is_set():
                    break
                task = asyncio.create_task(
                    self._send(sessions[number % len(sessions)], self._ask(number))
                )
                running.add(task)
                task.add_done_callback(running.discard)
                await asyncio.sleep(began + (number + 1) / self._rps - time.monotonic())
            await asyncio.gather(*running)

    async def _send(self, session: aiohttp.ClientSession, ask: Ask) -> None:
        self.samples.append(await send(session, self._url, ask))

    def between(self, since: float, until: float) -> list[Sample]:
        """Those that began in a span of `time.monotonic()`."""
        return [sample for sample in self.samples if since <= sample.start < until]


async def send(session: aiohttp.ClientSession, url: str, ask: Ask) -> Sample:
    """One request and what became of it."""
    start, status, headers, body = time.monotonic(), BROKEN, {}, None
    try:
        async with session.request(
            ask.method, url + ask.path, headers=ask.headers, json=ask.body
        ) as reply:
            text = await reply.read()
            status, headers = reply.status, dict(reply.headers)
            body = await reply.json(content_type=None) if text and status >= 400 else None
    except (aiohttp.ClientError, TimeoutError) as error:
        body = repr(error)
    return Sample(ask.path, start, time.monotonic() - start, status, headers, body)


def statuses(samples: Iterable[Sample]) -> dict[int, int]:
    """How often each status came."""
    return dict(Counter(sample.status for sample in samples))


def median(samples: Iterable[Sample]) -> float:
    """The duration in seconds that half of them did not exceed."""
    return statistics.median(sample.seconds for sample in samples)


def p95(samples: Sequence[Sample]) -> float:
    """The duration in seconds that 95 of 100 did not exceed."""
    assert len(samples) >= 20, f"too few to tell: {len(samples)}"
    return statistics.quantiles([sample.seconds for sample in samples], n=20)[-1]


def told_properly(samples: Iterable[Sample]) -> None:
    """Each error is a problem document with the request's and the trace's ID; 503 says when."""
    for sample in samples:
        if sample.status < 400:
            assert sample.status != BROKEN, sample
            continue
        headers = {name.lower(): value for name, value in sample.headers.items()}
        assert headers["content-type"].startswith("application/problem+json"), sample
        assert sample.body["code"], sample
        assert sample.body["request_id"] == headers["x-request-id"], sample
        assert len(sample.body["trace_id"]) == 32, sample
        if sample.status in (429, 503):
            assert int(headers["retry-after"]) >= 1, sample
