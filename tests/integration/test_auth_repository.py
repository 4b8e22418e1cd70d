"""Users and families on a real server, through both drivers."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from auth import repository
from auth.records import Family, User
from auth.repository import LOCK_S, EmailTaken, Families, Users
from shared.errors import Conflict
from shared.storage.mongo import Database
from shared.tokens import Role

ANNOUNCED = {"id": "01", "type": "user.registered", "user_id": "u"}


def user(email: str = "ann@example.com", **more: object) -> User:
    return User(uuid4().hex, email, "Ann", "hash", **more)  # type: ignore[arg-type]


async def test_a_user_comes_back_as_it_was(database: Database) -> None:
    users = Users(database)
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ann = user(roles=(Role.ADMIN, Role.USER), created_at=created)
    await users.create(ann, ANNOUNCED)
    for found in (await users.by_email(ann.email), await users.get(ann.id)):
        assert found is not None
        assert found == User(
            **{name: getattr(ann, name) for name in ann.__slots__} | {"roles": found.roles}
        )
        assert [*found.roles] == ["ADMIN", "USER"]
        assert found.created_at == created
        assert found.created_at.utcoffset() == timedelta(0)
    assert await users.by_email("bob@example.com") is None
    assert await users.get("nobody") is None


async def test_of_20_registrations_of_an_address_one_wins(database: Database) -> None:
    users = Users(database)
    results = await asyncio.gather(
        *(users.create(user(), ANNOUNCED) for _ in range(20)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, EmailTaken) for result in results) == 19
    assert await users.count() == 1


async def test_changes_that_end_sessions_win_over_sign_ins(database: Database) -> None:
    users = Users(database)
    ann = user()
    await users.create(ann, ANNOUNCED)
    assert await users.sign_in(ann, {"id": "02"}, {"home": 1.5}, "newer hash") == ["01", "02"]
    assert await users.set_password(ann, "other hash")
    assert await users.sign_in(ann, {"id": "03"}, {}) is None
    assert not await users.set_password(ann, "third hash")
    now = await users.get(ann.id)
    assert now
    assert (now.password_hash, now.epoch, now.disabled) == ("other hash", 1, False)
    await users.disable(ann.id)
    closed = await users.get(ann.id)
    assert closed
    assert (closed.epoch, closed.disabled) == (2, True)
    assert now.known == {"home": 1.5}
    changed = await users.set_roles(ann.id, [Role.AUDITOR])
    assert changed
    assert [*changed.roles] == [Role.AUDITOR]
    assert await users.set_roles("nobody", [Role.AUDITOR]) is None


async def test_who_else_administers(database: Database) -> None:
    users = Users(database)
    ann, bob = user(), user("bob@example.com")
    for each in (ann, bob):
        await users.create(replace(each, roles=(Role.ADMIN, Role.USER)), ANNOUNCED)
    await users.create(user("eve@example.com"), ANNOUNCED)
    assert await users.has_other_administrator(ann.id)
    await users.disable(bob.id)
    assert not await users.has_other_administrator(ann.id)
    assert await users.has_other_administrator(bob.id)


async def test_changes_of_administrators_wait_for_each_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "LOCK_PAUSE_S", 0.02)
    replicas = [Users(database) for _ in range(8)]
    inside = 0

    async def change(users: Users) -> str:
        nonlocal inside
        try:
            async with users.administration():
                inside += 1
                assert inside == 1
                await asyncio.sleep(0.01)
                inside -= 1
        except Conflict as exc:
            return exc.code
        return "done"

    ended = Counter(await asyncio.gather(*map(change, replicas)))
    assert ended["done"] >= 2
    assert set(ended) <= {"done", "in_flight"}
    # what a holder that died has left is free after its time
    await replicas[0]._lock("dead")
    monkeypatch.setattr(repository, "LOCK_TRIES", 2)
    assert await change(replicas[1]) == "in_flight"
    later = time.time() + LOCK_S + 1
    monkeypatch.setattr("auth.repository.time.time", lambda: later)
    assert await change(replicas[1]) == "done"


async def test_announcements_until_removed(database: Database) -> None:
    users = Users(database)
    ann, bob = user(), user("bob@example.com")
    await users.create(ann, ANNOUNCED)
    await users.create(bob, {**ANNOUNCED, "id": "05"})
    await users.sign_in(ann, {"id": "07", "type": "user.logged_in"}, {})
    first, second = await users.outboxes(10)
    assert [first.user_id, second.user_id] == [bob.id, ann.id]  # whose newest is oldest
    assert [item["id"] for item in second.announcements] == ["01", "07"]
    assert second.announcements[0] == ANNOUNCED
    await users.remove_announcements(bob.id, ["05"], first.mark)
    assert await users.count_waiting() == 1
    await users.sign_in(ann, {"id": "09", "type": "user.logged_in"}, {})  # while it is published
    await users.remove_announcements(ann.id, ["01", "07"], second.mark)
    (left,) = await users.outboxes(10)
    assert [item["id"] for item in left.announcements] == ["09"]
    await users.remove_announcements(ann.id, ["09"], left.mark)
    assert await users.outboxes(10) == []
    assert await users.sign_in(ann, {"id": "11"}, {}) == ["11"]
    assert len(await users.outboxes(10)) == 1


async def test_sign_ups_are_counted_by_day(database: Database) -> None:
    users = Users(database)
    midnight = datetime.combine(datetime.now(UTC).date(), datetime.min.time(), UTC)
    for number, hours in enumerate((0, -0.001, -24, -24.001, -24 * 29, -24 * 29 - 0.001)):
        created = midnight + timedelta(hours=hours)
        await users.create(user(f"{number}@example.com", created_at=created), ANNOUNCED)
    assert await users.sign_ups(UTC) == [1, 2, 1, *[0] * 26, 1]
    assert await users.count() == 6


async def test_of_20_parallel_rotations_one_wins(database: Database) -> None:
    families = Families(database)
    await families.indexes.make()
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    family = Family("f1", "u1", 0, "a" * 64, expires)
    await families.create(family)
    assert await families.get("f1") == family
    won = await asyncio.gather(
        *(families.rotate(family, f"{n:064x}", {family.current: 1795409999.125}) for n in range(20))
    )
    assert won.count(True) == 1
    after = await families.get("f1")
    assert after
    assert after.current == f"{won.index(True):064x}"
    assert after.recent == {family.current: 1795409999.125}
    assert after.expires_at == expires


async def test_families_end_one_by_one_or_all_of_a_user(database: Database) -> None:
    families = Families(database)
    expires = datetime.now(UTC) + timedelta(days=1)
    for key, owner in (("f1", "u1"), ("f2", "u1"), ("f3", "u2")):
        await families.create(Family(key, owner, 0, "x", expires))
    await families.delete("f1")
    assert [await families.get(key) is None for key in ("f1", "f2", "f3")] == [True, False, False]
    await families.delete_of("u1")
    assert [await families.get(key) is None for key in ("f1", "f2", "f3")] == [True, True, False]
