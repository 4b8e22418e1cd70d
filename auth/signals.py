"""Business metrics of auth: its code calls these functions, only this module knows metrics."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from plainview import Catalogue
from shared.announcements import Announcement
from shared.windows import DAYS, MONTHS, WINDOWS

CATALOGUE = Catalogue("auth")

SignIn = Literal["success", "bad_credentials", "limited", "disabled"]
SignUp = Literal["created", "duplicate"]
# reused: exchanged longer ago than a retry would be, so possibly stolen
Refreshed = Literal["rotated", "repeated", "reused", "expired", "invalid"]
Announced = Literal["published", "failed", "dropped"]  # dropped: too many of the user waited
# refused: the expected wait was too long; late: the wait became longer than expected
PasswordHash = Literal["done", "refused", "late"]

SIGN_INS = CATALOGUE.counter(
    "auth_sign_ins_total", "Sign-in attempts by outcome.", labels={"outcome": get_args(SignIn)}
)
SIGN_UPS = CATALOGUE.counter(
    "auth_sign_ups_total", "Registrations by outcome.", labels={"outcome": get_args(SignUp)}
)
REFRESHES = CATALOGUE.counter(
    "auth_token_refreshes_total",
    "Refresh tokens presented, by outcome.",
    labels={"outcome": get_args(Refreshed)},
)
NEW = CATALOGUE.gauge(
    "new_sign_ups",
    "Users who registered in the last 1, 7, 30 days of the business time zone, today included.",
    labels={"window": tuple(WINDOWS)},
)
NEW_BY_DAY = CATALOGUE.gauge(
    "new_sign_ups_by_day",
    "Users who registered on the day so many days ago, business time zone.",
    labels={"days_ago": tuple(str(day) for day in range(DAYS))},
)
ACTIVE = CATALOGUE.gauge(
    "active_users",
    "Users with an authenticated request in the last 1, 7, 30 days of the business time zone, "
    "today included; estimated, standard error 0.81 %.",
    labels={"window": tuple(WINDOWS)},
)
ACTIVE_BY_DAY = CATALOGUE.gauge(
    "active_users_by_day",
    "Users with an authenticated request on the day so many days ago; estimated.",
    labels={"days_ago": tuple(str(day) for day in range(DAYS))},
)
ACTIVE_BY_MONTH = CATALOGUE.gauge(
    "active_users_by_month",
    "Users active in the 30 days that ended so many times 30 days ago, 0 if not known; estimated.",
    labels={"months_ago": tuple(str(month) for month in range(MONTHS))},
)
REGISTERED = CATALOGUE.gauge("registered_users", "Users in the database.")
PENDING = CATALOGUE.gauge(
    "announcements_pending", "Users with announcements that are not on the stream yet."
)
ANNOUNCEMENTS = CATALOGUE.counter(
    "announcements_total",
    "Announcements to the other services.",
    labels={"type": Announcement, "outcome": get_args(Announced)},
)
DEGRADED = CATALOGUE.gauge(
    "auth_limiter_degraded", "1 while this process limits sign-ins by itself, without Redis."
)

PASSWORD_HASHES = CATALOGUE.counter(
    "auth_password_hashes_total",
    "Password hashes wanted: done, or not done since too many waited.",
    labels={"outcome": get_args(PasswordHash)},
)


def password_hashed(outcome: PasswordHash) -> None:
    """A password was hashed, or was not as all threads were busy."""
    PASSWORD_HASHES.inc(outcome=outcome)


def signed_in(outcome: SignIn) -> None:
    """A sign-in ended."""
    SIGN_INS.inc(outcome=outcome)


def signed_up(outcome: SignUp) -> None:
    """A registration ended."""
    SIGN_UPS.inc(outcome=outcome)


def refreshed(outcome: Refreshed) -> None:
    """A refresh token was presented."""
    REFRESHES.inc(outcome=outcome)


def announced(kind: Announcement, outcome: Announced, count: int = 1) -> None:
    """Announcements were published, could not be, or were dropped."""
    ANNOUNCEMENTS.inc(count, type=kind, outcome=outcome)


def pending(users: int) -> None:
    """The number of users who have waiting announcements."""
    PENDING.set(users)


def limiter_degraded(value: bool) -> None:
    """Whether each process limits sign-ins by itself, as Redis is away."""
    DEGRADED.set(value)


def population(total: int, sign_ups: Sequence[int]) -> None:
    """The number of users, and of sign-ups on each of the last `DAYS` days, today first."""
    REGISTERED.set(total)
    for day, count in enumerate(sign_ups):
        NEW_BY_DAY.set(count, days_ago=str(day))
    for window, days in WINDOWS.items():
        NEW.set(sum(sign_ups[:days]), window=window)


def active_users(
    windows: Mapping[str, int], by_day: Sequence[int], by_month: Sequence[int]
) -> None:
    """Active users of week and month; of each day, today first; of each month, this one first."""
    for window, count in (*windows.items(), ("day", by_day[0])):
        ACTIVE.set(count, window=window)
    for day, count in enumerate(by_day):
        ACTIVE_BY_DAY.set(count, days_ago=str(day))
    for month, count in enumerate(by_month):
        ACTIVE_BY_MONTH.set(count, months_ago=str(month))
