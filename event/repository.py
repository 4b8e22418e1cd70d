"""The service's reads and writes, with plain operators that every MongoDB has.

Uniqueness is expressed by `_id` where possible: one participation per event and user, one request
per reward and user. Lists are paged by IDs that sort by time.
"""

from collections.abc import Collection, Mapping
from typing import Any

from event.ids import prefix
from event.times import from_text
from shared.storage.mongo import Database, Document, DuplicateKey, Indexes, aggregate

__all__ = ["DuplicateKey", "Repository"]

MAX_REWARDS = 100  # of one event
LOGIN_DAYS_KEPT = 400  # the longest streak that can be asked for is 365


class Repository:
    """Events, rewards, participations, members, and the history of requests.

    `ClaimRepository` adds the writes of claims.
    """

    def __init__(self, database: Database) -> None:
        self.events = database["events"]
        self.rewards = database["rewards"]
        self.participations = database["participations"]
        self.requests = database["requests"]
        self.members = database["members"]
        self.indexes = Indexes(
            (self.events, [("status", 1)], {}),
            (self.rewards, [("event_id", 1)], {}),
            (self.rewards, [("last_op_at", -1)], {}),
            (self.participations, [("event_id", 1)], {}),
            (self.participations, [("user_id", 1)], {}),
            (self.participations, [("joined_at", 1)], {}),
            (self.members, [("registered_at", 1)], {}),
            (self.members, [("last_login_at", 1)], {}),
            (self.requests, [("user_key", 1)], {"unique": True}),
            (self.requests, [("public_id", 1)], {"unique": True}),
            (self.requests, [("op.id", 1)], {"sparse": True}),
            (self.requests, [("user_id", 1), ("public_id", -1)], {}),
            (self.requests, [("reward_id", 1), ("status", 1)], {}),
            (self.requests, [("event_id", 1), ("public_id", -1)], {}),
            (self.requests, [("status", 1), ("public_id", -1)], {}),
            (self.requests, [("decided_at", 1)], {}),
        )

    # events

    async def add_event(self, event: Document) -> None:
        await self.events.insert_one(event)

    async def event(self, event_id: str) -> Document | None:
        return await self.events.find_one({"_id": event_id})

    async def list_events(
        self, statuses: Collection[str], after: str | None, limit: int
    ) -> list[Document]:
        """Events with one of the statuses, newest first; with `after` only those before that ID."""
        where: Document = {"status": {"$in": [*statuses]}}
        if after:
            where["_id"] = {"$lt": after}
        return await self.events.find(where).sort([("_id", -1)]).limit(limit).to_list(limit)

    async def change_event(
        self, event: Mapping[str, Any], change: Mapping[str, Any]
    ) -> Document | None:
        """Change an event; None if its status or dates are not those of `event` any more."""
        guard = {name: event[name] for name in ("_id", "status", "starts_at", "ends_at")}
        return await self.events.find_one_and_update(guard, {"$set": dict(change)})

    # participations

    async def join(self, participation: Document) -> bool:
        """Insert a participation and count it in its event; False if it existed already."""
        try:
            await self.participations.insert_one(participation)
        except DuplicateKey:
            return False
        # A crash before this write leaves the count too low; the job of the gauges corrects it.
        await self.events.update_one(
            {"_id": participation["event_id"]}, {"$inc": {"participants": 1}}
        )
        return True

    async def participation(self, event_id: str, user_id: str) -> Document | None:
        """A user's participation in an event, None if there is none."""
        return await self.participations.find_one({"_id": f"{event_id}:{user_id}"})

    async def list_participations(
        self, event_id: str, after: str | None, limit: int
    ) -> list[Document]:
        """An event's participations by user ID; with `after` only those behind that user."""
        # In ASCII ";" follows ":", so this range holds exactly the IDs "<event>:<user>".
        where: Document = {"_id": {"$gt": f"{event_id}:{after or ''}", "$lt": f"{event_id};"}}
        found = self.participations.find(where).sort([("_id", 1)]).limit(limit)
        return await found.to_list(limit)

    async def participations_of(self, user_id: str) -> int:
        """How many events the user takes part in."""
        return await count(self.participations, {"user_id": user_id})

    async def correct_participants(self, event_id: str, seen: int, counted: int) -> None:
        """Set the participants of an event to `counted`, if the stored number is still `seen`."""
        await self.events.update_one(
            {"_id": event_id, "participants": seen}, {"$set": {"participants": counted}}
        )

    # rewards

    async def make_room(self, event: Mapping[str, Any]) -> bool:
        """Count one more reward of an event; False if it has MAX_REWARDS or is closed.

        The reward is counted in one write before it is inserted, so parallel calls cannot exceed
        the limit. A crash between the two writes leaves the event with room for one reward less.
        """
        id_ = event["_id"]
        if "rewards" not in event:  # made by a version that did not count them
            counted = {"$set": {"rewards": await count(self.rewards, {"event_id": id_})}}
            await self.events.update_one({"_id": id_, "rewards": {"$exists": False}}, counted)
        room = {"_id": id_, "status": {"$in": ["draft", "active"]}, "rewards": {"$lt": MAX_REWARDS}}
        return (await self.events.update_one(room, {"$inc": {"rewards": 1}})).matched_count == 1

    async def add_reward(self, reward: Document) -> None:
        await self.rewards.insert_one(reward)

    async def reward(self, reward_id: str) -> Document | None:
        """A reward without its markers, None if there is none."""
        return await self.rewards.find_one({"_id": reward_id}, {"ops": 0, "fenced": 0})

    async def rewards_of(self, event_id: str) -> list[Document]:
        """The rewards of an event, oldest first."""
        found = self.rewards.find({"event_id": event_id}, {"ops": 0, "fenced": 0})
        return await found.sort([("_id", 1)]).limit(MAX_REWARDS).to_list(MAX_REWARDS)

    async def restock(self, reward: Mapping[str, Any], total: int) -> Document | None:
        """Set the total stock; the changed reward.

        None if the total changed since `reward` was read, or if less is left than is taken away.
        """
        delta = total - reward["stock"]
        return await self.rewards.find_one_and_update(
            {"_id": reward["_id"], "stock": reward["stock"], "stock_left": {"$gte": -delta}},
            {"$set": {"stock": total}, "$inc": {"stock_left": delta}},
            projection={"ops": 0, "fenced": 0},
        )

    # members: users as known from auth's announcements

    async def member(self, user_id: str) -> Document | None:
        """What is known about a user, None if nothing."""
        return await self.members.find_one({"_id": user_id})

    async def registered(self, user_id: str, at: str) -> bool:
        """Store the time of a registration; False if it was known already."""
        return await self._upsert_member(user_id, {"$min": {"registered_at": at}})

    async def logged_in(self, user_id: str, at: str, day: str) -> bool:
        """Store a sign-in on a day (YYYYMMDD); False if that changes nothing."""
        # days are keys of a map, not an array, as setting a key twice is harmless on any server
        change = {"$set": {f"login_days.{day}": 1}, "$max": {"last_login_at": at}}
        if not await self._upsert_member(user_id, change):
            return False
        member = await self.member(user_id)
        old = sorted((member or {}).get("login_days", {}))[:-LOGIN_DAYS_KEPT]
        if old:
            gone = {"$unset": {f"login_days.{day}": "" for day in old}}
            await self.members.update_one({"_id": user_id}, gone)
        return True

    async def _upsert_member(self, user_id: str, change: Document) -> bool:
        try:
            result = await self.members.update_one({"_id": user_id}, change, upsert=True)
        except DuplicateKey:  # a parallel upsert has just created the document
            result = await self.members.update_one({"_id": user_id}, change)
        return result.modified_count > 0 or result.upserted_id is not None

    # history

    async def request(self, request_id: str) -> Document | None:
        """The request with this public ID, None if there is none."""
        return await self.requests.find_one({"public_id": request_id})

    async def list_requests(
        self, filters: Mapping[str, str | None], after: str | None, limit: int
    ) -> list[Document]:
        """Requests, newest first; with `after` only those before that public ID.

        Filters: `user_id`, `event_id`, `reward_id`, `status`, `created_from` and `created_to`.
        """
        where: Document = {
            name: filters[name]
            for name in ("user_id", "event_id", "reward_id", "status")
            if filters.get(name)
        }
        if where.get("status") == "pending":
            where["status"] = {"$in": ["pending", "working"]}
        # an ID begins with its time, so one index serves order, paging and period
        below = [after] if after else []
        if until := filters.get("created_to"):
            below.append(prefix(from_text(until)))
        bounds = {"$lt": min(below)} if below else {}
        if since := filters.get("created_from"):
            bounds["$gte"] = prefix(from_text(since))
        if bounds:
            where["public_id"] = bounds
        return await self.requests.find(where).sort([("public_id", -1)]).limit(limit).to_list(limit)


async def count(collection: Any, where: Mapping[str, Any]) -> int:
    """How many match, counted by the server."""
    found = await aggregate(collection, [{"$match": dict(where)}, {"$count": "n"}], 1)
    return int(found[0]["n"]) if found else 0
