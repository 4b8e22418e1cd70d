"""Claims under schedules that dice pick: crashes, late writes, recovery in the middle."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from event.claims import Claims
from event.ids import new_id
from event.records import Request
from event.store import Store
from shared.errors import DomainError
from tests.support.event_data import add_event, add_reward
from tests.support.fake_mongo import FakeDatabase, Wrapped

SEOUL = ZoneInfo("Asia/Seoul")
EVENT, REWARD = new_id(), new_id()


async def seed(database: Any, *, stock: int, users: int, approval: str = "automatic") -> None:
    await Store(database).indexes.make()
    joined = [f"u{user}" for user in range(users)]
    await add_event(database, users=joined, _id=EVENT)
    await add_reward(database, EVENT, stock=stock, approval=approval, _id=REWARD)


class Steps:
    """Holds every database call until the schedule lets it through."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = []

    async def around(self, _method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((call, future))
        return await future

    async def let_through(self, index: int) -> None:
        call, future = self.waiting.pop(index)
        try:
            result = await call()  # also when its process has died: the write comes late
        except Exception as exc:
            if not future.done():
                future.set_exception(exc)
        else:
            if not future.done():
                future.set_result(result)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def quietly(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except DomainError as exc:
        return exc


def processes(claims: Claims) -> list[Callable[[], Awaitable[Any]]]:
    async def tidy() -> None:
        await claims.recovery.recover_stale()
        await claims.recovery.sweep()

    async def reject_first() -> None:
        for request in list(claims._requests._requests._collection.documents.values()):  # type: ignore[attr-defined]
            await quietly(claims.decide(request["public_id"], "rejected", "operator", "boss"))

    return [
        lambda: claims.claim("u0", REWARD, "key-a"),
        lambda: claims.claim("u0", REWARD, "key-a"),
        lambda: claims.claim("u0", REWARD, "key-b"),
        lambda: claims.claim("u1", REWARD, "key-a"),
        lambda: claims.claim("u2", REWARD, "key-a"),
        tidy,
        tidy,
        reject_first,
        tidy,
    ]


@pytest.mark.parametrize("block", range(4))
def test_any_schedule_with_crashes_converges(block: int) -> None:
    for seed_ in range(block * 250, block * 250 + 250):
        try:
            asyncio.run(run_schedule(random.Random(seed_)))
        except AssertionError as exc:
            raise AssertionError(f"schedule {seed_}") from exc


async def run_schedule(dice: random.Random) -> None:
    database, steps = FakeDatabase(), Steps()
    stock = dice.randint(0, 3)
    await seed(database, stock=stock, users=3, approval=dice.choice(["automatic", "manual"]))
    reward = database["rewards"].documents[REWARD]
    stepped = Wrapped(database, steps.around)
    # below 0: every process takes the work of every other one for left behind
    claims = Claims(Store(stepped), SEOUL, stale_s=-1)  # type: ignore[arg-type]
    todo = processes(claims)
    running: list[asyncio.Task[Any]] = []
    while todo or steps.waiting:
        choice = dice.randint(0, 9)
        if todo and (choice < 3 or not steps.waiting):
            start = todo.pop(dice.randrange(len(todo)))
            running.append(asyncio.ensure_future(quietly(start())))
        elif choice == 3 and running:
            running.pop(dice.randrange(len(running))).cancel()
        elif steps.waiting:
            await steps.let_through(dice.randrange(len(steps.waiting)))
        await settle()
        assert 0 <= reward["stock_left"] <= stock
    for task in running:
        task.cancel()
    answers = await asyncio.gather(*running, return_exceptions=True)

    calm = Claims(Store(database), SEOUL, stale_s=-1)  # type: ignore[arg-type]
    await calm.recovery.recover_stale()
    await calm.recovery.sweep()
    requests = list(database["requests"].documents.values())
    held = [request for request in requests if request["status"] in ("approved", "pending")]
    assert reward["stock_left"] + len(held) == stock
    assert not [request for request in requests if "op" in request]
    assert reward["ops"] == {}
    stored = {request["public_id"] for request in requests}
    for answer in answers:
        assert not isinstance(answer, Exception) or isinstance(answer, DomainError), answer
        if isinstance(answer, Request):
            assert answer.id in stored, "what was acknowledged is not lost"
