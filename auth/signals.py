"""Business metrics of auth: its code calls these functions, only this module knows metrics."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from plainview import Catalogue
from shared.announcements import Announcement
from shared.windows import DAYS, MONTHS, WINDOWS

CATALOGUE = Catalogue("auth")

SignIn = Literal["success", "bad_credentials", "limited", "disabled"]
SignUp = Literal["created", "duplicate"]
Refresh = Literal["rotated", "repeated", "reused", "expired", "invalid"]  # reused: a possible theft
Announced = Literal["published", "failed", "dropped"]  # dropped: too many of the user waited
# refused: the expected wait was too long; late: the wait became longer than expected
PasswordHash = Literal["done", "refused", "late"]

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
_active = CATALOGUE.gauge(
    "active_users",
    "Users with an authenticated request in the last 1, 7, 30 days of the business time zone, "
    "today included; estimated, standard error 0.81 %.",
    labels={"window": tuple(WINDOWS)},
)
_active_by_day = CATALOGUE.gauge(
    "active_users_by_day",
    "Users with an authenticated request on the day so many days ago; estimated.",
    labels={"days_ago": tuple(str(day) for day in range(DAYS))},
)
_active_by_month = CATALOGUE.gauge(
    "active_users_by_month",
    "Users active in the 30 days that ended so many times 30 days ago, 0 if not known; estimated.",
    labels={"months_ago": tuple(str(month) for month in range(MONTHS))},
)
_registered = CATALOGUE.gauge("registered_users", "Users in the database.")
_pending = CATALOGUE.gauge(
    "announcements_pending", "Users with announcements that are not on the stream yet."
)
_announcements = CATALOGUE.counter(
    "announcements_total",
    "Announcements to the other services.",
    labels={"type": Announcement, "outcome": get_args(Announced)},
)
_degraded = CATALOGUE.gauge(
    "auth_limiter_degraded", "1 while this process limits sign-ins by itself, without Redis."
)

_password_hashes = CATALOGUE.counter(
    "auth_password_hashes_total",
    "Password hashes wanted: done, or not done since too many waited.",
    labels={"outcome": get_args(PasswordHash)},
)


def password_hashed(outcome: PasswordHash) -> None:
    """A password was hashed, or was not as all threads were busy."""
    _password_hashes.inc(outcome=outcome)


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
    """Announcements were published, could not be, or were dropped."""
    _announcements.inc(count, type=kind, outcome=outcome)


def pending(users: int) -> None:
    """The number of users who have waiting announcements."""
    _pending.set(users)


def limiter_degraded(value: bool) -> None:
    """Whether each process limits sign-ins by itself, as Redis is away."""
    _degraded.set(value)


def population(total: int, sign_ups: Sequence[int]) -> None:
    """The number of users, and of sign-ups on each of the last `DAYS` days, today first."""
    _registered.set(total)
    for day, count in enumerate(sign_ups):
        _new_by_day.set(count, days_ago=str(day))
    for window, days in WINDOWS.items():
        _new.set(sum(sign_ups[:days]), window=window)


def active_users(
    windows: Mapping[str, int], by_day: Sequence[int], by_month: Sequence[int]
) -> None:
    """Active users of week and month; of each day, today first; of each month, this one first."""
    for window, count in (*windows.items(), ("day", by_day[0])):
        _active.set(count, window=window)
    for day, count in enumerate(by_day):
        _active_by_day.set(count, days_ago=str(day))
    for month, count in enumerate(by_month):
        _active_by_month.set(count, months_ago=str(month))
