"""Counts for the business metrics, with simple aggregation stages that every MongoDB has."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from event.ids import prefix
from event.records import Reward, records
from event.repository import MAX_REWARDS, count
from event.times import to_text
from shared.storage.mongo import Database, aggregate


class Counts:
    """Counts over all collections."""

    def __init__(self, database: Database) -> None:
        self._rewards = database["rewards"]
        self._participations = database["participations"]
        self._requests = database["requests"]
        self._members = database["members"]

    async def participants_of(self, event_ids: Iterable[str]) -> dict[str, int]:
        """How many users take part, by event."""
        return await _count_by(self._participations, {}, "event_id", event_ids)

    async def requests_by_event(self, status: str, event_ids: Iterable[str]) -> dict[str, int]:
        """How many requests have that status, by event."""
        return await _count_by(self._requests, {"status": status}, "event_id", event_ids)

    async def requests_by_status(self) -> dict[str, int]:
        """How many requests there are by status, without unfinished ones ("working")."""
        statuses = ("approved", "pending", "rejected")
        return {each: await count(self._requests, {"status": each}) for each in statuses}

    async def rewards_of_events(
        self, event_ids: Sequence[str]
    ) -> tuple[list[Reward], frozenset[str]]:
        """The rewards of these events, newest first, and the IDs of those whose stock moves."""
        if not event_ids:
            return [], frozenset()
        found = self._rewards.find({"event_id": {"$in": [*event_ids]}})
        rows = await found.to_list(len(event_ids) * MAX_REWARDS)
        rows.sort(key=itemgetter("_id"), reverse=True)
        return records(Reward, rows), frozenset(row["_id"] for row in rows if row["ops"])

    async def stock_held(self, reward_ids: Iterable[str]) -> dict[str, int]:
        """How many requests hold stock (approved or pending), by reward."""
        held = {"status": {"$in": ["approved", "pending"]}}
        return await _count_by(self._requests, held, "reward_id", reward_ids)

    async def count_members(self) -> int:
        """How many users are known."""
        return await count(self._members, {})

    async def registered_since(self, at: datetime) -> int:
        """Members who registered from that time on."""
        return await count(self._members, {"registered_at": {"$gte": to_text(at)}})

    async def logged_in_since(self, at: datetime) -> int:
        """Members whose last sign-in was from that time on."""
        return await count(self._members, {"last_login_at": {"$gte": to_text(at)}})

    async def joined_since(self, at: datetime) -> int:
        """Participations from that time on."""
        return await count(self._participations, {"joined_at": {"$gte": to_text(at)}})

    async def requested_since(self, at: datetime) -> int:
        """Requests made from that time on."""
        return await count(self._requests, {"public_id": {"$gte": prefix(at)}})

    async def decided_since(self, at: datetime) -> int:
        """Decisions of operators from that time on."""
        decided = {"decided_at": {"$gte": to_text(at)}, "decided_by": {"$exists": True}}
        return await count(self._requests, decided)


async def _count_by(
    collection: Any, where: Mapping[str, Any], field: str, keys: Iterable[str]
) -> dict[str, int]:
    """How many documents match, for each of the values `keys` of the field."""
    wanted = list(keys)
    if not wanted:
        return {}
    stages = [
        {"$match": {**where, field: {"$in": wanted}}},
        {"$group": {"_id": f"${field}", "n": {"$sum": 1}}},
    ]
    found = await aggregate(collection, stages, len(wanted))
    return {str(row["_id"]): int(row["n"]) for row in found}
