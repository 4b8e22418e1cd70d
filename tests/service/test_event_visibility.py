"""Users see no drafts, whichever way they look; who prepares events does."""

import pytest

from shared.tokens import Role
from tests.support.event_data import add_event, add_reward, new_event

STAFF = [Role.OPERATOR, Role.AUDITOR, Role.ADMIN]
KEY = {"Idempotency-Key": "key-1"}


@pytest.mark.parametrize("role", Role)
async def test_a_draft_and_its_rewards_are_there_for_staff_alone(service, role):
    draft = await add_event(service.database, status="draft")
    active = await add_event(service.database)
    closed = await add_event(service.database, status="closed")
    reward = await add_reward(service.database, draft, stock=3)
    who, staff = service.as_("u", role), role in STAFF

    async def listed(**query: str) -> set[str]:
        reply = await who.get("/events", params=query)
        return {event["id"] for event in reply.json()["items"]}

    assert await listed() == ({draft, active, closed} if staff else {active, closed})
    assert await listed(status="draft") == ({draft} if staff else set())
    assert await listed(status="closed") == {closed}
    for path in (f"/events/{draft}", f"/events/{draft}/rewards", f"/rewards/{reward}"):
        reply = await who.get(path)
        assert reply.status_code == (200 if staff else 404), path


async def test_what_a_user_does_with_a_draft_is_what_he_does_with_nothing(service):
    draft = await add_event(service.database, status="draft", users=["u"])
    reward = await add_reward(service.database, draft, stock=3)
    user, nothing = service.as_("u", Role.USER), "0" * 24
    for path, hidden in (("/events/{}/participations", draft), ("/rewards/{}/requests", reward)):
        to_draft = await user.post(path.format(hidden), headers=KEY)
        to_nothing = await user.post(path.format(nothing), headers=KEY)
        assert to_draft.status_code == to_nothing.status_code == 404
        assert to_draft.json()["detail"] == to_nothing.json()["detail"]
    (stored,) = await service.database["rewards"].find({})
    assert stored["stock_left"] == 3


BAD_TIMES = [
    "2026-01-31", "2026-01-31 09:00:00Z", "2026-01-31T09:00Z", "2026-01-31T09:00:00",
    "2026-01-31T09:00:00+0900", "2026-01-31T09:00:00+09", "20260131T090000Z", "1700000000",
    "2026-01-31T09:00:00,5Z", "2026-W05-6T09:00:00Z", "2026-01-31T09:00:00 Z", "P1D",
    "\u0662\u0660\u0662\u0666-01-31T09:00:00Z", "2026-02-30T09:00:00Z", "2026-01-31T24:00:00Z",
    "2026-01-31T09:00:00+24:00", "2026-01-31T09:00:60Z", "+002026-01-31T09:00:00Z", "",
]  # fmt: skip
GOOD_TIMES = [
    "2026-01-31T09:00:00Z", "2026-01-31t09:00:00z", "2026-01-31T09:00:00.123456Z",
    "2026-01-31T09:00:00.123456789+09:00", "2026-01-31T23:59:59-12:00",
]  # fmt: skip


@pytest.mark.parametrize("text", [*BAD_TIMES, *GOOD_TIMES])
async def test_a_time_is_rfc_3339_and_nothing_else(service, text):
    operator = service.as_("boss", Role.OPERATOR)
    body = new_event(starts_at=text, ends_at="2030-01-01T00:00:00Z")
    good = text in GOOD_TIMES
    assert (await operator.post("/events", json=body)).status_code == (201 if good else 422)
    reply = await operator.get("/reward-requests", params={"created_from": text})
    assert reply.status_code == (200 if good else 422)


@pytest.mark.parametrize(
    "bad", ["a\nb", "a\u0000b", "a\u001b[31m", "a\u0085b", "a\u2029b", "a\u2066b"]
)
async def test_titles_and_names_are_one_line_of_text(service, bad):
    operator = service.as_("boss", Role.OPERATOR)
    event = await add_event(service.database)
    reward = {"name": bad, "kind": "item", "stock": 1}
    decision = {"status": "rejected", "reason": bad}
    for reply in (
        await operator.post("/events", json=new_event(title=bad)),
        await operator.patch(f"/events/{event}", json={"title": bad}),
        await operator.post(f"/events/{event}/rewards", json=reward),
        await operator.patch(f"/reward-requests/{'0' * 24}", json=decision),
    ):
        assert reply.status_code == 422, reply.text
    several = new_event(description="first line\n\tsecond line")
    assert (await operator.post("/events", json=several)).status_code == 201
