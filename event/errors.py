"""The errors that only this service knows, by what they contradict."""

from event.reasons import Reason
from shared.errors import BadRequest, Conflict, Invalid


class Refused(Conflict):
    """A claim that gets nothing and leaves nothing behind; `reason` is its label."""

    reason = Reason.NONE


class SoldOut(Refused):
    """Nothing is left."""

    code = reason = Reason.SOLD_OUT


class ConditionUnmet(Refused):
    """The user has not come far enough; `conditions` tells how far."""

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
    """The same thing is being done right now, or was begun by a process that died."""

    code = "in_flight"
    retry_after = 1


class KeyMismatch(Invalid):
    """The key was used for another request."""

    code = "key_mismatch"


class MissingKey(BadRequest):
    """There is no usable Idempotency-Key."""

    code = "missing_idempotency_key"
