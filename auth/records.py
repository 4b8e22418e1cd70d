"""What auth stores, one class per kind of document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.storage.records import DateTime, Record
from shared.times import now
from shared.tokens import Role


@dataclass(frozen=True, slots=True)
class User(Record):
    """An account; `epoch` grows by one with each change that ends its sessions.

    `known` maps pseudonyms of the networks it signed in from to the last time (Unix seconds).
    """

    id: str
    email: str
    display_name: str
    password_hash: str = field(repr=False)
    roles: Sequence[Role] = (Role.USER,)
    epoch: int = 0
    disabled: bool = False
    created_at: DateTime = field(default_factory=now)
    known: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family(Record):
    """A session: the chain of refresh tokens that replace one another, stored as hashes only.

    `current` is the hash of the valid token, `recent` maps hashes of the tokens before it to the
    time of their rotation (Unix seconds).
    """

    id: str
    user_id: str
    epoch: int
    current: str
    expires_at: DateTime
    recent: Mapping[str, float] = field(default_factory=dict)


class Outbox(NamedTuple):
    """The announcements of a user that wait, oldest first; `mark` is the ID of the newest."""

    user_id: str
    mark: str
    announcements: Sequence[Mapping[str, str]]
