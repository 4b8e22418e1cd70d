"""Events, rewards, participations and the history of requests; claims are in `claims`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from event import signals
from event.conditions import is_open
from event.errors import EventNotActive
from event.ids import decode_cursor, encode_cursor, new_id
from event.records import Event, Participation, Request, Reward
from event.repository import MAX_REWARDS
from event.schemas import EventChange, EventIn, RewardIn
from event.states import EventStatus
from event.store import Store
from plainview import get_logger
from shared.errors import Conflict, Invalid, NotFound
from shared.times import now

log = get_logger("business")

T = TypeVar("T")
NEXT = {EventStatus.DRAFT: EventStatus.ACTIVE, EventStatus.ACTIVE: EventStatus.CLOSED}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next_cursor` continues it, None if nothing follows."""

    items: Sequence[T]
    next_cursor: str | None = None


class Service:
    """What users and operators do, apart from claims."""

    def __init__(self, store: Store) -> None:
        self._events, self._requests = store.events, store.requests

    async def create_event(self, given: EventIn) -> Event:
        if given.starts_at >= given.ends_at:
            raise Invalid("An event ends after it starts")
        at = now()
        event = Event(
            id=new_id(at),
            **given.model_dump(),
            rewards=0,
            created_at=at,
        )
        await self._events.add_event(event)
        log.info("event.created", event_id=event.id, status=event.status)
        return event

    async def event(self, event_id: str, *, drafts: bool = True) -> Event:
        """One event, or NotFound; also for a draft if `drafts` is false, as it is for users."""
        event = await self._events.event(event_id)
        if event is None or (event.status == EventStatus.DRAFT and not drafts):
            raise NotFound("There is no such event")
        return event

    async def list_events(
        self, status: EventStatus | None, cursor: str | None, limit: int, *, drafts: bool = True
    ) -> Page[Event]:
        """A page of events, newest first; drafts only if `drafts` is true."""
        after = decode_cursor(cursor) if cursor else None
        wanted = [status] if status else [*EventStatus]
        statuses = [each for each in wanted if drafts or each is not EventStatus.DRAFT]
        rows = await self._events.list_events(statuses, after, limit + 1) if statuses else []
        return page(rows, limit, lambda event: event.id)

    async def change_event(self, event_id: str, given: EventChange) -> Event:
        """Change the given fields; NotFound, Conflict, Invalid.

        The status moves one step forward at a time, and a closed event cannot change.
        """
        event = await self.event(event_id)
        wanted = given.model_dump(exclude_none=True)
        change = {name: value for name, value in wanted.items() if getattr(event, name) != value}
        if not change:
            return event
        old = EventStatus(event.status)
        if old is EventStatus.CLOSED:
            raise Conflict("The event is closed", code="event_closed")
        if "status" in change and NEXT[old] != change["status"]:
            raise Conflict(f"An event that is {old} becomes {NEXT[old]}", code="invalid_transition")
        becomes = replace(event, **change)
        if becomes.starts_at >= becomes.ends_at:
            raise Invalid("An event ends after it starts")
        changed = await self._events.change_event(event, change)
        if changed is None:
            raise Conflict("The event was changed by somebody else", code="changed_meanwhile")
        log.info("event.changed", event_id=event_id, status=changed.status, fields=[*change])
        return changed

    async def join(
        self, event_id: str, user_id: str, *, drafts: bool = True
    ) -> tuple[Participation, bool]:
        """Take part in an event; the participation, and whether it is new."""
        event = await self.event(event_id, drafts=drafts)
        known = await self._events.participation(event_id, user_id)
        at = now()
        if known is None and not is_open(event, at):
            signals.participation("refused")
            raise EventNotActive("The event is not active now")
        participation = known or Participation(event_id=event_id, user_id=user_id, joined_at=at)
        joined = known is None and await self._events.join(participation)
        signals.participation("joined" if joined else "repeated")
        if joined:
            log.info("event.joined", event_id=event_id)
        return participation, joined

    async def participations(
        self, event_id: str, cursor: str | None, limit: int
    ) -> Page[Participation]:
        await self.event(event_id)
        after = decode_cursor(cursor) if cursor else None
        rows = await self._events.list_participations(event_id, after, limit + 1)
        return page(rows, limit, lambda participation: participation.user_id)

    async def create_reward(self, event_id: str, given: RewardIn) -> Reward:
        """A new reward with all of its stock left."""
        event = await self.event(event_id)
        if event.status == EventStatus.CLOSED:
            raise Conflict("The event is closed", code="event_closed")
        if not await self._events.make_room(event):
            raise Conflict(f"An event has at most {MAX_REWARDS} rewards", code="too_many_rewards")
        reward = Reward(
            id=new_id(),
            event_id=event_id,
            **given.model_dump(),
            stock_left=given.stock,
        )
        await self._events.add_reward(reward)
        log.info("reward.created", event_id=event_id, reward_id=reward.id, stock=given.stock)
        return reward

    async def rewards_of(self, event_id: str, *, drafts: bool = True) -> Sequence[Reward]:
        await self.event(event_id, drafts=drafts)
        return await self._events.rewards_of(event_id)

    async def reward(self, reward_id: str, *, drafts: bool = True) -> Reward:
        """One reward, or NotFound; also for one of a draft if `drafts` is false."""
        reward = await self._events.reward(reward_id)
        if reward is None:
            raise NotFound("There is no such reward")
        if not drafts:
            event = await self._events.event(reward.event_id)
            if event is None or event.status == EventStatus.DRAFT:
                raise NotFound("There is no such reward")
        return reward

    async def restock(self, reward_id: str, total: int) -> Reward:
        """Set the total stock; Conflict if more than that is granted or pending."""
        for _ in range(5):  # read again if another restock came in between
            reward = await self.reward(reward_id)
            if reward.stock_left + total - reward.stock < 0:
                break
            changed = await self._events.restock(reward, total)
            if changed is not None:
                log.info("reward.restocked", reward_id=reward_id, stock=total)
                return changed
        raise Conflict("More than that is granted or pending", code="stock_below_granted")

    async def history(
        self, filters: Mapping[str, Any], cursor: str | None, limit: int
    ) -> Page[Request]:
        after = decode_cursor(cursor) if cursor else None
        rows = await self._requests.list_requests(filters, after, limit + 1)
        return page(rows, limit, lambda request: request.id)

    async def request(self, request_id: str, owner: str | None) -> Request:
        """One request; NotFound if it does not belong to `owner` (None: whoever has it)."""
        request = await self._requests.request(request_id)
        if request is None or (owner is not None and request.user_id != owner):
            raise NotFound("There is no such reward request")
        return request


def page(rows: Sequence[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """The first `limit` rows, and, if there are more, a cursor made of the last one's key."""
    items = rows[:limit]
    return Page(items, encode_cursor(key(items[-1])) if len(rows) > limit else None)
