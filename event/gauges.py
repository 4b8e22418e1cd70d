"""Sets the gauges of `signals` from the database, so they are right after any restart."""

from datetime import timedelta

from event import signals
from event.claim_repository import ClaimRepository
from event.counts import Counts
from event.ids import minted_at
from event.signals import Activity
from event.times import now

RECENT = timedelta(minutes=5)
MAX_EVENTS = 500  # active events that are read; 100 of them have series of their own


class Gauges:
    """Reads the gauges; between readings it keeps only rewards whose stock did not add up."""

    def __init__(self, repository: ClaimRepository) -> None:
        self._repository = repository
        self._counts = Counts(repository)
        self._suspects: set[tuple[str, int, int, int]] = set()

    async def refresh(self) -> None:
        """Read all values from the database and set the gauges."""
        busy = await self._requests()
        await self._events(busy)
        await self._activity()

    async def _events(self, busy: set[str]) -> None:
        repo, counts = self._repository, self._counts
        active = await repo.list_events(["active"], None, MAX_EVENTS)
        ids = [event["_id"] for event in active]
        rewards = await counts.rewards_of_events(ids)
        held = await counts.stock_held([reward["_id"] for reward in rewards])
        # the titles first: a panel leaves out numbers that it finds no title for
        signals.titles(
            {event["_id"]: event["title"] for event in active},
            {(reward["_id"], reward["event_id"]): reward["name"] for reward in rewards},
        )
        counted = await counts.participants_of(ids)
        for event in active:
            joined = counted.get(event["_id"], 0)
            if event["participants"] != joined:
                await repo.correct_participants(event["_id"], event["participants"], joined)
        signals.events({id_: counted.get(id_, 0) for id_ in ids}, await counts.count_members())

        requests: dict[tuple[str, ...], int] = {}
        for status in ("approved", "pending", "rejected"):
            found = await counts.requests_by_event(status, ids)
            requests |= {(id_, status): found.get(id_, 0) for id_ in ids}
        signals.event_requests(requests)

        # These reads are not one snapshot, so a claim in between can make the sum look wrong.
        # Only a reward with the same wrong numbers in two readings counts as a violation.
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
        unfinished = await self._repository.unfinished()
        by_status = await self._counts.requests_by_status()
        age = now() - minted_at(unfinished[0]["op"]["id"]) if unfinished else timedelta()
        signals.backlog(len(unfinished), age.total_seconds(), by_status["pending"])
        signals.decisions(by_status["approved"], by_status["rejected"])
        return {request["reward_id"] for request in unfinished}

    async def _activity(self) -> None:
        counts, since = self._counts, now() - RECENT
        signals.activity(
            {
                Activity.SIGN_UP: await counts.registered_since(since),
                Activity.SIGN_IN: await counts.logged_in_since(since),
                Activity.PARTICIPATION: await counts.joined_since(since),
                Activity.REWARD_REQUEST: await counts.requested_since(since),
                Activity.DECISION: await counts.decided_since(since),
            }
        )
