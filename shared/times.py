"""Times: datetimes in UTC to the millisecond, which is what is stored and sent of them."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time."""
    return whole_ms(datetime.now(UTC))


def whole_ms(at: datetime) -> datetime:
    """The time in UTC, cut to milliseconds: it is read again just as it was stored."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


def to_text(at: datetime) -> str:
    """RFC 3339 of one width, such as `2026-11-23T04:19:51.557Z`, so that texts sort as times."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The inverse of `to_text`; ValueError if the text is not a time with an offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without an offset")
    return at
