"""What auth tells the other services: the Redis Stream and the kinds of its messages."""

from enum import StrEnum

STREAM = "users:announcements"


class Announcement(StrEnum):
    """The field `type` of a message."""

    REGISTERED = "user.registered"
    LOGGED_IN = "user.logged_in"
