"""What the service stores, one class per kind of document; times are the text of `event.times`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from shared.storage.mongo import Document

R = TypeVar("R", bound="Event | Reward | Participation | Member | Request")
WORKING = "working"  # status of a request whose change of stock is not finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event; `rewards` counts its rewards and is None where an older version made it."""

    id: str
    title: str
    description: str
    status: str
    starts_at: str
    ends_at: str
    conditions: Sequence[Mapping[str, Any]] = ()
    participants: int = 0
    rewards: int | None = None
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
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
class Participation:
    """A user takes part in an event; there is one for each event and user."""

    event_id: str
    user_id: str
    joined_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user as known from auth's announcements; `login_days` has days as YYYYMMDD."""

    id: str
    registered_at: str | None = None
    last_login_at: str | None = None
    login_days: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Op:
    """A change of stock that is to be made once: -1 for a claim, +1 for a rejection."""

    id: str
    delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A user's request for a reward; there is one for each reward and user.

    `op` is the change of stock that is not finished yet, `user_key` is "<user>:<Idempotency-Key>".
    """

    id: str
    user_key: str
    event_id: str
    reward_id: str
    user_id: str
    approval: str
    status: str
    reason: str
    created_at: str
    decided_at: str | None = None
    decided_by: str | None = None
    op: Op | None = None

    @property
    def key(self) -> str:
        """The ID of its document."""
        return f"{self.reward_id}:{self.user_id}"


_FIELDS: dict[type, list[str]] = {
    kind: [each.name for each in fields(kind)]
    for kind in (Event, Reward, Participation, Member, Request)
}


def records(kind: type[R], documents: Iterable[Mapping[str, Any]]) -> list[R]:
    """The records that documents hold; fields that this version does not know are left out."""
    made = []
    for stored in documents:
        values = {name: stored[name] for name in _FIELDS[kind] if name in stored}
        if kind is Request:
            values["id"] = stored["public_id"]
            values["op"] = Op(**stored["op"]) if "op" in stored else None
        elif kind is not Participation:
            values["id"] = stored["_id"]
        made.append(kind(**values))
    return made


def record(kind: type[R], stored: Mapping[str, Any] | None) -> R | None:
    """The record that a document holds, None for None."""
    return None if stored is None else records(kind, [stored])[0]


def document(item: Event | Reward | Participation | Request) -> Document:
    """The document that stores a new record, without the fields that are not set yet."""
    values = {name: value for name, value in asdict(item).items() if value is not None}
    match item:
        case Request():
            return {"_id": item.key, "public_id": values.pop("id"), "decided_at": None, **values}
        case Participation():
            return {"_id": f"{item.event_id}:{item.user_id}", **values}
        case Reward():
            return {"_id": values.pop("id"), **values, "ops": {}, "fenced": {}}
        case Event():
            return {"_id": values.pop("id"), **values}
