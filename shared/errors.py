"""What can go wrong in the domain. Nothing here knows HTTP: `shared.web.problems` maps each kind.

DomainError
├── Invalid           the data makes no sense
├── BadRequest        the request is incomplete or malformed
├── Unauthenticated   nobody, or somebody unknown, asks
├── Forbidden         known, but not allowed to
├── NotFound          it does not exist, or not for this user
├── Conflict          it contradicts the present state
├── TooMany           a limit is used up
├── Unavailable       a part that is needed is away; the same may work later
├── BadGateway        a part that is needed gave an answer that is none
└── Timeout           a part that is needed did not answer in time; the outcome is unknown
"""

from typing import Any, Literal

#: why a part that is needed cannot be used, as readiness tells it
Reason = Literal["refused", "timeout", "credentials", "index", "version"]


class DomainError(Exception):
    """An answer that the domain gives instead of a result.

    `code` is stable and for programs, `detail` is for people, `extra` goes into the answer as is;
    `retry_after` are whole seconds, where waiting helps.
    """

    code = "error"
    retry_after: int | None = None

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.retry_after = type(self).retry_after if retry_after is None else retry_after
        self.extra = extra


class Invalid(DomainError):
    """The data makes no sense."""

    code = "invalid_request"


class BadRequest(DomainError):
    """The request is incomplete or malformed."""

    code = "bad_request"


class Unauthenticated(DomainError):
    """Nobody, or somebody unknown, asks."""

    code = "unauthenticated"


class Forbidden(DomainError):
    """Known, but not allowed to."""

    code = "forbidden"


class NotFound(DomainError):
    """It does not exist, or not for this user."""

    code = "not_found"


class Conflict(DomainError):
    """It contradicts the present state."""

    code = "conflict"


class TooMany(DomainError):
    """A limit is used up."""

    code = "rate_limited"
    retry_after = 1


class Unavailable(DomainError):
    """A part that is needed is away; the same may work later."""

    code = "unavailable"
    retry_after = 1
    reason: Reason = "refused"


class BadGateway(DomainError):
    """A part that is needed gave an answer that is none."""

    code = "bad_gateway"


class Timeout(DomainError):
    """A part that is needed did not answer in time; the outcome is unknown."""

    code = "timeout"
    reason: Reason = "timeout"
