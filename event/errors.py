"""Domain errors of this service."""

from event.states import Reason
from shared.errors import BadRequest, Conflict, Invalid


class Refused(Conflict):
    """A claim gets nothing and nothing of it is stored; `reason` is the label of its metric."""

    reason = Reason.NONE


class SoldOut(Refused):
    """The reward has no stock left."""

    code = reason = Reason.SOLD_OUT


class ConditionUnmet(Refused):
    """The user does not meet all conditions; `conditions` has the progress of each."""

    code: str = Reason.CONDITION_UNMET
    reason = Reason.CONDITION_UNMET


class ParticipationRequired(ConditionUnmet):
    """The user does not take part in the event."""

    code = "participation_required"


class AlreadyRequested(Refused):
    """The user has requested this reward under another key."""

    code = reason = Reason.ALREADY_REQUESTED


class EventNotActive(Refused):
    """The event is a draft, closed, not yet begun or over."""

    code = reason = Reason.EVENT_NOT_ACTIVE


class InFlight(Conflict):
    """The same request is being worked on, or was begun by a process that died."""

    code = "in_flight"
    retry_after = 1


class KeyMismatch(Invalid):
    """The key was used for another request."""

    code = "key_mismatch"


class MissingKey(BadRequest):
    """There is no usable Idempotency-Key."""

    code = "missing_idempotency_key"
