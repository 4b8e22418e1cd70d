"""What the databases hold, as business panels have to show it; refusals from the script's tally."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pymongo.database import Database

from event.ids import prefix
from event.signals import DECISION_DURATION
from event.states import Activity
from shared.times import from_text, to_text
from tests.stack.script import Script

Shown = Mapping[tuple[str, ...], Any]
ACTIVE_ERROR = 3 * 0.0081  # a HyperLogLog's standard error is 0.81 %: three of them
# Of some dozens it is not that good: of 47 one is lost in a session of 15, two in one of 500.
FEW_ERROR = 0.06
MADE = ("approved", "pending")  # what a claim becomes that is not refused
RANGE_S = 1800  # of panels.VALUES; the session is younger, so counters are whole
BOUNDS = (0.0, *DECISION_DURATION.metric.buckets, float("inf"))


def near(users: int) -> Any:
    """An estimate of so many users."""
    return pytest.approx(users, abs=max(1, users * FEW_ERROR)) if users else 0


@dataclass
class Books:
    """The databases of auth and event, and who ran the script."""

    auth: Database[dict[str, Any]]
    event: Database[dict[str, Any]]
    script: Script
    zone: ZoneInfo
    restarted: bool = False  # every process, once
    late: bool = False  # a scrape was

    def count(self, collection: str, **where: Any) -> int:
        return self.event[collection].count_documents(where)

    def by(self, field: str, **where: Any) -> Counter[str]:
        """Requests by a field."""
        return Counter(each[field] for each in self.event.requests.find(where))

    def tally(self, what: str, *outcomes: str) -> dict[tuple[str, ...], int]:
        """What was answered by outcome: these outcomes at least, if only with 0."""
        found = dict.fromkeys(outcomes, 0)
        found |= {outcome: n for (kind, outcome), n in self.script.tally.items() if kind == what}
        return {(outcome,): number for outcome, number in found.items()}

    # how exact a panel is

    @property
    def lost(self) -> float:
        """Counts of a kind that no scrape saw: what came in the last seconds of a process."""
        return 6 if self.restarted or self.late else 0.5

    def increase(self, counts: Mapping[tuple[str, ...], float], per: float = 1) -> Shown:
        """As `increase` shows them: it extrapolates by up to a scrape interval at the end."""
        age = time.time() - self.script.began_at
        return {
            key: pytest.approx(number * per, rel=6 / age, abs=self.lost * per)
            for key, number in counts.items()
        }

    def by_hour(self) -> Shown:
        """Exact, but for a minute with a restart, which is estimated; only sign-ins go on then."""
        estimated = 0.1 if self.restarted else 0
        lost = defaultdict(lambda: 0.5, {Activity.SIGN_IN: self.lost})
        return {
            (kind,): pytest.approx(number, abs=estimated * number + lost[kind])
            for kind, number in self.done().items()
        }

    def rate(self, counts: Mapping[tuple[str, ...], float], seconds: int = 1) -> Shown:
        return self.increase(counts, seconds / RANGE_S)

    # auth

    def users(self) -> int:
        return self.auth.users.count_documents({})

    def active_by_day(self) -> dict[int, Any]:
        """Whoever came on a day asked something on it; today the operator did so too."""
        users = self.new_by_day()
        users[0] += 1
        return {day: near(number) for day, number in users.items()}

    def active(self, days: int) -> Any:
        return near(self.new(days) + 1)

    def new(self, days: int) -> int:
        """Who signed up in so many days, today among them."""
        return sum([*self.new_by_day().values()][:days])

    def new_by_day(self) -> dict[int, int]:
        today = datetime.now(self.zone).date()
        made = Counter(
            (today - user["created_at"].replace(tzinfo=UTC).astimezone(self.zone).date()).days
            for user in self.auth.users.find()
        )
        return {day: made[day] for day in range(30)}

    # event

    def titles(self, collection: str, field: str) -> dict[str, str]:
        """Titles of events, names of rewards, by ID."""
        return {each["_id"]: each[field] for each in self.event[collection].find()}

    def running(self) -> list[str]:
        return [each["_id"] for each in self.event.events.find({"status": "active"})]

    def participants(self) -> dict[tuple[str, ...], int]:
        return {(id_,): self.count("participations", event_id=id_) for id_ in self.running()}

    def participation_rate(self) -> Shown:
        members = self.count("members")
        return {key: pytest.approx(n / members) for key, n in self.participants().items()}

    def requests(self, *statuses: str) -> dict[tuple[str, ...], int]:
        """Of the running events."""
        found = self.by("event_id", status={"$in": statuses})
        return {(id_,): found[id_] for id_ in self.running()}

    def approval(self) -> Shown:
        granted, decided = self.requests("approved"), self.requests("approved", "rejected")
        return {key: pytest.approx(granted[key] / n) for key, n in decided.items() if n}

    def approval_of_all(self) -> Any:
        decided = self.by("status", status={"$in": ["approved", "rejected"]})
        return pytest.approx(decided["approved"] / decided.total())

    def stock(self, ended: bool = False) -> dict[tuple[str, ...], int]:
        """Of running events, or of those that ended too."""
        rewards = self.event.rewards.find({} if ended else {"event_id": {"$in": self.running()}})
        return {(each["event_id"], each["_id"]): each["stock_left"] for each in rewards}

    def run_out(self) -> Shown:
        """A forecast. A line through samples that fall at once is no steeper than this."""
        age = time.time() - self.script.began_at
        asked = self.by("reward_id")
        return {
            key: AtLeast(left * (age - 30) / (2 * asked[key[1]]))
            for key, left in self.stock().items()
            if left and asked[key[1]]
        }

    def wrong_rewards(self) -> int:
        held = self.by("reward_id", status={"$in": ["approved", "pending"]})
        return sum(
            each["stock"] != each["stock_left"] + held[each["_id"]]
            for each in self.event.rewards.find()
        )

    def made(self) -> Counter[str]:
        """What claims and decisions became, decisions in addition to the claims before them."""
        statuses = self.by("status")
        statuses["pending"] = self.count("requests", approval="manual")
        statuses["refused"] = sum(self.refused().values())
        return statuses

    def refused(self) -> Counter[str]:
        found = {reason: n for (what, reason), n in self.script.tally.items() if what == "claim"}
        return Counter(found) - Counter({each: found.get(each, 0) for each in MADE})

    def decision_seconds(self) -> list[float]:
        return sorted(
            (from_text(each["decided_at"]) - from_text(each["created_at"])).total_seconds()
            for each in self.event.requests.find({"decided_by": {"$exists": True}})
        )

    def decision_quantile(self, share: float) -> Any:
        """A histogram knows the bucket that the true one lies in."""
        times = self.decision_seconds()
        true = times[min(len(times) - 1, int(share * len(times)))]
        upper = next(number for number, bound in enumerate(BOUNDS) if bound >= true)
        low, high = BOUNDS[upper - 1], BOUNDS[upper]
        return pytest.approx((low + high) / 2, abs=(high - low) / 2)

    def done(self) -> dict[Activity, int]:
        """Since the start."""
        return {
            Activity.SIGN_UP: self.count("members"),
            Activity.SIGN_IN: self.script.tally["sign_in", "success"],
            Activity.PARTICIPATION: self.count("participations"),
            Activity.REWARD_REQUEST: self.count("requests"),
            Activity.DECISION: self.count("requests", decided_by={"$exists": True}),
        }

    def done_recently(self) -> dict[Activity, int]:
        """In the last five minutes; of sign-ins, by how many users."""
        begin = datetime.now(UTC) - timedelta(minutes=5)
        since = {"$gte": to_text(begin)}
        return {
            Activity.SIGN_UP: self.count("members", registered_at=since),
            Activity.SIGN_IN: self.count("members", last_login_at=since),
            Activity.PARTICIPATION: self.count("participations", joined_at=since),
            Activity.REWARD_REQUEST: self.count("requests", public_id={"$gte": prefix(begin)}),
            Activity.DECISION: self.count(
                "requests", decided_at=since, decided_by={"$exists": True}
            ),
        }


@dataclass(frozen=True)
class AtLeast:
    """Equal to whatever is not smaller."""

    bound: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and other >= self.bound

    __hash__ = None  # type: ignore[assignment]
