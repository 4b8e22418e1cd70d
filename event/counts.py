"""Counts for the business metrics, with simple aggregation stages that every MongoDB has."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from event.ids import prefix
from event.records import Reward
from event.repository import MAX_REWARDS
from event.states import Activity, RequestStatus
from shared.storage.mongo import Collection, Database
from shared.times import to_text


class Counts:
    """Counts over all collections."""

    def __init__(self, database: Database) -> None:
        self._rewards = database["rewards"]
        self._participations = database["participations"]
        self._requests = database["requests"]
        self._members = database["members"]

    async def participants_of(self, event_ids: Iterable[str]) -> dict[str, int]:
        return await _count_by(self._participations, {}, "event_id", event_ids)

    async def requests_by_event(self, status: str, event_ids: Iterable[str]) -> dict[str, int]:
        """How many requests have that status, by event."""
        return await _count_by(self._requests, {"status": status}, "event_id", event_ids)

    async def requests_by_status(self) -> dict[RequestStatus, int]:
        """How many requests there are by status, without unfinished ones."""
        return {each: await self._requests.count({"status": each}) for each in RequestStatus}

    async def rewards_of_events(
        self, event_ids: Sequence[str]
    ) -> tuple[list[Reward], frozenset[str]]:
        """The rewards of these events, newest first, and the IDs of those whose stock moves."""
        if not event_ids:
            return [], frozenset()
        of_events = {"event_id": {"$in": [*event_ids]}}
        rows = await self._rewards.find(of_events, limit=len(event_ids) * MAX_REWARDS)
        rows.sort(key=itemgetter("_id"), reverse=True)
        return Reward.read_all(rows), frozenset(row["_id"] for row in rows if row["ops"])

    async def stock_held(self, reward_ids: Iterable[str]) -> dict[str, int]:
        """How many requests hold stock (approved or pending), by reward."""
        held = {"status": {"$in": ["approved", "pending"]}}
        return await _count_by(self._requests, held, "reward_id", reward_ids)

    async def members(self) -> int:
        return await self._members.count({})

    async def activity_since(self, at: datetime) -> dict[Activity, int]:
        """What was done from that time on; of sign-ins, how many users did it."""
        since, made = {"$gte": to_text(at)}, {"public_id": {"$gte": prefix(at)}}
        decided = {"decided_at": since, "decided_by": {"$exists": True}}
        return {
            Activity.SIGN_UP: await self._members.count({"registered_at": since}),
            Activity.SIGN_IN: await self._members.count({"last_login_at": since}),
            Activity.PARTICIPATION: await self._participations.count({"joined_at": since}),
            Activity.REWARD_REQUEST: await self._requests.count(made),
            Activity.DECISION: await self._requests.count(decided),
        }


async def _count_by(
    collection: Collection, where: Mapping[str, Any], field: str, keys: Iterable[str]
) -> dict[str, int]:
    """How many documents match, for each of the values `keys` of the field."""
    wanted = list(keys)
    if not wanted:
        return {}
    stages = [
        {"$match": {**where, field: {"$in": wanted}}},
        {"$group": {"_id": f"${field}", "n": {"$sum": 1}}},
    ]
    found = await collection.aggregate(stages, len(wanted))
    return {str(row["_id"]): int(row["n"]) for row in found}
