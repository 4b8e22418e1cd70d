"""Reads the gauges of `signals` from the database, so that they are true after any restart."""

from datetime import timedelta

from event import signals
from event.claim_repository import ClaimRepository
from event.ids import minted_at, now, prefix, to_text
from event.repository import count, count_by
from event.signals import Activity

RECENT = timedelta(minutes=5)
MAX_EVENTS = 500  # active ones that are looked at; 100 have series of their own


class Gauges:
    """Remembers between two readings only what did not add up in the last one."""

    def __init__(self, repository: ClaimRepository) -> None:
        self._repository = repository
        self._suspects: set[tuple[str, int, int, int]] = set()

    async def refresh(self) -> None:
        """Read everything once."""
        busy = await self._requests()
        await self._events(busy)
        await self._activity()

    async def _events(self, busy: set[str]) -> None:
        repo = self._repository
        active = await repo.list_events(["active"], None, MAX_EVENTS)
        ids = [event["_id"] for event in active]
        counted = await count_by(repo.participations, {}, "event_id", ids)
        for event in active:
            joined = counted.get(event["_id"], 0)
            if event["participants"] != joined:
                await repo.correct_participants(event["_id"], event["participants"], joined)
        members = await count(repo.members, {})
        signals.events({id_: counted.get(id_, 0) for id_ in ids}, members)

        requests: dict[tuple[str, ...], int] = {}
        for status in ("approved", "pending", "rejected"):
            found = await count_by(repo.requests, {"status": status}, "event_id", ids)
            requests |= {(id_, status): found.get(id_, 0) for id_ in ids}
        signals.event_requests(requests)

        rewards = await repo.rewards.find({"event_id": {"$in": ids}}).to_list(MAX_EVENTS * 100)
        held = await count_by(
            repo.requests,
            {"status": {"$in": ["approved", "pending"]}},
            "reward_id",
            [reward["_id"] for reward in rewards],
        )
        # Readings are not of one moment: only what is wrong in the same way twice counts
        wrong = {
            (r["_id"], r["stock"], r["stock_left"], held.get(r["_id"], 0))
            for r in rewards
            if not r["ops"]
            and r["_id"] not in busy
            and r["stock"] != r["stock_left"] + held.get(r["_id"], 0)
        }
        signals.stock(
            {(reward["event_id"], reward["_id"]): reward["stock_left"] for reward in rewards},
            len(wrong & self._suspects),
        )
        self._suspects = wrong

    async def _requests(self) -> set[str]:
        requests = self._repository.requests
        unfinished = await self._repository.unfinished()
        age = now() - minted_at(unfinished[0]["op"]["id"]) if unfinished else timedelta()
        awaiting = await count(requests, {"status": "pending"})
        signals.backlog(len(unfinished), age.total_seconds(), awaiting)
        approved = await count(requests, {"status": "approved"})
        signals.decisions(approved, await count(requests, {"status": "rejected"}))
        return {request["reward_id"] for request in unfinished}

    async def _activity(self) -> None:
        repo, begin = self._repository, now() - RECENT
        since = {"$gte": to_text(begin)}
        decided = {"decided_at": since, "decided_by": {"$exists": True}}
        signals.activity(
            {
                Activity.SIGN_UP: await count(repo.members, {"registered_at": since}),
                Activity.SIGN_IN: await count(repo.members, {"last_login_at": since}),
                Activity.PARTICIPATION: await count(repo.participations, {"joined_at": since}),
                Activity.REWARD_REQUEST: await count(
                    repo.requests, {"public_id": {"$gte": prefix(begin)}}
                ),
                Activity.DECISION: await count(repo.requests, decided),
            }
        )
