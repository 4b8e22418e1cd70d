"""What auth counts about the business. Code says what happened; only this module knows metrics."""

from collections.abc import Sequence
from typing import Literal, get_args

from plainview import Catalogue

CATALOGUE = Catalogue("auth")
DAYS = 30
WINDOWS = {"day": 1, "week": 7, "month": DAYS}

SignIn = Literal["success", "bad_credentials", "limited", "disabled"]
SignUp = Literal["created", "duplicate"]
Refresh = Literal["rotated", "repeated", "reused", "expired", "invalid"]  # reused: maybe a theft
Announced = Literal["published", "failed", "dropped"]  # dropped: the user had too many that waited

_sign_ins = CATALOGUE.counter(
    "auth_sign_ins_total", "Sign-in attempts by outcome.", labels={"outcome": get_args(SignIn)}
)
_sign_ups = CATALOGUE.counter(
    "auth_sign_ups_total", "Registrations by outcome.", labels={"outcome": get_args(SignUp)}
)
_refreshes = CATALOGUE.counter(
    "auth_token_refreshes_total",
    "Refresh tokens presented, by outcome.",
    labels={"outcome": get_args(Refresh)},
)
_new = CATALOGUE.gauge(
    "new_sign_ups",
    "Users who registered in the last 1, 7, 30 days of the business time zone, today included.",
    labels={"window": tuple(WINDOWS)},
)
_new_by_day = CATALOGUE.gauge(
    "new_sign_ups_by_day",
    "Users who registered on the day so many days ago, business time zone.",
    labels={"days_ago": tuple(str(day) for day in range(DAYS))},
)
_registered = CATALOGUE.gauge("registered_users", "Users in the database.")
_pending = CATALOGUE.gauge(
    "announcements_pending", "Users with announcements that are not on the stream yet."
)
_announcements = CATALOGUE.counter(
    "announcements_total",
    "Announcements to the other services.",
    labels={"type": ("user.registered", "user.logged_in"), "outcome": get_args(Announced)},
)
_degraded = CATALOGUE.gauge(
    "auth_limiter_degraded", "1 while this process limits sign-ins by itself, without Redis."
)


def signed_in(outcome: SignIn) -> None:
    """A sign-in ended."""
    _sign_ins.inc(outcome=outcome)


def signed_up(outcome: SignUp) -> None:
    """A registration ended."""
    _sign_ups.inc(outcome=outcome)


def refreshed(outcome: Refresh) -> None:
    """A refresh token was presented."""
    _refreshes.inc(outcome=outcome)


def announced(kind: str, outcome: Announced, count: int = 1) -> None:
    """Announcements were published, failed to be, or were dropped."""
    _announcements.inc(count, type=kind, outcome=outcome)


def pending(users: int) -> None:
    """So many users have announcements that wait."""
    _pending.set(users)


def limiter_degraded(value: bool) -> None:
    """Whether sign-ins are limited without Redis."""
    _degraded.set(value)


def population(total: int, sign_ups: Sequence[int]) -> None:
    """All users, and new ones by day: today first, `DAYS` of them."""
    _registered.set(total)
    for day, count in enumerate(sign_ups):
        _new_by_day.set(count, days_ago=str(day))
    for window, days in WINDOWS.items():
        _new.set(sum(sign_ups[:days]), window=window)
