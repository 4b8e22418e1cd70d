"""Sets the gauges of `signals` from the database, so they are right after any restart."""

from datetime import timedelta

from event import signals
from event.ids import minted_at
from event.states import RequestStatus
from event.store import Store
from shared.times import now

RECENT = timedelta(minutes=5)
MAX_EVENTS = 500  # active events that are read; 100 of them have series of their own


class Gauges:
    """Reads the gauges; between readings it keeps only rewards whose stock did not add up."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._suspects: set[tuple[str, int, int, int]] = set()

    async def turn(self) -> None:
        """Read all values from the database and set the gauges."""
        busy = await self._requests()
        await self._events(busy)
        signals.activity(await self._store.counts.activity_since(now() - RECENT))

    async def _events(self, busy: set[str]) -> None:
        repo, counts = self._store.events, self._store.counts
        active = await repo.list_events(["active"], None, MAX_EVENTS)
        ids = [event.id for event in active]
        rewards, changing = await counts.rewards_of_events(ids)
        held = await counts.stock_held([reward.id for reward in rewards])
        # the titles first: a panel leaves out numbers that it finds no title for
        signals.titles(
            {event.id: event.title for event in active},
            {(reward.id, reward.event_id): reward.name for reward in rewards},
        )
        counted = await counts.participants_of(ids)
        for event in active:
            joined = counted.get(event.id, 0)
            if event.participants != joined:
                await repo.correct_participants(event.id, event.participants, joined)
        signals.events({id_: counted.get(id_, 0) for id_ in ids}, await counts.members())

        requests: dict[tuple[str, ...], int] = {}
        for status in RequestStatus:
            found = await counts.requests_by_event(status, ids)
            requests |= {(id_, status.value): found.get(id_, 0) for id_ in ids}
        signals.event_requests(requests)

        # These reads are not one snapshot, so a claim in between can make the sum look wrong.
        # Only a reward with the same wrong numbers in two readings counts as a violation.
        wrong = {
            (r.id, r.stock, r.stock_left, held.get(r.id, 0))
            for r in rewards
            if r.id not in busy | changing and r.stock != r.stock_left + held.get(r.id, 0)
        }
        signals.stock(
            {(reward.event_id, reward.id): reward.stock_left for reward in rewards},
            len(wrong & self._suspects),
        )
        self._suspects = wrong

    async def _requests(self) -> set[str]:
        unfinished = await self._store.requests.unfinished()
        by_status = await self._store.counts.requests_by_status()
        oldest = unfinished[0].op if unfinished else None
        age = now() - minted_at(oldest.id) if oldest else timedelta()
        signals.backlog(len(unfinished), age.total_seconds(), by_status[RequestStatus.PENDING])
        signals.decisions(by_status[RequestStatus.APPROVED], by_status[RequestStatus.REJECTED])
        return {request.reward_id for request in unfinished}
