"""The context of the request or message being handled: its ID, user and route."""

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
from functools import lru_cache

from opentelemetry import trace

from .guarded import guarded
from .masking import mask_text

REQUEST_ID_HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(slots=True)
class RequestContext:
    """One per request; mutable, so that the middleware sees what the application adds.

    `user_id` is the pseudonym, never the real ID; `route` is a template such as `/users/{id}`.
    """

    request_id: str
    user_id: str | None = None
    route: str | None = None


_current: ContextVar[RequestContext | None] = ContextVar("plainview_request", default=None)
# Not the system's randomness, which costs a system call per request; IDs need not be secret.
_random = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_random.seed)
_RANDOM = secrets.token_bytes(32)
_key = _RANDOM


def current() -> RequestContext | None:
    """The context of the current request, None outside of one."""
    return _current.get()


def request_id() -> str | None:
    """The ID of the current request, None outside of one."""
    context = _current.get()
    return None if context is None else context.request_id


def new_request_id() -> str:
    """A new ID of 32 hex digits, which `accepted_id` of other services accepts."""
    return f"{_random.getrandbits(128):032x}"


def trace_id() -> str | None:
    """The trace of the current span, 32 hex digits, sampled or not; None without one."""
    number = trace.get_current_span().get_span_context().trace_id
    return f"{number:032x}" if number else None


def accepted_id(text: str) -> str | None:
    """An ID from outside, or None if it is not 8 to 64 harmless characters.

    One that looks like a secret is refused too, as logs and spans would mask it and could not be
    found by it.
    """
    return text if _ID.fullmatch(text) and mask_text(text) == text else None


def enter(context: RequestContext) -> Token[RequestContext | None]:
    """Make it the current context, until `leave`."""
    return _current.set(context)


def leave(token: Token[RequestContext | None]) -> None:
    """Undo `enter`."""
    try:
        _current.reset(token)
    except ValueError:  # another task closed an abandoned generator: nothing to undo
        _current.set(None)


@contextmanager
def request_context(request_id: str | None = None) -> Iterator[RequestContext]:
    """Give the work in the block this request ID or a new one; for consumers and jobs."""
    context = RequestContext(text_of(request_id) if request_id else new_request_id())
    token = enter(context)
    try:
        yield context
    finally:
        leave(token)


def set_user_hash_key(key: str | None) -> None:
    """Set the key of pseudonyms; with None they differ from process to process."""
    global _key  # noqa: PLW0603 - one per process, like the logs it serves
    _key = key.encode() if key else _RANDOM


def text_of(value: object) -> str:
    """The value as text; if its `__str__` fails, the name of its type."""
    try:
        return str(value)
    except Exception:  # whatever a `__str__` raises
        return type(value).__qualname__


def user_pseudonym(user_id: object) -> str:
    """The user's pseudonym: 16 hex digits of HMAC-SHA256, the same wherever the key is."""
    return _pseudonym(_key, text_of(user_id))


@lru_cache(maxsize=4096)
def _pseudonym(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def bind_user(user_id: object) -> None:
    """Put the user's pseudonym on all further log lines of the current request, if there is one.

    The ID may be a text, a number or a UUID.
    """
    context = _current.get()
    if context is not None:
        with guarded("logs"):
            context.user_id = user_pseudonym(user_id)
