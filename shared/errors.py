"""What can go wrong in the domain, in words of the domain: no HTTP here.

DomainError
├── BadRequest        the request lacks something it must carry
├── Invalid           the request is well-formed but its content is not acceptable
├── Unauthenticated   nobody knows who asks
├── Forbidden         it is known who asks, and they may not
├── NotFound          there is no such thing, or none the asker may know of
├── Conflict          the state of things does not allow it
├── TooMany           asked too often
├── TooLarge          more than is taken
├── Unavailable       something we need is away; the same may work later
└── Timeout           something we need did not answer in time

`shared/web/problems.py` maps each to a status, once.
"""

from typing import Any


class DomainError(Exception):
    """An error a client is told of: a stable `code`, a sentence, and extra members."""

    code = "error"

    def __init__(self, detail: str = "", *, code: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.extra = extra


class BadRequest(DomainError):
    """The request lacks something it must carry."""

    code = "bad_request"


class Invalid(DomainError):
    """The content of the request is not acceptable."""

    code = "invalid_request"


class Unauthenticated(DomainError):
    """No valid proof of who asks."""

    code = "invalid_token"


class Forbidden(DomainError):
    """Known, and not allowed."""

    code = "forbidden"


class NotFound(DomainError):
    """No such thing, or none the asker may know of."""

    code = "not_found"


class Conflict(DomainError):
    """The state of things does not allow it; `retry_after` in seconds where waiting helps."""

    code = "conflict"

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail, code=code, **extra)
        self.retry_after = retry_after


class TooMany(DomainError):
    """Asked too often; may be asked again in `retry_after` seconds."""

    code = "rate_limited"

    def __init__(
        self, detail: str = "", *, retry_after: int, code: str | None = None, **extra: Any
    ) -> None:
        super().__init__(detail, code=code, **extra)
        self.retry_after = retry_after


class TooLarge(DomainError):
    """More than is taken."""

    code = "body_too_large"


class Unavailable(DomainError):
    """Something we need is away; `retry_after` in seconds."""

    code = "unavailable"

    def __init__(
        self, detail: str = "", *, code: str | None = None, retry_after: int = 1, **extra: Any
    ) -> None:
        super().__init__(detail, code=code, **extra)
        self.retry_after = retry_after


class Timeout(DomainError):
    """Something we need did not answer in time."""

    code = "timeout"
