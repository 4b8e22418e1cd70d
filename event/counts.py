"""Counts for the business metrics, with simple aggregation stages that every MongoDB has."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from event.ids import prefix
from event.repository import MAX_REWARDS, Repository, count
from event.times import to_text
from shared.storage.mongo import Document, aggregate


class Counts:
    """Counts over the collections of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def participants_of(self, event_ids: Iterable[str]) -> dict[str, int]:
        """How many users take part, by event."""
        return await _count_by(self._repository.participations, {}, "event_id", event_ids)

    async def requests_by_event(self, status: str, event_ids: Iterable[str]) -> dict[str, int]:
        """How many requests have that status, by event."""
        return await _count_by(self._repository.requests, {"status": status}, "event_id", event_ids)

    async def requests_by_status(self) -> dict[str, int]:
        """How many requests there are by status, without unfinished ones ("working")."""
        statuses = ("approved", "pending", "rejected")
        return {each: await count(self._repository.requests, {"status": each}) for each in statuses}

    async def rewards_of_events(self, event_ids: Sequence[str]) -> list[Document]:
        """The rewards of these events, newest first, with the markers of their stock."""
        if not event_ids:
            return []
        found = self._repository.rewards.find({"event_id": {"$in": [*event_ids]}})
        rewards = await found.to_list(len(event_ids) * MAX_REWARDS)
        return sorted(rewards, key=itemgetter("_id"), reverse=True)

    async def stock_held(self, reward_ids: Iterable[str]) -> dict[str, int]:
        """How many requests hold stock (approved or pending), by reward."""
        held = {"status": {"$in": ["approved", "pending"]}}
        return await _count_by(self._repository.requests, held, "reward_id", reward_ids)

    async def count_members(self) -> int:
        """How many users are known."""
        return await count(self._repository.members, {})

    async def registered_since(self, at: datetime) -> int:
        """Members who registered from that time on."""
        return await count(self._repository.members, {"registered_at": {"$gte": to_text(at)}})

    async def logged_in_since(self, at: datetime) -> int:
        """Members whose last sign-in was from that time on."""
        return await count(self._repository.members, {"last_login_at": {"$gte": to_text(at)}})

    async def joined_since(self, at: datetime) -> int:
        """Participations from that time on."""
        return await count(self._repository.participations, {"joined_at": {"$gte": to_text(at)}})

    async def requested_since(self, at: datetime) -> int:
        """Requests made from that time on."""
        return await count(self._repository.requests, {"public_id": {"$gte": prefix(at)}})

    async def decided_since(self, at: datetime) -> int:
        """Decisions of operators from that time on."""
        decided = {"decided_at": {"$gte": to_text(at)}, "decided_by": {"$exists": True}}
        return await count(self._repository.requests, decided)


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
