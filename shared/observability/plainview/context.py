"""Who asks, in which request: one mutable record per request, in a context variable."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry import trace

REQUEST_ID_HEADER = "X-Request-ID"
_VALID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_hash_key = secrets.token_bytes(32)  # until configured: pseudonyms last as long as the process


@dataclass(slots=True)
class RequestContext:
    """One request. Mutable, so that what a dependency learns is seen by the outer middleware."""

    request_id: str
    user_id: str | None = None
    route: str | None = None


_current: ContextVar[RequestContext | None] = ContextVar("plainview_request", default=None)


def current() -> RequestContext | None:
    """The request being served, None outside of one."""
    return _current.get()


def new_request_id() -> str:
    """32 hex digits."""
    return secrets.token_hex(16)


def valid_request_id(value: str | None) -> str | None:
    """The value if it is a request ID (8 to 64 of `A-Za-z0-9._-`), else None."""
    return value if value is not None and _VALID.fullmatch(value) else None


def request_id() -> str | None:
    """ID of the request being served, None outside of one."""
    context = _current.get()
    return context.request_id if context else None


def trace_id() -> str | None:
    """Trace ID of the current span as 32 hex digits, None without one."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None


def set_hash_key(key: str | None) -> None:
    """Key of the pseudonyms; None keeps the random one of this process."""
    global _hash_key  # noqa: PLW0603
    if key:
        _hash_key = key.encode()


def user_pseudonym(user_id: str) -> str:
    """16 hex digits that stand for a user: HMAC-SHA256 with `user_hash_key`."""
    return hmac.digest(_hash_key, user_id.encode(), "sha256").hex()[:16]


def bind_user(user_id: str) -> None:
    """Put the user's pseudonym on the log lines of this request from here on."""
    context = _current.get()
    if context is not None:
        context.user_id = user_pseudonym(user_id)


@contextmanager
def request_context(request_id: str | None = None) -> Iterator[RequestContext]:
    """Work outside HTTP (a job, a message) under a request ID; an invalid one is replaced."""
    context = RequestContext(valid_request_id(request_id) or new_request_id())
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
