"""Times, stored as RFC 3339 text of one width, so that they sort as text in any database."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def to_text(at: datetime) -> str:
    """The time in UTC with milliseconds, such as `2026-11-23T04:19:51.557Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The inverse of `to_text`; ValueError if the text is not a time with an offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without an offset")
    return at
