"""Lists, counts and members on a real server through both drivers."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from event import signals
from event.gauges import Gauges
from event.ids import new_id
from event.records import Op, Participation, Request
from event.repository import MAX_REWARDS
from event.schemas import RewardIn
from event.service import Service
from event.store import Store
from plainview.testing import metric_delta
from shared.errors import Conflict
from shared.storage.mongo import Database
from tests.support.event_data import add_event, add_reward

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def store(database: Database) -> Store:
    store = Store(database)
    await store.indexes.make()
    return store


async def add_request(store: Store, at: datetime, status: str = "approved", **more: Any) -> str:
    given = {"event_id": "e", "reward_id": new_id(), "user_id": "u", **more}
    request = Request(
        id=new_id(at),
        user_key=uuid4().hex,
        approval="manual",
        status=status,
        reason="none",
        created_at=at,
        **given,
    )
    await store.requests.add_request(request)
    return request.id


async def test_pages_of_requests_are_complete_and_newest_first(store: Store) -> None:
    ids = [await add_request(store, NOW + timedelta(seconds=n // 3)) for n in range(25)]
    seen: list[str] = []
    after = None
    while rows := await store.requests.list_requests({}, after, 7):
        seen += [row.id for row in rows]
        after = seen[-1]
        await add_request(store, NOW + timedelta(days=1), user_id="newer")
    assert seen == sorted(ids, reverse=True)


async def test_requests_are_filtered_by_each_field_and_period(store: Store) -> None:
    old = await add_request(store, NOW - timedelta(days=2), reward_id="r1", user_id="a")
    new = await add_request(
        store, NOW, reward_id="r2", user_id="b", event_id="e2", status="pending"
    )
    being_made = await add_request(store, NOW, reward_id="r3", status="working")

    async def found(**filters: str) -> set[str]:
        return {row.id for row in await store.requests.list_requests(filters, None, 10)}

    assert await found(user_id="a") == {old}
    assert await found(event_id="e2") == {new}
    assert await found(reward_id="r1") == {old}
    assert await found(status="approved") == {old}
    assert await found(status="pending") == {new, being_made}
    assert await found(created_from=NOW) == {new, being_made}
    assert await found(created_to=NOW) == {old}
    assert await found(created_to=NOW, user_id="b") == set()
    request = await store.requests.request(old)
    assert request
    assert request.user_id == "a"
    assert await store.requests.request(new_id()) is None


async def test_events_and_participations_page(database: Database, store: Store) -> None:
    users = [f"u{n:02}" for n in range(5)]
    events = [await add_event(database, users=users) for _ in range(3)]
    draft = await add_event(database, status="draft")
    listed = [event.id for event in await store.events.list_events(["active"], None, 10)]
    assert listed == sorted(events, reverse=True)
    assert draft in [
        event.id for event in await store.events.list_events(["active", "draft"], None, 10)
    ]
    rest = await store.events.list_events(["active", "draft"], listed[1], 10)
    assert [event.id for event in rest] == listed[2:]
    page = await store.events.list_participations(events[1], "u01", 2)
    assert [row.user_id for row in page] == ["u02", "u03"]
    assert await store.events.participations_of("u00") == 3


async def test_joining_twice_counts_once_and_a_lost_count_is_put_right(
    database: Database, store: Store
) -> None:
    event_id = await add_event(database)
    joining = Participation(event_id=event_id, user_id="u", joined_at=NOW)
    assert [await store.events.join(joining) for _ in range(2)] == [True, False]
    event = await store.events.event(event_id)
    assert event
    assert event.participants == 1
    uncounted = replace(joining, user_id="v").document()
    await database["participations"].insert_one(uncounted)
    await Gauges(store).turn()
    event = await store.events.event(event_id)
    assert event
    assert event.participants == 2


async def test_only_one_of_two_changes_of_an_event_wins(database: Database, store: Store) -> None:
    event = await store.events.event(await add_event(database))
    assert event
    changed = await store.events.change_event(event, {"status": "closed"})
    assert changed
    assert changed.status == "closed"
    assert await store.events.change_event(event, {"title": "late"}) is None


async def test_announcements_of_members_are_idempotent_and_bounded(
    store: Store,
) -> None:
    at = NOW
    assert [await store.members.registered("u", at) for _ in range(2)] == [True, False]
    assert [await store.members.logged_in("u", at, "20261123") for _ in range(2)] == [True, False]
    assert await store.members.logged_in("v", at, "20261123"), "a sign-in may come first"
    for n in range(405):
        day = NOW + timedelta(days=n)
        await store.members.logged_in("v", day, day.strftime("%Y%m%d"))
    member = await store.members.member("v")
    assert member
    assert len(member.login_days) == 400
    assert max(member.login_days) == (NOW + timedelta(days=404)).strftime("%Y%m%d")


async def test_gauges_tell_the_state_of_the_database(database: Database, store: Store) -> None:
    event = await add_event(database, users=["a", "b"])
    reward = await add_reward(database, event, stock=7)
    at = datetime.now(UTC)
    for user in ("a", "b", "c", "d"):
        await store.members.registered(user, at - timedelta(minutes=10))
    await store.members.logged_in("a", at, "20261123")
    for n, status in enumerate(["approved", "approved", "approved", "rejected", "pending"]):
        await add_request(store, at, status, user_id=f"x{n}", decided_at=at, decided_by="boss")
    stuck = new_id(at - timedelta(seconds=90))
    await add_request(store, at, "working", op=Op(stuck, -1))
    for n, status in enumerate(["approved"] * 3 + ["rejected", "working"]):
        await add_request(store, at, status, user_id=f"y{n}", event_id=event)
    closed = await add_event(database, status="closed")
    await add_reward(database, closed, stock=1)

    for gauge in (signals.EVENTS_ACTIVE, signals.AWAITING_DECISION, signals.REQUESTS_PENDING):
        gauge.set(0)
    signals.APPROVAL_RATIO.set(0)
    signals.OLDEST_PENDING.set(0)
    for kind in signals.Activity:
        signals.ACTIVITY_RECENT.set(0, kind=kind)
    async with (
        metric_delta(signals.EVENTS_ACTIVE) as events,
        metric_delta(signals.PARTICIPANTS, event_id=event) as participants,
        metric_delta(signals.PARTICIPATION_RATE, event_id=event) as rate,
        metric_delta(signals.STOCK_LEFT, event_id=event, reward_id=reward) as left,
        metric_delta(signals.EVENT_REQUESTS, event_id=event, status="approved") as granted,
        metric_delta(signals.EVENT_REQUESTS, event_id=event, status="rejected") as declined,
        metric_delta(signals.AWAITING_DECISION) as awaiting,
        metric_delta(signals.REQUESTS_PENDING) as pending,
        metric_delta(signals.OLDEST_PENDING) as oldest,
        metric_delta(signals.APPROVAL_RATIO) as ratio,
        metric_delta(signals.ACTIVITY_RECENT, kind="sign_in") as sign_ins,
        metric_delta(signals.ACTIVITY_RECENT, kind="sign_up") as sign_ups,
        metric_delta(signals.ACTIVITY_RECENT, kind="decision") as decisions,
    ):
        await Gauges(store).turn()
    assert (events.value, participants.value, rate.value, left.value) == (1, 2, 0.5, 7)
    assert (awaiting.value, pending.value, ratio.value) == (1, 1, 0.75)
    assert 90 <= oldest.value < 120
    assert (sign_ins.value, sign_ups.value, decisions.value) == (1, 0, 5)
    assert (granted.value, declined.value) == (3, 1)
    assert len(signals.EVENT_REQUESTS._children) == 3, "one event, three statuses"
    assert (event, reward) in signals.STOCK_LEFT._children
    assert len(signals.STOCK_LEFT._children) == 1, "only active events have series"


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "of an older version"])
async def test_many_at_once_make_no_more_rewards_than_the_cap(
    database: Database, store: Store, counted: bool
) -> None:
    there = MAX_REWARDS - 3
    event = await add_event(database, **({"rewards": there} if counted else {}))
    for _ in range(there):
        await add_reward(database, event, stock=1)
    service, given = Service(store), RewardIn(name="One of many", kind="item", stock=1)
    made = await asyncio.gather(
        *(service.create_reward(event, given) for _ in range(12)), return_exceptions=True
    )
    refused = [each for each in made if isinstance(each, Conflict)]
    assert {each.code for each in refused} == {"too_many_rewards"}
    assert (len(refused), len(made)) == (9, 12)
    assert len(await store.events.rewards_of(event)) == MAX_REWARDS
