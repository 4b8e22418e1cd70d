"""What each business panel has to show, from the databases; refusals from the script's tally."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from event.ids import prefix, to_text
from event.signals import Activity
from tests.stack.script import Script

Shown = Mapping[tuple[str, ...], Any]
# HyperLogLog: 0.81 % standard error; three of them, and one user at the least.
ACTIVE_ERROR = 3 * 0.0081


@dataclass
class Books:
    """The databases of auth and event, and who ran the script."""

    auth: Database[dict[str, Any]]
    event: Database[dict[str, Any]]
    script: Script

    def count(self, collection: str, **where: Any) -> int:
        return self.event[collection].count_documents(where)

    def members(self) -> int:
        return self.count("members")

    def running(self) -> list[str]:
        """IDs of the active events."""
        return [each["_id"] for each in self.event.events.find({"status": "active"})]

    def participants(self) -> dict[tuple[str, ...], int]:
        return {(id_,): self.count("participations", event_id=id_) for id_ in self.running()}

    def active(self) -> Any:
        """Everybody who registered asked something with a token, and so did the operator."""
        users = self.auth.users.count_documents({}) + 1
        return pytest.approx(users, abs=max(1, users * ACTIVE_ERROR))

    def recent(self) -> dict[tuple[str, ...], int]:
        begin = datetime.now(UTC) - timedelta(minutes=5)
        since = {"$gte": to_text(begin)}
        found = {
            Activity.SIGN_UP: self.count("members", registered_at=since),
            Activity.SIGN_IN: self.count("members", last_login_at=since),
            Activity.PARTICIPATION: self.count("participations", joined_at=since),
            Activity.REWARD_REQUEST: self.count("requests", public_id={"$gte": prefix(begin)}),
            Activity.DECISION: self.count(
                "requests", decided_at=since, decided_by={"$exists": True}
            ),
        }
        return {(str(kind),): number for kind, number in found.items()}


EXPECTED: dict[str, Callable[[Books], Shown]] = {
    "overview: Active users today A": lambda books: {(): books.active()},
    "overview: Activity by kind, last five minutes A": Books.recent,
    "overview: Running events A": Books.participants,
    "overview: Running events B": lambda books: {
        key: pytest.approx(number / books.members()) for key, number in books.participants().items()
    },
}
