"""Bodies of requests and replies."""

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from event.ids import ID
from event.states import WORKING, EventStatus, RequestStatus
from shared.errors import NotFound
from shared.times import to_text, whole_ms
from shared.web.body_limit import Body
from shared.web.text import LINE, LINES

T = TypeVar("T")


def _known(value: str) -> str:
    if not ID.fullmatch(value):
        raise NotFound("There is no such thing")
    return value


Id = Annotated[str, AfterValidator(_known)]
"""An ID in a path. Text that cannot be an ID is NotFound, not a validation error."""

Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=LINE)
]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=LINES)]
Amount = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
Stock = Annotated[int, Field(ge=0, le=10_000_000, strict=True)]


# RFC 3339, section 5.6, with "T" and a full offset; pydantic alone accepts numbers and more.
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _written(value: object) -> object:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("a time is written as 2026-01-31T09:00:00Z (RFC 3339)")
    return value


_YEARS = Field(ge=datetime(1971, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))
Moment = Annotated[AwareDatetime, BeforeValidator(_written), _YEARS, AfterValidator(whole_ms)]


class LoginStreak(Body):
    """Sign-ins on so many days in a row."""

    type: Literal["login_streak"]
    days: int = Field(ge=1, le=365, strict=True)


class Participations(Body):
    """Participation in so many events, this one included."""

    type: Literal["participations"]
    count: int = Field(ge=1, le=1000, strict=True)


class AccountAge(Body):
    """Registration so many days ago."""

    type: Literal["account_age"]
    days: int = Field(ge=1, le=3650, strict=True)


Condition = Annotated[LoginStreak | Participations | AccountAge, Field(discriminator="type")]
Conditions = Annotated[list[Condition], Field(max_length=10)]


class EventIn(Body):
    """A new event."""

    title: Title
    description: Text = ""
    starts_at: Moment
    ends_at: Moment
    conditions: Conditions = Field([])
    status: Literal[EventStatus.DRAFT, EventStatus.ACTIVE] = EventStatus.DRAFT


class EventChange(Body):
    """What changes of an event; the rest stays."""

    title: Title | None = None
    description: Text | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    status: EventStatus | None = None


class RewardIn(Body):
    """A new reward of an event; `amount` is points, or how many of the coupon or item."""

    name: Title
    kind: Literal["points", "coupon", "item"]
    amount: Amount = 1
    stock: Stock
    approval: Literal["automatic", "manual"] = "automatic"


class StockIn(Body):
    """The new total of a reward, granted and pending ones included."""

    stock: Stock


class ClaimIn(Body):
    """A claim says all in its path; its body is empty."""


class DecisionIn(Body):
    """An operator's decision."""

    status: Literal[RequestStatus.APPROVED, RequestStatus.REJECTED]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=LINE)] = (
        "operator"
    )


Time = Annotated[
    datetime,
    PlainSerializer(to_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class EventOut(BaseModel):
    """An event."""

    id: str
    title: str
    description: str
    status: EventStatus
    starts_at: Time
    ends_at: Time
    conditions: list[Condition]
    participants: int
    created_at: Time


class RewardOut(BaseModel):
    """A reward; `stock` is its total, `stock_left` what can still be requested."""

    id: str
    event_id: str
    name: str
    kind: str
    amount: int
    stock: int
    stock_left: int
    approval: str


class ParticipationOut(BaseModel):
    """A user takes part in an event."""

    event_id: str
    user_id: str
    joined_at: Time


def _shown(status: str) -> str:
    return "pending" if status == WORKING else status


class RequestOut(BaseModel):
    """A reward request; while its stock is being moved it is shown as pending."""

    id: str
    event_id: str
    reward_id: str
    user_id: str
    status: Annotated[RequestStatus, BeforeValidator(_shown)]
    reason: str
    created_at: Time
    decided_at: Time | None


class Page(BaseModel, Generic[T]):
    """A part of a list; `next_cursor` continues it."""

    items: list[T]
    next_cursor: str | None = None


class Rewards(BaseModel):
    """The rewards of an event, all at once."""

    items: list[RewardOut]
