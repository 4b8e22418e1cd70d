"""All that the service stores, in one database."""

from event.claim_repository import ClaimRepository
from event.counts import Counts
from event.repository import EventRepository, MemberRepository
from shared.storage.mongo import Database, Indexes


class Store:
    """The repositories, and the indexes that they need."""

    def __init__(self, database: Database) -> None:
        self.events = EventRepository(database)
        self.members = MemberRepository(database)
        self.requests = ClaimRepository(database)
        self.counts = Counts(database)
        self.indexes = Indexes(*self.events.indexes, *self.members.indexes, *self.requests.indexes)
