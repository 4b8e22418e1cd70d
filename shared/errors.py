"""The errors of the domain. They know no HTTP: `shared.web.problems` maps each kind to a status."""

from typing import Any, Literal

#: why a needed part cannot be used, as readiness reports it
Cause = Literal["refused", "timeout", "credentials", "index", "version"]


class DomainError(Exception):
    """The base of all errors that are answered to the client.

    `code` is stable and for programs, `detail` is for people, `extra` are further members of the
    reply; `retry_after` are whole seconds, None if waiting does not help.
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
    """The request has no valid credentials."""

    code = "unauthenticated"


class Forbidden(DomainError):
    """The user is known, but may not do this."""

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
    """A needed part (database, upstream) is away; a retry may succeed."""

    code = "unavailable"
    retry_after = 1
    reason: Cause = "refused"


class BadGateway(DomainError):
    """A needed part gave an invalid answer."""

    code = "bad_gateway"


class Timeout(DomainError):
    """A needed part did not answer in time; the outcome is unknown."""

    code = "timeout"
    reason: Cause = "timeout"
