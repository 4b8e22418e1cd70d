"""The collections of events and of members, with plain operators that every MongoDB has.

Uniqueness is expressed by `_id` where possible: one participation per event and user, one request
per reward and user. Lists are paged by IDs that sort by time.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from event.records import Event, Member, Participation, Reward
from shared.storage.mongo import Database, Document, DuplicateKey, Index

MAX_REWARDS = 100  # of one event
LOGIN_DAYS_KEPT = 400  # the longest streak that can be asked for is 365
_REWARD = {"ops": 0, "fenced": 0}  # without the markers, which only claims need


class EventRepository:
    """Events with their rewards and participations."""

    def __init__(self, database: Database) -> None:
        self._events = database["events"]
        self._rewards = database["rewards"]
        self._participations = database["participations"]
        self.indexes: tuple[Index, ...] = (
            (self._events, [("status", 1)], {}),
            (self._rewards, [("event_id", 1)], {}),
            (self._participations, [("event_id", 1)], {}),
            (self._participations, [("user_id", 1)], {}),
            (self._participations, [("joined_at", 1)], {}),
        )

    # events

    async def add_event(self, event: Event) -> None:
        await self._events.insert_one(event.document())

    async def event(self, event_id: str) -> Event | None:
        return Event.found(await self._events.find_one({"_id": event_id}))

    async def list_events(
        self, statuses: Collection[str], after: str | None, limit: int
    ) -> list[Event]:
        """Events with one of the statuses, newest first; with `after` only those before that ID."""
        where: Document = {"status": {"$in": [*statuses]}}
        if after:
            where["_id"] = {"$lt": after}
        return Event.read_all(await self._events.find(where, sort=[("_id", -1)], limit=limit))

    async def change_event(self, event: Event, change: Mapping[str, Any]) -> Event | None:
        """Change an event; None if its status or dates are not those of `event` any more."""
        seen = Event.stored(
            id=event.id, status=event.status, starts_at=event.starts_at, ends_at=event.ends_at
        )
        update = {"$set": Event.stored(**change)}
        return Event.found(await self._events.find_one_and_update(seen, update))

    # participations

    async def join(self, participation: Participation) -> bool:
        """Insert a participation and count it in its event; False if it existed already."""
        try:
            await self._participations.insert_one(participation.document())
        except DuplicateKey:
            return False
        # A crash before this write leaves the count too low; the job of the gauges corrects it.
        await self._events.update_one(
            {"_id": participation.event_id}, {"$inc": {"participants": 1}}
        )
        return True

    async def participation(self, event_id: str, user_id: str) -> Participation | None:
        """A user's participation in an event, None if there is none."""
        one = {"_id": f"{event_id}:{user_id}"}
        return Participation.found(await self._participations.find_one(one))

    async def list_participations(
        self, event_id: str, after: str | None, limit: int
    ) -> list[Participation]:
        """An event's participations by user ID; with `after` only those behind that user."""
        # In ASCII ";" follows ":", so this range holds exactly the IDs "<event>:<user>".
        where: Document = {"_id": {"$gt": f"{event_id}:{after or ''}", "$lt": f"{event_id};"}}
        found = await self._participations.find(where, sort=[("_id", 1)], limit=limit)
        return Participation.read_all(found)

    async def participations_of(self, user_id: str) -> int:
        return await self._participations.count({"user_id": user_id})

    async def correct_participants(self, event_id: str, seen: int, counted: int) -> None:
        """Set the participants of an event to `counted`, if the stored number is still `seen`."""
        await self._events.update_one(
            {"_id": event_id, "participants": seen}, {"$set": {"participants": counted}}
        )

    # rewards

    async def make_room(self, event: Event) -> bool:
        """Count one more reward of an event; False if it has MAX_REWARDS or is closed.

        The reward is counted in one write before it is inserted, so parallel calls cannot exceed
        the limit. A crash between the two writes leaves the event with room for one reward less.
        """
        if event.rewards is None:  # made by a version that did not count them
            counted = {"$set": {"rewards": await self._rewards.count({"event_id": event.id})}}
            await self._events.update_one({"_id": event.id, "rewards": {"$exists": False}}, counted)
        room = {
            "_id": event.id,
            "status": {"$in": ["draft", "active"]},
            "rewards": {"$lt": MAX_REWARDS},
        }
        return (await self._events.update_one(room, {"$inc": {"rewards": 1}})).matched_count == 1

    async def add_reward(self, reward: Reward) -> None:
        await self._rewards.insert_one({**reward.document(), "ops": {}, "fenced": {}})

    async def reward(self, reward_id: str) -> Reward | None:
        return Reward.found(await self._rewards.find_one({"_id": reward_id}, _REWARD))

    async def rewards_of(self, event_id: str) -> list[Reward]:
        """The rewards of an event, oldest first."""
        of_event = {"event_id": event_id}
        found = await self._rewards.find(of_event, _REWARD, sort=[("_id", 1)], limit=MAX_REWARDS)
        return Reward.read_all(found)

    async def restock(self, reward: Reward, total: int) -> Reward | None:
        """Set the total stock; the changed reward.

        None if the total changed since `reward` was read, or if less is left than is taken away.
        """
        delta = total - reward.stock
        found = await self._rewards.find_one_and_update(
            {"_id": reward.id, "stock": reward.stock, "stock_left": {"$gte": -delta}},
            {"$set": {"stock": total}, "$inc": {"stock_left": delta}},
            projection=_REWARD,
        )
        return Reward.found(found)


class MemberRepository:
    """Users as known from auth's announcements."""

    def __init__(self, database: Database) -> None:
        self._members = database["members"]
        self.indexes: tuple[Index, ...] = (
            (self._members, [("registered_at", 1)], {}),
            (self._members, [("last_login_at", 1)], {}),
        )

    async def member(self, user_id: str) -> Member | None:
        """What is known about a user, None if nothing."""
        return Member.found(await self._members.find_one({"_id": user_id}))

    async def registered(self, user_id: str, at: datetime) -> bool:
        """Store the time of a registration; False if it was known already."""
        return await self._upsert(user_id, {"$min": Member.stored(registered_at=at)})

    async def logged_in(self, user_id: str, at: datetime, day: str) -> bool:
        """Store a sign-in on a day (YYYYMMDD); False if that changes nothing."""
        # days are keys of a map, not an array, as setting a key twice is harmless on any server
        change = {"$set": {f"login_days.{day}": 1}, "$max": Member.stored(last_login_at=at)}
        if not await self._upsert(user_id, change):
            return False
        member = await self.member(user_id)
        old = sorted(member.login_days if member else {})[:-LOGIN_DAYS_KEPT]
        if old:
            gone = {"$unset": {f"login_days.{day}": "" for day in old}}
            await self._members.update_one({"_id": user_id}, gone)
        return True

    async def _upsert(self, user_id: str, change: Document) -> bool:
        try:
            result = await self._members.update_one({"_id": user_id}, change, upsert=True)
        except DuplicateKey:  # a parallel upsert has just created the document
            result = await self._members.update_one({"_id": user_id}, change)
        return result.modified_count > 0 or result.upserted_id is not None
