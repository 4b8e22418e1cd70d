"""What a claim asks of its database: how often, and that nothing is answered from memory."""

from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from event.claims import Claims
from event.errors import AlreadyRequested, InFlight, Refused, SoldOut
from event.ids import new_id
from event.records import Op, Request
from event.states import WORKING
from event.store import Store
from shared.times import now
from tests.support.event_data import add_event, add_reward
from tests.support.fake_mongo import WRITES, FakeDatabase, Wrapped

EVENT, REWARD = new_id(), new_id()


class Recorded:
    """Claims over a database in memory; `calls` are the methods called since the last `take`."""

    def __init__(self, approval: str = "automatic", stock: int = 1) -> None:
        self.calls: list[str] = []
        self.database, self.approval, self.stock = FakeDatabase(), approval, stock
        self.store = Store(self.database)
        watched = Store(Wrapped(self.database, self._around))
        self.claims = Claims(watched, ZoneInfo("Asia/Seoul"), 15)

    async def _around(self, method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self.calls.append(method)
        return await call()

    def take(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls

    async def seeded(self) -> "Recorded":
        await self.store.indexes.make()
        await add_event(self.database, users=("ann", "ben", "cay"), _id=EVENT)
        await add_reward(self.database, EVENT, stock=self.stock, approval=self.approval, _id=REWARD)
        return self


async def test_a_granted_claim_is_three_reads_and_three_writes():
    """docs/decisions/0003 says why each of them is needed."""
    shop = await Recorded().seeded()
    await shop.claims.claim("ann", REWARD, "k1")
    assert shop.take() == [*["find_one"] * 3, *("insert_one", "update_one", "find_one_and_update")]


async def test_a_sold_out_claim_is_two_reads_and_no_write():
    shop = await Recorded(stock=0).seeded()
    for user, key in (("ann", "k1"), ("ann", "k1"), ("nobody", "k2")):
        with pytest.raises(SoldOut):
            await shop.claims.claim(user, REWARD, key)
        calls = shop.take()
        assert len(calls) <= 2
        assert WRITES.isdisjoint(calls)


async def test_sold_out_or_not_a_repeated_key_gets_its_first_reply():
    shop = await Recorded(stock=2).seeded()
    first = await shop.claims.claim("ann", REWARD, "k1")
    before = await shop.claims.claim("ann", REWARD, "k1")
    await shop.claims.claim("ben", REWARD, "k1")
    shop.take()
    after = await shop.claims.claim("ann", REWARD, "k1")
    assert first == before == after
    assert len(shop.take()) <= 2
    with pytest.raises(AlreadyRequested):
        await shop.claims.claim("ann", REWARD, "another key")
    assert len(shop.take()) <= 2


@pytest.mark.parametrize("how", ["restock", "rejection"])
async def test_the_claim_after_a_restock_or_a_rejection_sees_the_stock(how):
    shop = await Recorded("manual").seeded()
    held = await shop.claims.claim("ann", REWARD, "k1")
    with pytest.raises(SoldOut):
        await shop.claims.claim("ben", REWARD, "k2")
    if how == "restock":
        reward = await shop.store.events.reward(REWARD)
        assert reward
        await shop.store.events.restock(reward, 2)
    else:
        await shop.claims.decide(held.id, "rejected", "operator", "boss")
    granted = await shop.claims.claim("ben", REWARD, "k2")
    assert granted.status == "pending"
    with pytest.raises(SoldOut):
        await shop.claims.claim("cay", REWARD, "k3")
    # a rejected request still answers its key as it did, with stock left and without
    assert (await shop.claims.claim("ann", REWARD, "k1")).status == "pending"


@pytest.mark.parametrize("stock", [1, 0], ids=["some left", "sold out"])
async def test_another_key_is_told_nothing_final_while_a_request_is_unfinished(stock):
    shop = await Recorded(stock=stock).seeded()
    about = {"event_id": EVENT, "reward_id": REWARD, "user_id": "ann", "user_key": "ann:k1"}
    state = {"status": WORKING, "reason": "none", "created_at": now(), "op": Op(new_id(), -1)}
    waiting = Request(id=new_id(), approval="automatic", **about, **state)
    await shop.store.requests.add_request(waiting)
    with pytest.raises(InFlight):
        await shop.claims.claim("ann", REWARD, "k2")
    await shop.database["requests"].delete_one({"_id": waiting.key})  # it found nothing left
    outcome = shop.claims.claim("ann", REWARD, "k2")
    if stock:
        assert (await outcome).status == "approved"
    else:
        with pytest.raises(SoldOut):
            await outcome


async def test_nothing_left_is_said_before_what_else_is_missing():
    shop = await Recorded(stock=0).seeded()
    await shop.database["events"].update_one({"_id": EVENT}, {"$set": {"status": "closed"}})
    with pytest.raises(Refused) as caught:
        await shop.claims.claim("stranger", REWARD, "k1")
    assert isinstance(caught.value, SoldOut)
