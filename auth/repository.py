"""Users and families of refresh tokens in MongoDB.

Only operators that every server of the wire protocol has: announcements are a map by ID and not
an array, times that are updated are numbers.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from secrets import token_hex
from typing import NamedTuple

from shared.errors import Conflict
from shared.storage.mongo import Database, Document, DuplicateKey, Indexes
from shared.tokens import Role


class EmailTaken(Conflict):
    """Somebody has registered with this e-mail address."""

    code = "email_taken"


@dataclass(frozen=True, slots=True)
class User:
    """An account; `epoch` counts up with each change that ends its sessions.

    `known` are the networks it signed in from, by their pseudonyms, with the time (Unix seconds).
    """

    id: str
    email: str
    display_name: str
    password_hash: str = field(repr=False)
    roles: Sequence[Role] = (Role.USER,)
    epoch: int = 0
    disabled: bool = False
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    known: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """A refresh token and its line: hashes only, `recent` ones with the time of their rotation."""

    id: str
    user_id: str
    epoch: int
    current: str
    expires_at: datetime
    recent: Mapping[str, float] = field(default_factory=dict)


class Outbox(NamedTuple):
    """What a user has to announce, oldest first; `mark` is the ID of the newest."""

    user_id: str
    mark: str
    announcements: Sequence[Mapping[str, str]]


LOCK_S = 30.0  # a holder that died keeps it so long: longer than its writes can take to arrive
LOCK_TRIES, LOCK_PAUSE_S = 20, 0.1
_USER = {name.name: 1 for name in fields(User)}  # never the announcements


class Users:
    """The accounts, with what they have to announce."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._locks = database["locks"]
        self.indexes = Indexes(
            (self._users, "email", {"unique": True}),
            (self._users, "created_at", {}),
            (self._users, "outbox_mark", {"sparse": True}),
        )

    async def create(self, user: User, announcement: Mapping[str, str]) -> None:
        """Keep a new user and its announcement. EmailTaken; IndexMissing without the unique one."""
        await self.indexes.make()
        document = _document(user)
        document |= {"roles": [*user.roles], "outbox_mark": announcement["id"]}
        document["outbox"] = {announcement["id"]: dict(announcement)}
        try:
            await self._users.insert_one(document)
        except DuplicateKey:
            raise EmailTaken("This e-mail address is registered already") from None

    async def by_email(self, email: str) -> User | None:
        """The user with this normalised address."""
        return _user(await self._users.find_one({"email": email}, _USER))

    async def get(self, user_id: str) -> User | None:
        """The user of that ID."""
        return _user(await self._users.find_one({"_id": user_id}, _USER))

    async def sign_in(
        self,
        user: User,
        announcement: Mapping[str, str],
        known: Mapping[str, float],
        new_hash: str | None = None,
    ) -> list[str] | None:
        """Keep the announcement of a sign-in, and from where; the IDs of all that wait, in order.

        None if the user's sessions were ended since it was read.
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
        """The user with its new roles, None if there is none; inside `administration()`."""
        change = {"$set": {"roles": [*roles]}}
        return _user(
            await self._users.find_one_and_update({"_id": user_id}, change, projection=_USER)
        )

    async def has_other_administrator(self, user_id: str) -> bool:
        """Whether somebody else administers, with an account that is not disabled.

        Not by an index: the demo's server finds nothing in a list by one. It ends at the first.
        """
        others = {"_id": {"$ne": user_id}, "roles": Role.ADMIN.value, "disabled": False}
        return await self._users.find_one(others, {"_id": 1}) is not None

    @asynccontextmanager
    async def administration(self) -> AsyncIterator[None]:
        """One change of administrators at a time, over all replicas. Conflict if it is long.

        Two that remove each other at once would otherwise both see the other one still there.
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
        """Up to `limit` users with something to announce, longest waiting first."""
        waiting = {"outbox_mark": {"$exists": True}}
        query = self._users.find(waiting, {"outbox": 1, "outbox_mark": 1})
        return [
            Outbox(found["_id"], found["outbox_mark"], [box[key] for key in sorted(box)])
            for found in await query.sort("outbox_mark", 1).limit(limit).to_list()
            for box in [found["outbox"]]
        ]

    async def remove_announcements(
        self, user_id: str, ids: Sequence[str], mark: str | None = None
    ) -> None:
        """Forget announcements; with `mark` also that anything waits, unless something came."""
        gone = {f"outbox.{key}": "" for key in ids}
        if mark:
            change = {"$unset": {**gone, "outbox_mark": ""}}
            found = await self._users.update_one({"_id": user_id, "outbox_mark": mark}, change)
            if found.matched_count:
                return
        if gone:
            await self._users.update_one({"_id": user_id}, {"$unset": gone})

    async def count_waiting(self) -> int:
        """How many users have something to announce."""
        return await self._users.count_documents({"outbox_mark": {"$exists": True}})

    async def count(self) -> int:
        """How many users there are."""
        return await self._users.count_documents({})

    async def count_created(self, since: datetime, until: datetime) -> int:
        """How many registered from `since` on and before `until`."""
        return await self._users.count_documents({"created_at": {"$gte": since, "$lt": until}})


class Families:
    """The families of refresh tokens; MongoDB deletes them when they expire."""

    def __init__(self, database: Database) -> None:
        self._families = database["refresh_families"]
        self.indexes = Indexes(
            (self._families, "expires_at", {"expireAfterSeconds": 0}),
            (self._families, "user_id", {}),
        )

    async def create(self, family: Family) -> None:
        """Keep a new family."""
        await self._families.insert_one(_document(family))

    async def get(self, family_id: str) -> Family | None:
        """The family of that ID."""
        found = await self._families.find_one({"_id": family_id})
        return None if found is None else Family(id=found.pop("_id"), **found)

    async def rotate(self, family: Family, successor: str, recent: Mapping[str, float]) -> bool:
        """Put the successor in the place of the current token; False if another one did."""
        result = await self._families.update_one(
            {"_id": family.id, "current": family.current},
            {"$set": {"current": successor, "recent": dict(recent)}},
        )
        return result.matched_count == 1

    async def delete(self, family_id: str) -> None:
        """End one session."""
        await self._families.delete_one({"_id": family_id})

    async def delete_of(self, user_id: str) -> None:
        """End all sessions of a user."""
        await self._families.delete_many({"user_id": user_id})


def _document(item: User | Family) -> Document:
    values = asdict(item)
    return {"_id": values.pop("id"), **values}


def _user(found: Document | None) -> User | None:
    return None if found is None else User(id=found.pop("_id"), **found)
