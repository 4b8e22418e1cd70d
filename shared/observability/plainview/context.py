"""What is known about the request or message in work: its ID, who asked, which route."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass

from opentelemetry import trace

from .guarded import guarded
from .masking import mask_text

REQUEST_ID_HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(slots=True)
class RequestContext:
    """One per request; mutable, so that what the inside learns is seen by the middleware.

    `user_id` is the pseudonym, never the real ID; `route` a template such as `/users/{id}`.
    """

    request_id: str
    user_id: str | None = None
    route: str | None = None


_current: ContextVar[RequestContext | None] = ContextVar("plainview_request", default=None)
# Not the system's randomness: that is a system call per request, and IDs are no secrets.
_random = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_random.seed)
_RANDOM = secrets.token_bytes(32)
_key = _RANDOM


def current() -> RequestContext | None:
    """The context of the request in work, None outside of any."""
    return _current.get()


def request_id() -> str | None:
    """The ID of the request in work, None outside of any."""
    context = _current.get()
    return None if context is None else context.request_id


def new_request_id() -> str:
    """A fresh ID: 32 hex digits, so it passes the check for incoming ones."""
    return f"{_random.getrandbits(128):032x}"


def trace_id() -> str | None:
    """The trace of the current span, 32 hex digits, sampled or not; None without one."""
    number = trace.get_current_span().get_span_context().trace_id
    return f"{number:032x}" if number else None


def accepted_id(text: str) -> str | None:
    """An ID that came from outside, or None if it is not 8 to 64 harmless characters.

    One that looks like a secret is not taken either: logs and spans would mask it, and the same
    request would have several IDs.
    """
    return text if _ID.fullmatch(text) and mask_text(text) == text else None


def enter(context: RequestContext) -> Token[RequestContext | None]:
    """Make it the context of what is in work, until `leave`."""
    return _current.set(context)


def leave(token: Token[RequestContext | None]) -> None:
    """Undo `enter`."""
    try:
        _current.reset(token)
    except ValueError:  # closed from another task, as abandoned generators are: nothing to undo
        _current.set(None)


@contextmanager
def request_context(request_id: str | None = None) -> Iterator[RequestContext]:
    """Work inside has this request ID, or a new one; for requests, consumers and jobs."""
    context = RequestContext(text_of(request_id) if request_id else new_request_id())
    token = enter(context)
    try:
        yield context
    finally:
        leave(token)


def set_user_hash_key(key: str | None) -> None:
    """Key of the pseudonyms; with None they are only comparable within this process."""
    global _key  # noqa: PLW0603 - one per process, like the logs it serves
    _key = key.encode() if key else _RANDOM


def text_of(value: object) -> str:
    """The value as text; the name of its type, if it cannot say what it is."""
    try:
        return str(value)
    except Exception:  # whatever a `__str__` raises
        return type(value).__qualname__


def user_pseudonym(user_id: object) -> str:
    """HMAC-SHA256 of the ID as text, 16 hex digits: with the key, the same for the same user."""
    text = text_of(user_id).encode("utf-8", "replace")
    return hmac.new(_key, text, hashlib.sha256).hexdigest()[:16]


def bind_user(user_id: object) -> None:
    """Put the user's pseudonym on all further log lines of the request; no request: nothing.

    The ID may be a text, a number or a UUID.
    """
    context = _current.get()
    if context is not None:
        with guarded("logs"):
            context.user_id = user_pseudonym(user_id)
