"""Concurrent claims while parts of the platform are killed, hung and cut off, drawn from a seed.

The seed decides who claims what, when, under which key, and what breaks when. How real processes
interleave is theirs: the same seed makes the same attempt, not the same microseconds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from random import Random

import aiohttp

from shared.storage.mongo import Database
from shared.tokens import Role
from tests.faults.history import DECIDED_WITHIN_S, GRANTED, REFUSALS, UNKNOWN, Call, Stored
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.toxiproxy import Wire
from tests.support.trio import Trio

SPAN_S = 6.0  # claims begin, and things break, within so many seconds
USERS = 60
NOT_FINAL = {429, 500, 502, 503, 504}
PATIENCE_S = 75.0  # how long a client asks for an answer
FAULTS = (
    "kill mongo",
    "hang mongo",
    "lose mongo's replies",
    "cut mongo off",
    "kill event",
    "hang event",
    "hang redis",
)
Figure = Callable[[str, str], None]  # what was measured, and the value


@dataclass(frozen=True)
class Intent:
    """A user wants a reward (by its place in the list); `copies` of the request go out at once."""

    at: float
    user: str
    reward: int
    key: str
    copies: int


@dataclass(frozen=True)
class Fault:
    """What breaks when, and is repaired `seconds` later; `target` is which event process."""

    at: float
    what: str
    seconds: float
    target: int


@dataclass(frozen=True)
class Plan:
    """All that a seed decides; `stock` by reward, all but the last approved automatically."""

    stock: tuple[int, ...]
    intents: tuple[Intent, ...]
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan of a seed; every kind of fault comes within any seven seeds in a row."""
        random = Random(seed)
        kinds = [FAULTS[seed % len(FAULTS)], *random.choices(FAULTS, k=2)]
        faults = [
            Fault(random.uniform(0.3, SPAN_S), what, random.uniform(0.5, 4), random.randrange(2))
            for what in kinds
        ]
        stock = (random.randint(30, 50), random.randint(30, 50))
        intents = []
        for number in range(USERS):
            for reward in range(len(stock)):
                for claim in range(random.choice((1, 1, 2))):  # some ask again, under another key
                    key = f"s{seed}-{number}-{reward}-{claim}"
                    copies = random.choice((1, 1, 1, 2, 3))
                    # most come as something breaks: it has to hit claims between their writes
                    at = random.choice(faults).at + random.uniform(-0.25, 0.05)
                    if random.random() < 0.2:
                        at = random.uniform(0, SPAN_S)
                    intents.append(Intent(at, f"u{number}", reward, key, copies))
        return cls(stock, tuple(intents), tuple(sorted(faults, key=lambda fault: fault.at)))


@dataclass
class Platform:
    """What is broken: the trio, its servers, and the wire to its database."""

    trio: Trio
    mongo: EmbeddedMongo
    valkey: EmbeddedValkey
    wire: Wire

    def __post_init__(self) -> None:
        self._locks = defaultdict[str, threading.Lock](threading.Lock)

    def database(self) -> AbstractAsyncContextManager[Database]:
        """That of event, past the wire."""
        return self.trio.events[0].database(self.mongo.url)

    async def break_all(self, plan: Plan) -> float:
        """Let everything break and be repaired; the monotonic time when all are ready again."""
        # With a wire of some length, claims are between two of their writes most of the time.
        with self.wire.toxic("latency", latency=25, jitter=20):
            await asyncio.gather(*(asyncio.to_thread(self._run, fault) for fault in plan.faults))
        for service in self.trio.services:
            await asyncio.to_thread(service.wait_ready)
        return time.monotonic()

    def _run(self, fault: Fault) -> None:
        time.sleep(fault.at)
        victim = next(name for name in ("mongo", "event", "redis") if name in fault.what)
        # one fault of a victim at a time: what is hung cannot be started again
        lock = self._locks[f"event {fault.target}" if victim == "event" else victim]
        with lock, self._broken(fault):
            time.sleep(fault.seconds)

    @contextmanager
    def _broken(self, fault: Fault) -> Iterator[None]:
        if "mongo's" in fault.what:  # its replies are lost
            with self.wire.toxic("timeout", timeout=0):
                yield
        elif "cut" in fault.what:
            with self.wire.cut():
                yield
        else:
            how, _, what = fault.what.partition(" ")
            event = self.trio.events[fault.target]
            victim = {"mongo": self.mongo, "redis": self.valkey, "event": event}[what]
            (victim.kill if how == "kill" else victim.pause)()
            try:
                yield
            finally:
                (victim.start if how == "kill" else victim.resume)()
            if how == "kill" and victim is event:
                event.wait_ready()


async def settled(database: Database, rewards: list[str], repaired: float) -> Stored:
    """The database once nothing is left to be done, or as it is when that takes too long."""
    while True:
        taken = max(0.0, time.monotonic() - repaired)
        requests = await database["requests"].find({"reward_id": {"$in": rewards}})
        found = await database["rewards"].find({"_id": {"$in": rewards}})
        if not any("op" in request for request in requests) or taken > DECIDED_WITHIN_S:
            return Stored({reward["_id"]: reward for reward in found}, requests, taken)
        await asyncio.sleep(0.1)


class Clients:
    """Users who ask until they are answered; `calls` is the history."""

    def __init__(self, trio: Trio, rewards: list[str], session: aiohttp.ClientSession) -> None:
        self._trio, self._rewards, self._session = trio, rewards, session
        self.calls: list[Call] = []

    async def run(self, plan: Plan) -> None:
        """All intents of a plan, each at its time."""
        await asyncio.gather(
            *(self._ask(intent) for intent in plan.intents for _ in range(intent.copies))
        )

    async def _ask(self, intent: Intent) -> None:
        await asyncio.sleep(intent.at)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            call = await self._attempt(intent)
            self.calls.append(call)
            if call.outcome != UNKNOWN:
                return
            await asyncio.sleep(0.3)

    async def _attempt(self, intent: Intent) -> Call:
        reward = self._rewards[intent.reward]
        headers = {**self._trio.headers(intent.user, Role.USER), "Idempotency-Key": intent.key}
        url = f"{self._trio.url}/api/v1/rewards/{reward}/requests"
        start, outcome, body = time.monotonic(), UNKNOWN, {}
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.post(url, headers=headers) as reply:
                body = await reply.json(content_type=None)
                outcome = _outcome(reply.status, body.get("code", ""))
        return Call(intent.user, reward, intent.key, start, time.monotonic(), outcome, body)


def _outcome(status: int, code: str) -> str:
    if status == 201:
        return GRANTED
    if status in NOT_FINAL or code == "in_flight":
        return UNKNOWN
    return code if code in REFUSALS else f"{status} {code}"
