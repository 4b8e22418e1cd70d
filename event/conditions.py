"""Conditions for a reward, as pure functions of what is known about the event and the user."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from event.records import Event
from event.states import EventStatus


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a user; `today` and login days are days of the business time zone."""

    now: datetime
    today: date
    registered_at: datetime | None = None
    login_days: Collection[date] = field(default_factory=frozenset)
    participations: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the user has come towards one condition: `progress` of `needed`, in its unit."""

    type: str
    needed: int
    progress: int

    @property
    def met(self) -> bool:
        return self.progress >= self.needed

    def document(self) -> dict[str, Any]:
        """The verdict as it is put into a reply."""
        return {**asdict(self), "met": self.met}


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


def evaluate(conditions: Sequence[Mapping[str, Any]], facts: Facts) -> list[Verdict]:
    """A verdict per condition, `{"type": "login_streak", "days": 3}` for example."""
    return [
        Verdict(condition["type"], int(condition[needs]), progress(facts))
        for condition in conditions
        for needs, progress in [_TYPES[condition["type"]]]
    ]
