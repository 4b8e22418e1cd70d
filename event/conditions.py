"""Whether a user may claim a reward now, apart from whether any stock is left."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from event.errors import ConditionUnmet, EventNotActive, ParticipationRequired, Refused
from event.records import Event, Member, Reward
from event.states import EventStatus
from event.store import Store
from shared.errors import NotFound
from shared.times import now


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a user; `today` and login days are days of the business time zone."""

    now: datetime
    today: date
    registered_at: datetime | None = None
    login_days: Collection[date] = field(default_factory=frozenset)
    participations: int = 0


def is_open(event: Event, at: datetime) -> bool:
    """Whether an event is active and within its dates."""
    return event.status == EventStatus.ACTIVE and event.starts_at <= at < event.ends_at


def login_streak(facts: Facts) -> int:
    """Days with a sign-in, without a gap, up to today; up to yesterday if today has none yet."""
    days = frozenset(facts.login_days)
    day = facts.today if facts.today in days else facts.today - timedelta(days=1)
    streak = 0
    while day in days:
        streak += 1
        day -= timedelta(days=1)
    return streak


def account_age(facts: Facts) -> int:
    """Whole days of 24 hours since the registration; 0 while it is not known."""
    return max(0, (facts.now - facts.registered_at).days) if facts.registered_at else 0


PARTICIPATIONS = "participations"
#: by type: the field of a condition that holds how much it requires, and how far a user has come
_TYPES: Mapping[str, tuple[str, Callable[[Facts], int]]] = {
    "login_streak": ("days", login_streak),
    PARTICIPATIONS: ("count", lambda facts: facts.participations),
    "account_age": ("days", account_age),
}


def evaluate(conditions: Sequence[Mapping[str, Any]], facts: Facts) -> list[dict[str, Any]]:
    """For each condition, e.g. `{"type": "login_streak", "days": 3}`, how far the user has come.

    `progress` is in the unit of `needed`, and `met` says whether it is enough.
    """
    verdicts = []
    for condition in conditions:
        needs, progress = _TYPES[condition["type"]]
        needed, done = int(condition[needs]), progress(facts)
        verdict = {"type": condition["type"], "needed": needed, "progress": done}
        verdicts.append({**verdict, "met": done >= needed})
    return verdicts


class Eligibility:
    """Reads what is needed to judge a claim, and judges it."""

    def __init__(self, store: Store, zone: ZoneInfo) -> None:
        self._store = store
        self._zone = zone

    async def refusal(self, user_id: str, reward: Reward) -> Refused | None:
        """The reason to refuse the claim, as an error to raise; None if the user may claim.

        Raises NotFound if the event is a draft, as users do not see drafts.
        """
        event, participation = await asyncio.gather(
            self._store.events.event(reward.event_id),
            self._store.events.participation(reward.event_id, user_id),
        )
        at = now()
        if event is not None and event.status == EventStatus.DRAFT:
            raise NotFound("There is no such reward")
        if event is None or not is_open(event, at):
            return EventNotActive("The event is not active now")
        if participation is None:
            return ParticipationRequired("Take part in the event first")
        if event.conditions:
            verdicts = evaluate(event.conditions, await self._facts(user_id, at, event.conditions))
            if not all(verdict["met"] for verdict in verdicts):
                return ConditionUnmet("Not all conditions are met", conditions=verdicts)
        return None

    async def _facts(
        self, user_id: str, at: datetime, conditions: Sequence[Mapping[str, Any]]
    ) -> Facts:
        member = await self._store.members.member(user_id) or Member(id=user_id)
        counts = any(condition["type"] == PARTICIPATIONS for condition in conditions)
        return Facts(
            now=at,
            today=at.astimezone(self._zone).date(),
            registered_at=member.registered_at,
            login_days={datetime.strptime(day, "%Y%m%d").date() for day in member.login_days},
            participations=await self._store.events.participations_of(user_id) if counts else 0,
        )
