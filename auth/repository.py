"""Users and families of refresh tokens in MongoDB.

Only operators that every server with MongoDB's wire protocol has. So announcements are a map by
ID, not an array, and times that are updated are numbers.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from secrets import token_hex

from auth.records import Family, Outbox, User
from shared.errors import Conflict
from shared.storage.mongo import Database, Document, DuplicateKey, Indexes
from shared.tokens import Role
from shared.windows import DAYS


class EmailTaken(Conflict):
    """The e-mail address belongs to an account already."""

    code = "email_taken"


LOCK_S = 30.0  # a dead holder's lock ends then; its last write cannot arrive later than that
LOCK_TRIES, LOCK_PAUSE_S = 20, 0.1
_USER = {name.name: 1 for name in fields(User)}  # leaves the announcements out


class Users:
    """The accounts, with their waiting announcements."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._locks = database["locks"]
        self.indexes = Indexes(
            (self._users, [("email", 1)], {"unique": True}),
            (self._users, [("created_at", 1)], {}),
            (self._users, [("outbox_mark", 1)], {"sparse": True}),
        )

    async def create(self, user: User, announcement: Mapping[str, str]) -> None:
        """Store a new user with its announcement.

        EmailTaken if the address is registered; IndexMissing while there is no unique index.
        """
        await self.indexes.make()
        first = {"outbox_mark": announcement["id"], "outbox": {announcement["id"]: announcement}}
        try:
            await self._users.insert_one({**user.document(), **first})
        except DuplicateKey:
            raise EmailTaken("This e-mail address is registered already") from None

    async def by_email(self, email: str) -> User | None:
        """The user with this normalised address, None if there is none."""
        return User.found(await self._users.find_one({"email": email}, _USER))

    async def get(self, user_id: str) -> User | None:
        return User.found(await self._users.find_one({"_id": user_id}, _USER))

    async def sign_in(
        self,
        user: User,
        announcement: Mapping[str, str],
        known: Mapping[str, float],
        new_hash: str | None = None,
    ) -> list[str] | None:
        """Store a sign-in: its announcement, the known places and a new hash, if any.

        Returns the IDs of all waiting announcements, oldest first; None if the user's sessions
        were ended since `user` was read.
        """
        changes: Document = {"outbox_mark": announcement["id"], "known": dict(known)}
        changes[f"outbox.{announcement['id']}"] = dict(announcement)
        if new_hash:
            changes["password_hash"] = new_hash
        found = await self._users.find_one_and_update(
            {"_id": user.id, "epoch": user.epoch}, {"$set": changes}, projection={"outbox": 1}
        )
        return None if found is None else sorted(found["outbox"])

    async def set_password(self, user: User, password_hash: str) -> bool:
        """Change the password and end all sessions; False if they were ended since it was read."""
        change = {"$set": {"password_hash": password_hash}, "$inc": {"epoch": 1}}
        result = await self._users.update_one({"_id": user.id, "epoch": user.epoch}, change)
        return result.matched_count == 1

    async def disable(self, user_id: str) -> None:
        """Close the account and end all sessions."""
        change = {"$set": {"disabled": True}, "$inc": {"epoch": 1}}
        await self._users.update_one({"_id": user_id}, change)

    async def set_roles(self, user_id: str, roles: Sequence[Role]) -> User | None:
        """Set the roles; the changed user, or None if there is none. Call in `administration()`."""
        change = {"$set": User.stored(roles=roles)}
        found = await self._users.find_one_and_update({"_id": user_id}, change, projection=_USER)
        return User.found(found)

    async def has_other_administrator(self, user_id: str) -> bool:
        """Whether another account, not disabled, has the role of administrator.

        Roles have no index: the demo's embedded server finds no list elements by one. The scan
        ends at the first match.
        """
        others = {"_id": {"$ne": user_id}, "roles": Role.ADMIN.value, "disabled": False}
        return await self._users.find_one(others, {"_id": 1}) is not None

    @asynccontextmanager
    async def administration(self) -> AsyncIterator[None]:
        """A lock over all replicas for changes of administrators; Conflict after about 2 s.

        Without it, two administrators who remove each other at the same time would each still
        see the other one, and none would remain.
        """
        holder = token_hex(8)
        for _ in range(LOCK_TRIES):
            if await self._lock(holder):
                break
            await asyncio.sleep(LOCK_PAUSE_S)
        else:
            detail = "Another change of administrators is being made"
            raise Conflict(detail, code="in_flight", retry_after=1)
        try:
            yield
        finally:
            mine = {"_id": "administration", "holder": holder}
            await self._locks.update_one(mine, {"$set": {"until": 0.0}})

    async def _lock(self, holder: str) -> bool:
        now = time.time()
        held = {"until": now + LOCK_S, "holder": holder}
        free = {"_id": "administration", "until": {"$lt": now}}
        if await self._locks.find_one_and_update(free, {"$set": held}):
            return True
        try:
            await self._locks.insert_one({"_id": "administration", **held})
        except DuplicateKey:
            return False
        return True

    async def outboxes(self, limit: int) -> list[Outbox]:
        """Up to `limit` users with waiting announcements, by the age of their newest one."""
        waiting = {"outbox_mark": {"$exists": True}}
        shown, oldest_first = {"outbox": 1, "outbox_mark": 1}, [("outbox_mark", 1)]
        found = await self._users.find(waiting, shown, sort=oldest_first, limit=limit)
        return [
            Outbox(user["_id"], user["outbox_mark"], [box[key] for key in sorted(box)])
            for user in found
            for box in [user["outbox"]]
        ]

    async def remove_announcements(
        self, user_id: str, ids: Sequence[str], mark: str | None = None
    ) -> None:
        """Remove these announcements.

        With `mark`, the user also stops being listed in `outboxes`, unless it has a newer one.
        """
        gone = {f"outbox.{key}": "" for key in ids}
        if mark:
            change = {"$unset": {**gone, "outbox_mark": ""}}
            found = await self._users.update_one({"_id": user_id, "outbox_mark": mark}, change)
            if found.matched_count:
                return
        if gone:
            await self._users.update_one({"_id": user_id}, {"$unset": gone})

    async def count_waiting(self) -> int:
        return await self._users.count({"outbox_mark": {"$exists": True}})

    async def count(self) -> int:
        return await self._users.count({})

    async def sign_ups(self, zone: tzinfo) -> list[int]:
        """How many registered on each of the last `DAYS` days of this time zone, today first."""
        today = datetime.now(zone).date()
        # Made from dates: subtracting 24 hours is wrong where a clock change makes it 23 or 25.
        starts = [
            datetime.combine(today - timedelta(days=ago), datetime.min.time(), zone)
            for ago in range(-1, DAYS)
        ]
        return [
            await self._users.count_documents({"created_at": {"$gte": since, "$lt": until}})
            for until, since in pairwise(starts)
        ]


class Families:
    """The families of refresh tokens; MongoDB deletes them when they expire."""

    def __init__(self, database: Database) -> None:
        self._families = database["refresh_families"]
        self.indexes = Indexes(
            (self._families, [("expires_at", 1)], {"expireAfterSeconds": 0}),
            (self._families, [("user_id", 1)], {}),
        )

    async def create(self, family: Family) -> None:
        await self._families.insert_one(family.document())

    async def get(self, family_id: str) -> Family | None:
        return Family.found(await self._families.find_one({"_id": family_id}))

    async def rotate(self, family: Family, successor: str, recent: Mapping[str, float]) -> bool:
        """Replace the current token by `successor`; False if another request did so first."""
        result = await self._families.update_one(
            {"_id": family.id, "current": family.current},
            {"$set": {"current": successor, "recent": dict(recent)}},
        )
        return result.matched_count == 1

    async def delete(self, family_id: str) -> None:
        await self._families.delete_one({"_id": family_id})

    async def delete_of(self, user_id: str) -> None:
        await self._families.delete_many({"user_id": user_id})
