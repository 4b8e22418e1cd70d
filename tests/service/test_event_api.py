"""The event service as its callers see it."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from event import signals
from event.ids import new_id
from plainview.testing import metric_delta
from shared.tokens import Role
from tests.support.event_data import add_event, add_reward, new_event

KEY = {"Idempotency-Key": "key-1"}


@pytest.fixture
def user(service):
    return service.as_("u", Role.USER)


@pytest.fixture
def operator(service):
    return service.as_("boss", Role.OPERATOR)


def code(reply: httpx.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    return str(reply.json()["code"])


async def test_from_an_event_to_a_granted_reward(service, user, operator):
    reply = await operator.post("/events", json=new_event(conditions=[]))
    assert reply.status_code == 201
    event = reply.json()
    assert event["status"] == "draft"
    assert event["participants"] == 0
    assert event["starts_at"].endswith("Z")
    url = f"/events/{event['id']}"
    assert (await operator.get(url)).json() == event
    reward = {"name": "A coupon", "kind": "coupon", "amount": 1, "stock": 2}
    reply = await operator.post(f"{url}/rewards", json={**reward, "approval": "automatic"})
    assert reply.status_code == 201
    reward_id = reply.json()["id"]
    about = {"id": reward_id, "event_id": event["id"], "stock_left": 2, "approval": "automatic"}
    expected = {**reward, **about}
    assert reply.json() == expected
    assert (await operator.get(f"{url}/rewards")).json() == {"items": [expected]}

    assert (await operator.patch(url, json={"status": "active"})).json()["status"] == "active"
    async with metric_delta(signals.PARTICIPATIONS, outcome="joined") as joined:
        reply = await user.post(f"{url}/participations")
        again = await user.post(f"{url}/participations")
    assert (await user.get(f"{url}/rewards")).json() == {"items": [expected]}
    assert (reply.status_code, again.status_code, joined.value) == (201, 200, 1)
    assert reply.json() == again.json()
    assert set(reply.json()) == {"event_id", "user_id", "joined_at"}
    assert (await user.get(url)).json()["participants"] == 1

    claim = f"/rewards/{reward_id}/requests"
    async with metric_delta(signals.REQUESTS, status="approved", reason="none") as granted:
        reply = await user.post(claim, headers=KEY)
        again = await user.post(claim, headers=KEY, json={})
    assert (reply.status_code, again.status_code, granted.value) == (201, 201, 1)
    assert reply.json() == again.json()
    request = reply.json()
    assert (request["status"], request["reason"]) == ("approved", "none")
    assert request["decided_at"] >= request["created_at"]
    assert set(request) == {
        *("id", "event_id", "reward_id", "user_id", "status", "reason"),
        *("created_at", "decided_at"),
    }
    assert (await user.get(f"/reward-requests/{request['id']}")).json() == request
    assert (await user.get(f"/rewards/{reward_id}")).json()["stock_left"] == 1
    reply = await user.post(claim, headers={"Idempotency-Key": "key-2"})
    assert code(reply, 409) == "already_requested"


async def test_what_a_key_means(service, user):
    event = await add_event(service.database, users=["u", "v"])
    one, other = [await add_reward(service.database, event, stock=5) for _ in range(2)]
    for bad in ({}, {"Idempotency-Key": ""}, {"Idempotency-Key": "a b"}):
        reply = await user.post(f"/rewards/{one}/requests", headers=bad)
        assert code(reply, 400) == "missing_idempotency_key"
    reply = await user.post(f"/rewards/{one}/requests", headers=KEY, json={"stock": 3})
    assert code(reply, 422) == "invalid_request"
    async with (
        metric_delta(signals.IDEMPOTENCY, outcome="first") as first,
        metric_delta(signals.IDEMPOTENCY, outcome="replayed") as replayed,
        metric_delta(signals.IDEMPOTENCY, outcome="mismatch") as mismatch,
        metric_delta(signals.IDEMPOTENCY, outcome="in_flight") as in_flight,
    ):
        reply = await user.post(f"/rewards/{one}/requests", headers=KEY)
        assert (await user.post(f"/rewards/{one}/requests", headers=KEY)).json() == reply.json()
        wrong = await user.post(f"/rewards/{other}/requests", headers=KEY)
        assert code(wrong, 422) == "key_mismatch"
        same = await service.as_("v", Role.USER).post(f"/rewards/{other}/requests", headers=KEY)
        assert same.status_code == 201, "keys are the user's own"
        request = service.database["requests"].documents[f"{one}:u"]
        request.update(status="working", op={"id": new_id(), "delta": -1})
        busy = await user.post(f"/rewards/{one}/requests", headers=KEY)
        assert code(busy, 409) == "in_flight"
        assert int(busy.headers["retry-after"]) >= 1
    assert (first.value, replayed.value, mismatch.value, in_flight.value) == (2, 1, 1, 1)


async def test_a_refused_claim_is_counted_with_its_reason_and_leaves_nothing(service, user):
    open_ = await add_event(service.database, users=["u"])
    closed = await add_event(service.database, users=["u"], status="closed")
    over = await add_event(service.database, users=["u"], ends_at="2020-01-01T00:00:00.000Z")
    soon = await add_event(service.database, users=["u"], starts_at="2999-01-01T00:00:00.000Z")
    hard = await add_event(
        service.database,
        users=["u"],
        conditions=[
            {"type": "participations", "count": 2},
            {"type": "login_streak", "days": 3},
            {"type": "account_age", "days": 1},
        ],
    )
    others = await add_event(service.database, users=["v"])
    for event, stock, expected, reason in [
        (open_, 0, "sold_out", "sold_out"),
        (closed, 1, "event_not_active", "event_not_active"),
        (over, 1, "event_not_active", "event_not_active"),
        (soon, 1, "event_not_active", "event_not_active"),
        (hard, 1, "condition_unmet", "condition_unmet"),
        (others, 1, "participation_required", "condition_unmet"),
    ]:
        reward = await add_reward(service.database, event, stock=stock)
        async with metric_delta(signals.REQUESTS, status="refused", reason=reason) as refused:
            reply = await user.post(f"/rewards/{reward}/requests", headers=KEY)
        assert code(reply, 409) == expected
        assert refused.value == 1
        if event == hard:
            verdicts = [
                (c["type"], c["progress"], c["needed"], c["met"])
                for c in reply.json()["conditions"]
            ]
            assert verdicts == [
                ("participations", 5, 2, True),
                ("login_streak", 0, 3, False),
                ("account_age", 0, 1, False),
            ]
    assert service.database["requests"].documents == {}
    reply = await user.post(f"/rewards/{new_id()}/requests", headers=KEY)
    assert code(reply, 404) == "not_found"


async def test_conditions_are_met_by_what_the_stream_told(service, user):
    event = await add_event(
        service.database,
        users=["u"],
        conditions=[{"type": "login_streak", "days": 2}, {"type": "account_age", "days": 7}],
    )
    reward = await add_reward(service.database, event, stock=1)
    at = datetime.now(UTC)
    today = at.astimezone(service.app.state.deps.claims._eligibility._zone)
    days = {(today - timedelta(days=n)).strftime("%Y%m%d"): 1 for n in range(2)}
    registered = (at - timedelta(days=8)).isoformat()
    service.database["members"].documents["u"] = {
        "_id": "u",
        "registered_at": registered,
        "login_days": days,
    }
    assert (await user.post(f"/rewards/{reward}/requests", headers=KEY)).status_code == 201


async def test_an_operator_decides_once_and_a_rejection_returns_the_stock(service, operator):
    event = await add_event(service.database, users=["u", "v"])
    reward = await add_reward(service.database, event, stock=2, approval="manual")
    urls, replies = [], []
    for name in ("u", "v"):
        reply = await service.as_(name, Role.USER).post(f"/rewards/{reward}/requests", headers=KEY)
        assert reply.json()["status"] == "pending"
        assert reply.json()["decided_at"] is None
        replies.append(reply.json())
        urls.append(f"/reward-requests/{reply.json()['id']}")
    left = f"/rewards/{reward}"
    assert (await operator.get(left)).json()["stock_left"] == 0
    async with (
        metric_delta(signals.REQUESTS, status="approved", reason="operator") as approved,
        metric_delta(signals.REQUESTS, status="rejected", reason="operator") as rejected,
        metric_delta(signals.DECISION_DURATION) as durations,
    ):
        first = await operator.patch(urls[0], json={"status": "approved"})
        second = await operator.patch(urls[1], json={"status": "rejected", "reason": "late"})
        again = await operator.patch(urls[1], json={"status": "rejected", "reason": "other"})
    assert (approved.value, rejected.value, durations.value) == (1, 1, 2)
    assert (first.json()["status"], first.json()["reason"]) == ("approved", "operator")
    assert (second.json()["status"], second.json()["reason"]) == ("rejected", "late")
    assert again.json() == second.json()
    assert (await operator.get(left)).json()["stock_left"] == 1
    for url, status in ((urls[0], "rejected"), (urls[1], "approved")):
        assert code(await operator.patch(url, json={"status": status}), 409) == "already_decided"
    reply = await operator.patch(f"/reward-requests/{new_id()}", json={"status": "approved"})
    assert code(reply, 404) == "not_found"
    # the same key gets the reply that it got, whatever was decided since
    for name, expected in zip(("u", "v"), replies, strict=True):
        reply = await service.as_(name, Role.USER).post(f"/rewards/{reward}/requests", headers=KEY)
        assert reply.json() == expected


async def test_another_users_request_does_not_exist(service):
    event = await add_event(service.database, users=["u"])
    reward = await add_reward(service.database, event, stock=1)
    owner, other = service.as_("u", Role.USER), service.as_("v", Role.USER)
    request = (await owner.post(f"/rewards/{reward}/requests", headers=KEY)).json()
    missing = await other.get(f"/reward-requests/{new_id()}")
    hidden = await other.get(f"/reward-requests/{request['id']}")
    assert code(missing, 404) == code(hidden, 404)
    assert missing.json()["detail"] == hidden.json()["detail"]
    assert (await other.get("/reward-requests")).json()["items"] == []
    assert (await other.get("/reward-requests", params={"user_id": "u"})).json()["items"] == []
    assert (await owner.get("/reward-requests")).json()["items"] == [request]
    auditor = service.as_("a", Role.AUDITOR)
    assert (await auditor.get(f"/reward-requests/{request['id']}")).json() == request


async def test_history_pages_and_filters(service, operator):
    users = [f"u{n}" for n in range(5)]
    event = await add_event(service.database, users=users)
    reward = await add_reward(service.database, event, stock=3)
    for name in users:
        await service.as_(name, Role.USER).post(f"/rewards/{reward}/requests", headers=KEY)
    seen, params = [], {"limit": "2", "status": "approved", "reward_id": reward}
    while True:
        page = (await operator.get("/reward-requests", params=params)).json()
        assert len(page["items"]) <= 2
        seen += [item["user_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ["u2", "u1", "u0"]
    for bad in (
        {"limit": "101"},
        {"limit": "0"},
        {"cursor": "nonsense"},
        {"status": "lost"},
        {"user_id": "$ne"},
        {"created_from": "2026-01-01"},
        {"created_to": "0001-01-01T00:00:00+14:00"},
    ):
        assert code(await operator.get("/reward-requests", params=bad), 422)
    reply = await operator.get("/reward-requests", params={"created_to": "2020-01-01T00:00:00Z"})
    assert reply.json() == {"items": [], "next_cursor": None}


async def test_events_and_participations_page(service, user, operator):
    events = [await add_event(service.database, users=["a", "b", "c"]) for _ in range(3)]
    page = (await user.get("/events", params={"limit": 2, "status": "active"})).json()
    rest = (await user.get("/events", params={"cursor": page["next_cursor"]})).json()
    assert [e["id"] for e in page["items"] + rest["items"]] == sorted(events, reverse=True)
    assert rest["next_cursor"] is None
    url = f"/events/{events[0]}/participations"
    page = (await operator.get(url, params={"limit": 2})).json()
    rest = (await operator.get(url, params={"cursor": page["next_cursor"]})).json()
    assert [p["user_id"] for p in page["items"] + rest["items"]] == ["a", "b", "c"]


WRONG = {
    "POST /events": [
        new_event(participants=5),
        new_event(status="closed"),
        new_event(title=" "),
        new_event(title="a\0b"),
        new_event(starts_at="2026-01-01T00:00:00"),
        new_event(starts_at="0001-01-01T00:00:00+14:00"),
        new_event(ends_at="9999-12-31T23:59:59-14:00"),
        new_event(starts_at=1700000000),
        new_event(ends_at="2020-01-01T00:00:00Z"),
        *(new_event(conditions=[wrong]) for wrong in (
            {"type": "horoscope"},
            {"type": "account_age", "days": 0},
            {"type": "account_age", "days": 1, "x": 1},
        )),
        None,
    ],
    "POST /events/{event}/rewards": [
        {"name": "a", "kind": "gold", "stock": 1},
        {"name": "a", "kind": "item", "stock": -1},
        {"name": "a", "kind": "item", "stock": 1, "stock_left": 9},
    ],
    "PATCH /events/{event}": [{"participants": 9}],
    "PATCH /rewards/{reward}": [{"stock": 5, "stock_left": 5}, {"stock": True}],
    "PATCH /reward-requests/{event}": [
        {"status": "approved", "user_id": "u"},
        {"status": "pending"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("operation", WRONG)
async def test_bodies_with_fields_or_values_that_are_not_ours_are_refused(
    service, operator, operation
):
    event = await add_event(service.database)
    reward = await add_reward(service.database, event, stock=1)
    method, path = operation.format(event=event, reward=reward).split()
    for body in WRONG[operation]:
        reply = await operator.request(method, path, json=body)
        assert (code(reply, 422), body) == ("invalid_request", body)


async def test_an_event_moves_forward_only(service, operator):
    url = f"/events/{(await operator.post('/events', json=new_event())).json()['id']}"

    async def change(**fields: str) -> httpx.Response:
        return await operator.patch(url, json=fields)

    assert code(await change(status="closed"), 409) == "invalid_transition"
    assert (await change(status="draft")).status_code == 200
    assert (await change(status="active", title="New")).json()["title"] == "New"
    assert code(await change(status="draft"), 409) == "invalid_transition"
    assert code(await change(ends_at="2020-01-01T00:00:00Z"), 422) == "invalid_request"
    later = (await change(ends_at="2999-01-01T09:00:00+09:00")).json()
    assert later["ends_at"] == "2999-01-01T00:00:00.000Z"
    assert (await change(status="closed")).json()["status"] == "closed"
    assert code(await change(title="Too late"), 409) == "event_closed"
    reward = {"name": "a", "kind": "points", "stock": 1}
    assert code(await operator.post(f"{url}/rewards", json=reward), 409) == "event_closed"


async def test_restock_sets_the_total_but_not_below_what_is_out(service, user, operator):
    event = await add_event(service.database, users=["u"])
    reward = await add_reward(service.database, event, stock=3)
    await user.post(f"/rewards/{reward}/requests", headers=KEY)
    for total, left in ((10, 9), (1, 0), (1, 0)):
        reply = await operator.patch(f"/rewards/{reward}", json={"stock": total})
        assert (reply.json()["stock"], reply.json()["stock_left"]) == (total, left)
    reply = await operator.patch(f"/rewards/{reward}", json={"stock": 0})
    assert code(reply, 409) == "stock_below_granted"


@pytest.mark.parametrize("bad", ["nope", "%00", "A" * 24, "%7B%22$ne%22:1%7D", "1" * 1000])
async def test_an_id_that_cannot_be_one_does_not_exist(user, operator, bad):
    for path in ("/events/{}", "/events/{}/rewards", "/rewards/{}", "/reward-requests/{}"):
        assert code(await user.get(path.format(bad)), 404) == "not_found"
    reply = await operator.patch(f"/reward-requests/{bad}", json={"status": "approved"})
    assert code(reply, 404) == "not_found"
