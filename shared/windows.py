"""The windows over which users are counted, and where active users are marked in Redis."""

from datetime import date

DAYS = 30  # single days that are reported
WINDOWS = {"day": 1, "week": 7, "month": DAYS}  # label `window` to days, today included
MONTHS = 13  # times 30 days: this month, and the twelve before
ACTIVE_DAYS = 62  # that Redis keeps a day's active users: a month, and the one before


def active_key(day: date) -> str:
    """The key of a day's HyperLogLog: the gateway adds to it, auth keeps a copy in MongoDB.

    A Redis Cluster counts over keys of one slot only, and the part in braces decides on the slot.
    """
    return f"{{active}}:{day.isoformat()}"
