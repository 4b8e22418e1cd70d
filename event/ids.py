"""IDs that sort by the time at which they were made, and page cursors."""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime

from shared.errors import Invalid
from shared.times import now

ID = re.compile(r"[0-9a-f]{24}")


def new_id(at: datetime | None = None) -> str:
    """A new ID of 24 hex digits: 12 for the Unix time in milliseconds, then 12 random ones."""
    return f"{prefix(at or now())}{secrets.token_hex(6)}"


def prefix(at: datetime) -> str:
    """The first 12 digits of IDs made at that time; as text it sorts before all of them."""
    return f"{max(0, int(at.timestamp() * 1000)):012x}"


def minted_at(id_: str) -> datetime:
    """When an ID was made."""
    return datetime.fromtimestamp(int(id_[:12], 16) / 1000, UTC)


def encode_cursor(last: str) -> str:
    """An opaque cursor that continues after the sort key `last`."""
    return urlsafe_b64encode(b"1" + last.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The sort key in a cursor; Invalid if `encode_cursor` did not make it."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        raw = ""
    if not re.fullmatch(r"1[A-Za-z0-9_:-]{1,128}", raw) or encode_cursor(raw[1:]) != cursor:
        raise Invalid("The cursor is not one of this list", code="invalid_cursor")
    return raw[1:]
