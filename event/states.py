"""The words for what becomes of events and requests: stored, sent, and values of labels."""

from enum import StrEnum


class EventStatus(StrEnum):
    """A draft becomes active, and an active event closed."""

    DRAFT = "draft"
    ACTIVE = "active"
    CLOSED = "closed"


class RequestStatus(StrEnum):
    """What has become of a reward request."""

    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"


WORKING = "working"  # stored instead while a request's change of stock is not finished


class Reason(StrEnum):
    """Why a request got its status, also the code of a refusal.

    console/static/words.json has a text for each, which a test checks.
    """

    NONE = "none"
    SOLD_OUT = "sold_out"
    CONDITION_UNMET = "condition_unmet"
    ALREADY_REQUESTED = "already_requested"
    EVENT_NOT_ACTIVE = "event_not_active"
    OPERATOR = "operator"
    TECHNICAL = "technical"


class Activity(StrEnum):
    """Kinds of activity."""

    SIGN_UP = "sign_up"
    SIGN_IN = "sign_in"
    PARTICIPATION = "participation"
    REWARD_REQUEST = "reward_request"
    DECISION = "decision"
