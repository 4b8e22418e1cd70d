"""What the service stores, one class per kind of document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from shared.storage.records import Record, Stored, TextTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    """An event; `rewards` counts its rewards and is None where an older version made it."""

    id: str
    title: str
    description: str
    status: str
    starts_at: TextTime
    ends_at: TextTime
    conditions: Sequence[Mapping[str, Any]] = ()
    participants: int = 0
    rewards: int | None = None
    created_at: TextTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward(Record):
    """A reward of an event: `stock` is its total, `stock_left` what can still be requested.

    Its document also has the markers `ops` and `fenced` of changes of the stock, see `Markers`.
    """

    id: str
    event_id: str
    name: str
    kind: str
    amount: int
    stock: int
    stock_left: int
    approval: str


@dataclass(frozen=True, slots=True)
class Markers:
    """IDs of changes that a reward's stock contains (`ops`) or must not accept (`fenced`)."""

    reward_id: str
    ops: frozenset[str]
    fenced: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation(Record):
    """A user takes part in an event; there is one for each event and user."""

    event_id: str
    user_id: str
    joined_at: TextTime

    @property
    def key(self) -> str:
        return f"{self.event_id}:{self.user_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Record):
    """A user as known from auth's announcements; `login_days` has days as YYYYMMDD."""

    id: str
    registered_at: TextTime | None = None
    last_login_at: TextTime | None = None
    login_days: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Op:
    """A change of stock that is to be made once: -1 for a claim, +1 for a rejection."""

    id: str
    delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Record):
    """A user's request for a reward; there is one for each reward and user.

    `op` is the change of stock that is not finished yet, `user_key` is "<user>:<Idempotency-Key>".
    """

    id: Annotated[str, Stored("public_id")]
    user_key: str
    event_id: str
    reward_id: str
    user_id: str
    approval: str
    status: str
    reason: str
    created_at: TextTime
    decided_at: TextTime | None = None
    decided_by: str | None = None
    op: Annotated[Op | None, Stored(dump=asdict, load=lambda stored: Op(**stored))] = None

    @property
    def key(self) -> str:
        return f"{self.reward_id}:{self.user_id}"
