"""Claims of one reward: what a refused one costs beside a granted one, on the stand-in database."""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import bson
import httpx
from pymongo import MongoClient

from event.settings import Settings
from lab.bench.event import event_services, make_event
from lab.bench.load import CONNECTIONS, Measured
from lab.bench.processes import Process
from lab.bench.rig import Ratio, Rig, median_ratio, table
from shared.tokens import Role

USERS = 300


def bench(rig: Rig) -> list[Ratio]:
    """CPU of the event service per claim, all claims by users who take part in the event."""
    services, mongo = event_services(rig)
    event = services[1]
    found = asyncio.run(_bench(rig, event, make_event(rig, event)))
    table("claim of one reward", found)
    rate, marker = statistics.median(each.rate for each in found["granted"]), _growth(mongo) / USERS
    between = Settings.model_fields["reconcile_seconds"].default
    print(f"on the stand-in: {rate:.0f} claims a second on one reward; {marker:.0f} bytes of its")
    print(
        f"document a claim, so {marker * 500 * between / 1000:.0f} KB at 500 claims a second until"
    )
    print(f"the next sweep ({between:g} s)")
    value = median_ratio(found["sold out"], found["granted"], lambda each: each.cpu_us)
    return [Ratio("sold_out_over_granted", value, 0.5, least=False)]


async def _bench(rig: Rig, event: Process, event_id: str) -> dict[str, list[Measured]]:
    users = [(f"user-{number}", rig.bearer(f"user-{number}", Role.USER)) for number in range(USERS)]
    found: dict[str, list[Measured]] = {"granted": [], "sold out": []}
    limits = httpx.Limits(max_connections=CONNECTIONS)
    base = f"{event.url}/api/v1"
    async with httpx.AsyncClient(base_url=base, limits=limits, trust_env=False, timeout=30) as http:

        async def post(path: str, headers: dict[str, str], body: Any, expected: int) -> Any:
            reply = await http.post(path, headers=headers, json=body)
            if reply.status_code != expected:
                raise RuntimeError(f"{path}: {reply.status_code} {reply.text}")
            return reply.json()

        async def reward(stock: int) -> str:
            body = {
                "name": "A reward", "kind": "points", "amount": 1,
                "stock": stock, "approval": "automatic",
            }  # fmt: skip
            operator = rig.bearer("boss", Role.OPERATOR)
            made = await post(f"/events/{event_id}/rewards", operator, body, 201)
            return str(made["id"])

        def claim(reward_id: str, expected: int) -> Callable[..., Coroutine[Any, Any, Any]]:
            async def one(user: str, headers: dict[str, str]) -> None:
                keyed = {**headers, "Idempotency-Key": f"{reward_id}-{user}"}
                await post(f"/rewards/{reward_id}/requests", keyed, None, expected)

            return one

        async def join(_user: str, headers: dict[str, str]) -> None:
            await post(f"/events/{event_id}/participations", headers, None, 201)

        await _all(users, join)
        for number in range(rig.rounds + 1):
            for name, stock, expected in (("granted", USERS, 201), ("sold out", 0, 409)):
                one = claim(await reward(stock), expected)
                measured = await _measured(event, users, one)
                if number:
                    found[name].append(measured)
    return found


async def _measured(event: Process, users: Sequence[Any], one: Callable[..., Any]) -> Measured:
    cpu, began = event.cpu_s, time.monotonic()
    await _all(users, one)
    took = time.monotonic() - began
    return Measured(len(users) / took, (event.cpu_s - cpu) / len(users) * 1e6)


async def _all(users: Sequence[Any], one: Callable[..., Any]) -> None:
    places = asyncio.Semaphore(CONNECTIONS)

    async def placed(user: str, headers: dict[str, str]) -> None:
        async with places:
            await one(user, headers)

    await asyncio.gather(*(placed(*user) for user in users))


def _growth(mongo: str) -> int:
    """Bytes by which the claims since the last sweep have made a reward's document larger."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongo)
    rewards = client["event_rewards_event"]["rewards"].find()
    sizes = [len(bson.encode(reward)) for reward in rewards]
    client.close()
    return max(sizes) - min(sizes)
