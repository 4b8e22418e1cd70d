"""MongoDB killed, slow, silent, busy: what fails says so in time, what was acknowledged stays."""

import asyncio
import statistics
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import aiohttp
import httpx
import pytest

from tests.faults.chaos import Clients, Figure, Intent, Plan, Platform, settled
from tests.faults.history import Stored, violations
from tests.faults.load import (
    Ask,
    Load,
    Sample,
    browsing,
    crowd,
    median,
    p95,
    send,
    serves,
    statuses,
    told_properly,
)
from tests.faults.size import RPS, many
from tests.support.event_data import add_event, add_reward
from tests.support.timing import in_time_blocking
from tests.support.trio import Service
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(400)  # what is waited for may come late on a busy machine


def probes_answer(services: list[Service], ready: int, figure: Figure) -> None:
    """Both probes of each service answer with what is expected, in 300 ms."""
    for service in services:
        for kind, expected in (("live", 200), ("ready", ready)):
            taken = in_time_blocking(partial(_median, service, kind, expected), 0.3)
            figure(f"mongo 3 s slow: {service.name} {kind}, median", f"{taken:.3f} s (0.3)")


def _median(service: Service, kind: str, expected: int) -> float:
    with httpx.Client(timeout=20) as http:
        replies = [http.get(f"{service.url}/health/{kind}") for _ in range(10)]
    assert {reply.status_code for reply in replies} == {expected}
    return statistics.median(reply.elapsed.total_seconds() for reply in replies)


def not_ready(*services: Service) -> None:
    for service in services:
        until(lambda s=service: s.health("ready")[0] == 503, 30, f"{service.name} not ready")


def claims_at(rps: float, seconds: float) -> Plan:
    """A claim of another user every so often."""
    count, run = int(rps * seconds), uuid4().hex[:8]
    intents = [Intent(n / rps, f"u{n}", 0, f"{run}-{n}", 1) for n in range(count)]
    return Plan((count,), tuple(intents), ())


async def claim_through(platform: Platform, plan: Plan, breaking: Callable[[], float]) -> Stored:
    """Claims go on while `breaking` runs in a thread; no promise is broken afterwards.

    It returns when all is repaired, with the monotonic time of that.
    """
    async with (
        platform.database() as database,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=8)) as session,
    ):
        users = [intent.user for intent in plan.intents]
        reward = await add_reward(
            database, await add_event(database, users=users), stock=plan.stock[0]
        )
        clients = Clients(platform.trio, [reward], session)
        _, repaired = await asyncio.gather(clients.run(plan), asyncio.to_thread(breaking))
        stored = await settled(database, [reward], repaired)
    assert violations(clients.calls, stored) == []
    assert len(stored.requests) == len(plan.intents), "each was granted in the end"
    return stored


def test_mongo_killed(platform: Platform, figure: Figure) -> None:
    """Live 200, ready 503, requests 503 in 2 s; back in 15 s; no acknowledged claim lost."""
    trio, away_s = platform.trio, many(60, 12)
    figures: dict[str, float] = {}

    def kill() -> float:
        with Load(trio.url, browsing(trio), RPS) as load:
            until(lambda: len(load.samples) > 50)
            platform.mongo.kill()
            killed = time.monotonic()
            try:
                not_ready(trio.auth, *trio.events)
                assert trio.gateway.health("ready")[0] == 200
                while time.monotonic() < killed + away_s:
                    assert {each.health("live")[0] for each in trio.services} == {200}
                    time.sleep(0.5)
            finally:
                platform.mongo.start()
            repaired = time.monotonic()
            until(lambda: serves(trio), 60, "serves again")
            figures["recovered"] = time.monotonic() - repaired
            for service in trio.services:
                service.wait_ready()
        failed = [s for s in load.between(killed, repaired - 2) if s.start > killed]
        found = statuses(failed)
        # 504: it was under way when the database died, so nobody knows what became of it
        assert found.keys() <= {200, 503, 504}, found
        assert found[503] > 0.95 * len(failed), found
        told_properly(failed)
        refused = [sample for sample in failed if sample.status >= 503]
        figures["median"] = median(refused)
        figures["p95"] = p95(refused)
        return repaired

    stored = asyncio.run(claim_through(platform, claims_at(4, away_s + 4), kill))
    taken = f"{figures['median']:.2f} s, {figures['p95']:.2f} s (2)"
    figure("mongo killed: refused within, median and P95", taken)
    figure("mongo killed: serves again after", f"{figures['recovered']:.1f} s (15)")
    figure("mongo killed: claims granted, none lost", str(len(stored.requests)))
    # waits add up to 2 s, and a machine that does other work adds its own
    assert figures["median"] < 2.2
    assert figures["p95"] < 5
    assert figures["recovered"] < 15


def test_mongo_three_seconds_slow(platform: Platform, figure: Figure) -> None:
    """504 at the deadline of 2 s, probes from what was read before, and no work goes on."""
    trio = platform.trio
    until(lambda: serves(trio), 60)
    with platform.wire.toxic("latency", latency=3000):
        with Load(trio.url, browsing(trio), 20) as load:
            until(lambda: 504 in statuses(load.samples), 60)
            began = time.monotonic()
            probes_answer([trio.gateway], 200, figure)
            not_ready(trio.auth, trio.events[0])
            probes_answer([trio.auth, trio.events[0]], 503, figure)
            until(lambda: len(load.between(began, time.monotonic() - 6)) > 20, 60)
        slow = load.between(began, time.monotonic())
        assert statuses(slow).keys() <= {503, 504}, statuses(slow)
        told_properly(slow)
        late = [sample for sample in slow if sample.status == 504]
        figure("mongo 3 s slow: 504 after, P95", f"{p95(late):.2f} s (2 s deadline)")
        assert min(sample.seconds for sample in late) > 1.5
        assert p95(late) < 6  # the gateway's own deadline is 5 s
        for event in trio.events:
            # this scrape is a request too
            working = partial(event.metric, "http_requests_in_progress")
            until(lambda working=working: working() <= 1, 20, "upstream work is over")
    until(lambda: serves(trio), 60, "serves again")


def test_mongo_killed_in_mid_claim(platform: Platform, figure: Figure) -> None:
    """Writes are done and their replies lost: the same keys converge, all is decided in 60 s."""
    until(lambda: serves(platform.trio), 60)

    def kill() -> float:
        time.sleep(0.5)
        with platform.wire.toxic("timeout", timeout=0):
            time.sleep(1)  # claims have sent a write by now, or wait before one
            platform.mongo.kill()
        platform.mongo.start()
        return time.monotonic()

    stored = asyncio.run(claim_through(platform, claims_at(20, 2), kill))
    figure("mongo killed in mid-claim: all decided after", f"{stored.settled_s:.1f} s (60)")


def test_five_hundred_at_once_on_an_exhausted_pool(platform: Platform, figure: Figure) -> None:
    """What the pool cannot serve is refused in time, and the service stays alive."""
    trio = platform.trio
    event = trio.events[0]
    until(lambda: serves(trio), 60)
    ask = browsing(trio)

    async def flood(url: str) -> list[Sample]:
        async with crowd() as sessions:
            asking = (send(sessions[n % len(sessions)], url, ask(n)) for n in range(500))
            return await asyncio.gather(*asking)

    with platform.wire.toxic("latency", latency=700):
        for name, url in (("event", event.url), ("gateway", trio.url)):
            with Load(event.url, lambda _: Ask("GET", "/health/live"), 10) as load:
                samples = asyncio.run(flood(url))
            found = statuses(samples)
            figure(f"500 at once on a slow database, {name}", str(found))
            assert found.keys() <= {200, 503, 504}, found
            assert found[503] > 0
            told_properly(samples)
            assert statuses(load.samples).keys() == {200}
            taken = median(load.samples)
            figure(f"500 at once, {name}: liveness of event, median", f"{taken:.3f} s (0.3)")
            assert taken < 0.3
    until(lambda: serves(trio), 60, "serves again")
