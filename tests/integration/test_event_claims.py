"""Claims on a real server through both drivers: crashes at every write, late writes, floods."""

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from event import signals
from event.claims import Claims
from event.errors import AlreadyRequested, InFlight, KeyMismatch, SoldOut
from event.gauges import Gauges
from event.records import Request
from event.store import Store
from plainview.testing import captured_logs, metric_delta
from shared.errors import Timeout, Unavailable
from shared.storage.mongo import Database
from tests.support.event_data import add_event, add_reward, offered
from tests.support.fake_mongo import Crash, crash_at

SEOUL = ZoneInfo("Asia/Seoul")
NOW = -1.0  # seconds: whatever is unfinished counts as left behind


@pytest.fixture
async def database(database: Database) -> Database:
    await Store(database).indexes.make()
    return database


def claims(database: Any, stale_s: float = 15) -> Claims:
    return Claims(Store(database), SEOUL, stale_s)


async def consistent(database: Database, reward_id: str, stock: int) -> dict[str, str]:
    """Status by user; everything adds up and nothing is left to be done."""
    reward = await database["rewards"].find_one({"_id": reward_id})
    requests = await database["requests"].find({"reward_id": reward_id})
    assert reward
    assert not [request for request in requests if "op" in request]
    assert reward["ops"] == {}
    held = [request for request in requests if request["status"] in ("approved", "pending")]
    assert reward["stock_left"] + len(held) == stock
    assert reward["stock_left"] >= 0
    return {request["user_id"]: request["status"] for request in requests}


async def crash(database: Database, reward: str, write: int, *, done: bool) -> None:
    """The process that claims for `u` dies at this write."""
    with pytest.raises(Crash):
        await claims(crash_at(database, write, done=done)).claim("u", reward, "key")


async def tidy(database: Database) -> None:
    await claims(database, NOW).recovery.recover_stale()
    await claims(database, NOW).recovery.sweep()


async def attempt(service: Claims, user: str, reward: str, key: str = "key") -> Any:
    """The final answer of a client that retries while its request is in flight."""
    while True:
        try:
            return (await service.claim(user, reward, key)).id
        except (InFlight, Timeout, Unavailable):  # a busy machine
            await asyncio.sleep(0.02)
        except (SoldOut, AlreadyRequested, KeyMismatch) as exc:
            return exc.code


async def test_50_parallel_claims_with_one_key_have_one_effect(database: Database) -> None:
    reward = await offered(database, "u", stock=10)
    service = claims(database)
    replies = await asyncio.gather(
        *(service.claim("u", reward, "key") for _ in range(50)), return_exceptions=True
    )
    assert all(isinstance(reply, InFlight | Unavailable | Timeout | Request) for reply in replies)
    finals = await asyncio.gather(*(attempt(service, "u", reward) for _ in range(50)))
    assert len(set(finals)) == 1
    first = await service.claim("u", reward, "key")
    assert first.id == finals[0]
    assert all(reply == first for reply in replies if isinstance(reply, Request))
    await tidy(database)
    assert await consistent(database, reward, 10) == {"u": "approved"}


async def test_300_claims_of_150_users_grant_exactly_the_stock(database: Database) -> None:
    users = [f"u{n}" for n in range(150)]
    reward = await offered(database, *users, stock=30)
    both = [claims(database), claims(database)]
    answers = await asyncio.gather(
        *(attempt(both[n % 2], user, reward, f"key-{n % 3}") for n, user in enumerate(users * 2))
    )
    granted = {answer for answer in answers if len(answer) == 24}
    assert len(granted) == 30
    assert {a for a in answers if len(a) != 24} <= {"sold_out", "already_requested"}
    await tidy(database)
    assert len(await consistent(database, reward, 30)) == 30


@pytest.mark.parametrize("done", [False, True], ids=["lost", "reply-lost"])
@pytest.mark.parametrize("write", [1, 2, 3])
@pytest.mark.parametrize("approval", ["automatic", "manual"])
async def test_a_claim_converges_after_a_crash_at_any_write(
    database: Database, write: int, done: bool, approval: str
) -> None:
    reward = await offered(database, "u", stock=1, approval=approval)
    await crash(database, reward, write, done=done)
    await tidy(database)
    before = await consistent(database, reward, 1)
    assert (before != {}) == (write > 1 or done), "recovery finishes what was begun"
    first = await claims(database).claim("u", reward, "key")
    assert await claims(database).claim("u", reward, "key") == first
    await tidy(database)
    status = "approved" if approval == "automatic" else "pending"
    assert await consistent(database, reward, 1) == {"u": status}


@pytest.mark.parametrize("done", [False, True], ids=["lost", "reply-lost"])
@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_retry_takes_a_stale_claim_over_without_the_reconciler(
    database: Database, write: int, done: bool
) -> None:
    reward = await offered(database, "u", stock=1)
    await crash(database, reward, write, done=done)
    assert (await claims(database, NOW).claim("u", reward, "key")).status == "approved"


@pytest.mark.parametrize("done", [False, True], ids=["lost", "reply-lost"])
@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_claim_that_timed_out_is_taken_up_at_once_by_its_own_process(
    database: Database, write: int, done: bool
) -> None:
    reward = await offered(database, "u", stock=1)
    service = claims(crash_at(database, write, done=done, error=Timeout, once=True))
    with pytest.raises(Timeout):
        await service.claim("u", reward, "key")
    if write == 2:
        await service.recovery.recover_stale()
    assert (await service.claim("u", reward, "key")).status == "approved"
    await service.recovery.sweep()
    assert await consistent(database, reward, 1) == {"u": "approved"}


@pytest.mark.parametrize("done", [False, True], ids=["lost", "reply-lost"])
@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_rejection_returns_the_stock_after_a_crash_at_any_write(
    database: Database, write: int, done: bool
) -> None:
    reward = await offered(database, "u", stock=1, approval="manual")
    request = await claims(database).claim("u", reward, "key")
    broken = claims(crash_at(database, write, done=done))
    with pytest.raises(Crash):
        await broken.decide(request.id, "rejected", "late", "boss")
    await tidy(database)
    again = await claims(database).decide(request.id, "rejected", "late", "boss")
    assert again.status == "rejected"
    await tidy(database)
    assert await consistent(database, reward, 1) == {"u": "rejected"}


@pytest.mark.parametrize("write", range(1, 6))
async def test_recovery_itself_may_crash_at_any_write(database: Database, write: int) -> None:
    reward = await offered(database, "u", stock=1)
    await crash(database, reward, 1, done=True)
    broken = claims(crash_at(database, write, done=True), NOW)
    try:
        await broken.recovery.recover_stale()
        await broken.recovery.sweep()
    except Crash:
        pass
    else:
        assert write > 4, "recovery and sweep are five writes"
    await tidy(database)
    assert await consistent(database, reward, 1) == {"u": "approved"}


async def test_a_write_that_comes_after_recovery_changes_nothing(database: Database) -> None:
    reward = await offered(database, "u", "v", stock=2)
    await crash(database, reward, 2, done=False)
    store = Store(database)
    (request,) = await store.requests.unfinished()
    late = request.op
    assert late
    async with metric_delta(signals.RECOVERED, outcome="finished") as finished:
        await tidy(database)
    assert finished.value == 1
    assert not await store.requests.move_stock(reward, late)
    assert await store.requests.finish(request, late.id, status="approved") is None
    await tidy(database)
    assert await consistent(database, reward, 2) == {"u": "approved"}


async def test_recovery_undoes_what_is_sold_out_meanwhile(database: Database) -> None:
    reward = await offered(database, "u", "v", stock=1)
    await crash(database, reward, 1, done=True)
    await claims(database).claim("v", reward, "key")
    async with metric_delta(signals.RECOVERED, outcome="undone") as undone:
        await tidy(database)
    assert undone.value == 1
    assert await consistent(database, reward, 1) == {"v": "approved"}
    with pytest.raises(SoldOut):
        await claims(database).claim("u", reward, "key")


async def test_gauges_see_a_violation_only_when_it_stays(database: Database) -> None:
    reward = await offered(database, "u", "v", stock=5)
    await claims(database).claim("u", reward, "key")
    await tidy(database)
    gauges = Gauges(Store(database))

    async def violations() -> float:
        async with metric_delta(signals.VIOLATIONS) as change:
            await gauges.turn()
        return change.value

    signals.VIOLATIONS.set(0)
    assert [await violations(), await violations()] == [0, 0]
    await database["rewards"].update_one({"_id": reward}, {"$inc": {"stock_left": 1}})
    assert [await violations(), await violations()] == [0, 1]
    await database["rewards"].update_one({"_id": reward}, {"$inc": {"stock_left": -1}})
    assert await violations() == -1


async def test_restock_moves_both_numbers_if_none_was_moved_meanwhile(
    database: Database,
) -> None:
    one = await offered(database, "u", stock=1)
    await claims(database).claim("u", one, "key")
    rewards = Store(database).events
    reward = await rewards.reward(one)
    assert reward
    changed = await rewards.restock(reward, 4)
    assert changed
    assert (changed.stock, changed.stock_left) == (4, 3)
    assert await rewards.restock(reward, 5) is None, "it was changed meanwhile"
    assert await rewards.restock(changed, 0) is None, "one is granted"


async def test_log_lines_tell_event_reward_and_status(database: Database) -> None:
    event = await add_event(database, users=["a", "b"])
    reward = await add_reward(database, event, stock=1, approval="manual")
    service = claims(database)
    with captured_logs() as lines:
        request = await service.claim("a", reward, "key")
        with pytest.raises(SoldOut):
            await service.claim("b", reward, "key")
        await service.decide(request.id, "approved", "operator", "boss")
    told = [line for line in lines if line["event"].startswith("reward.")]
    assert [(line["event"], line["status"]) for line in told] == [
        ("reward.claimed", "pending"),
        ("reward.refused", "refused"),
        ("reward.decided", "approved"),
    ]
    assert {(line["event_id"], line["reward_id"]) for line in told} == {(event, reward)}
