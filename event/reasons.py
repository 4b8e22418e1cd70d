"""Why a reward request got its status: the label of its metric and the code of its refusal."""

from enum import StrEnum


class Reason(StrEnum):
    """The reasons; console/static/words.json has a text for each, which a test checks."""

    NONE = "none"
    SOLD_OUT = "sold_out"
    CONDITION_UNMET = "condition_unmet"
    ALREADY_REQUESTED = "already_requested"
    EVENT_NOT_ACTIVE = "event_not_active"
    OPERATOR = "operator"
    TECHNICAL = "technical"
