"""Thirty days of made-up past: users, sign-ins, events, participations, reward requests.

Written straight into the databases, in the form that auth and event keep. Everything follows from
the seed and the moment of the first start, and is written by upserts: starting again after a
crash completes it, starting again after the end adds nothing.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import stamina
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from redis.asyncio import Redis

from plainview import get_logger
from shared.password_hash import Hasher
from shared.times import to_text
from shared.windows import ACTIVE_DAYS, active_key

DAYS = 30
BATCH = 50  # documents per write; a pause after each leaves the database to others
NAMES = (
    "김민준", "이서연", "박도윤",
    "Mina Park", "Alex Kim", "Noor Garcia", "Leo Rossi", "Ana Silva",
)  # fmt: skip
Reward = tuple[str, str, int, int, str]  # name, kind, amount, stock, approval
POINTS: Reward = ("1,000 points", "points", 1000, 5000, "automatic")
BADGE: Reward = ("Golden badge", "item", 1, 25, "automatic")  # it sells out
EVENTS: Sequence[tuple[str, int, int, Sequence[Reward]]] = (  # title, starts, ends (days ago)
    ("여름 출석 체크 / Summer check-in", 30, 12,
     [("5,000 points", "points", 5000, 200, "automatic")]),
    ("Bring a friend", 24, 5, [("Cinema ticket", "coupon", 1, 60, "manual")]),
    ("가을 출석 체크 / Autumn check-in", 14, -30,
     [POINTS, ("Coffee coupon", "coupon", 1, 150, "automatic")]),
    ("Collector's week", 6, -20, [BADGE, ("Signed poster", "item", 1, 400, "manual")]),
)  # fmt: skip
COLLECTIONS = ("users", "members", "participations", "requests", "rewards", "events")
Document = dict[str, Any]
Database = AsyncDatabase[Document]
log = get_logger("job")


def email_of(number: int) -> str:
    """The address of the n-th back-dated user."""
    return f"user{number:04}@example.com"


class History:
    """The documents by collection, and who was active on which day; the same for the same
    arguments, but for the salt of the password."""

    def __init__(
        self, seed: int, until: datetime, users: int, *, password: str, zone: ZoneInfo
    ) -> None:
        self.documents: dict[str, list[Document]] = {name: [] for name in COLLECTIONS}
        self.active: dict[date, set[str]] = {}
        self._rng, self._until, self._zone = random.Random(seed), until, zone
        # They share one password, so it is hashed once.
        hashed = Hasher().hash(password)
        sign_ins = dict(self._user(number, hashed) for number in range(users))
        for event in EVENTS:
            self._event(event, sign_ins)

    def _user(self, number: int, hashed: str) -> tuple[str, list[datetime]]:
        """A user and the times of its sign-ins."""
        rng, user_id = self._rng, f"{self._rng.getrandbits(128):032x}"
        age = DAYS * rng.random() ** 1.4 + 0.05  # accounts become more frequent towards today
        registered, eagerness = self._until - timedelta(days=age), rng.betavariate(1.3, 2.2)
        later = [timedelta(days=d) for d in range(1, int(age) + 1) if rng.random() < eagerness]
        times = [registered + d + timedelta(minutes=rng.uniform(-300, 300)) for d in later]
        times = [t for t in sorted([registered + timedelta(minutes=1), *times]) if t < self._until]
        who = {"_id": user_id, "email": email_of(number), "display_name": rng.choice(NAMES)}
        account = {"password_hash": hashed, "epoch": 0, "disabled": False, "outbox": {}}
        account |= {"roles": ["USER"], "created_at": registered}
        self.documents["users"].append({**who, **account})
        days = {t.astimezone(self._zone).date() for t in [registered, *times]}
        member = {"_id": user_id, "registered_at": to_text(registered)}
        member["last_login_at"] = to_text(times[-1] if times else registered)
        login_days = {day.strftime("%Y%m%d"): 1 for day in sorted(days)}
        self.documents["members"].append({**member, "login_days": login_days})
        for day in days:
            self.active.setdefault(day, set()).add(user_id)
        return user_id, times

    def _event(
        self, about: tuple[str, int, int, Sequence[Reward]], sign_ins: dict[str, list[datetime]]
    ) -> None:
        title, starts, ends, rewards = about
        begin, end = (self._until - timedelta(days=days) for days in (starts, ends))
        event_id, joined = self._id(begin), []
        for user_id, times in sign_ins.items():
            inside = [t for t in times if begin <= t < end]
            if inside and self._rng.random() < 0.6:
                joined.append((self._rng.choice(inside) + timedelta(seconds=20), user_id))
        joined = sorted(j for j in joined if j[0] < self._until)
        for at, user in joined:
            row = {"event_id": event_id, "user_id": user, "joined_at": to_text(at)}
            self.documents["participations"].append({"_id": f"{event_id}:{user}", **row})
        status = "closed" if end < self._until else "active"
        event: Document = {"_id": event_id, "title": title, "description": "", "status": status}
        moments = {"starts_at": begin, "ends_at": end, "created_at": begin}
        event |= {name: to_text(at) for name, at in moments.items()}
        event |= {"conditions": [{"type": "participations", "count": 1}]}
        self.documents["events"].append({**event, "participants": len(joined)})
        for name, kind, amount, stock, approval in rewards:
            reward: Document = {"_id": self._id(begin), "event_id": event_id, "name": name}
            reward |= {"kind": kind, "amount": amount, "stock": stock, "approval": approval}
            held = 0
            for at, user in joined:
                if self._rng.random() < 0.55 and held < stock:
                    held += self._request(reward, user, at + timedelta(seconds=20))
            marks: Document = {"stock_left": stock - held, "ops": {}, "fenced": {}}
            self.documents["rewards"].append({**reward, **marks})

    def _request(self, reward: Document, user: str, at: datetime) -> bool:
        """Add a request; True if it takes one item of the stock."""
        decided, status, more = at, "approved", {"reason": "none"}
        if reward["approval"] == "manual":
            decided = at + timedelta(hours=self._rng.expovariate(1 / 12))
            status = "approved" if self._rng.random() < 0.85 else "rejected"
            more = {"reason": "operator", "decided_by": "seed"}
        if decided > self._until:
            status, more = "pending", {"reason": "none"}
        request = {"_id": f"{reward['_id']}:{user}", "public_id": self._id(at), "user_id": user}
        request |= {"user_key": f"{user}:{self._rng.getrandbits(64):016x}", "status": status}
        request |= {"event_id": reward["event_id"], "reward_id": reward["_id"], **more}
        request |= {"approval": reward["approval"], "created_at": to_text(at)}
        final = to_text(decided) if status != "pending" else None
        self.documents["requests"].append({**request, "decided_at": final})
        return status != "rejected"

    def _id(self, at: datetime) -> str:
        """As event makes them: 12 hex digits of the time in ms, 12 random ones."""
        return f"{int(at.timestamp() * 1000):012x}{self._rng.getrandbits(48):012x}"

    async def write(self, auth: Database, event: Database, redis: Redis) -> None:
        """Write it; rewards and events last, so that counts are never ahead of what is there."""
        for name, documents in self.documents.items():
            collection = (auth if name == "users" else event)[name]
            for start in range(0, len(documents), BATCH):
                await _upsert(collection, documents[start : start + BATCH])
                await asyncio.sleep(0.02)
            log.info("seed.progress", collection=name, documents=len(documents))
        for day, users in sorted(self.active.items()):
            await redis.pfadd(active_key(day), *users)
            await redis.expire(active_key(day), ACTIVE_DAYS * 86_400)


# By default each retry is a log line with the arguments, which are whole accounts here.
stamina.instrumentation.set_on_retry_hooks([])


# It waits about a minute for a database that is busy or away.
@stamina.retry(on=PyMongoError, attempts=30, timeout=None, wait_initial=0.2, wait_max=2.0)
async def _upsert(collection: Any, documents: Sequence[Document]) -> None:
    parts = [({"_id": d["_id"]}, {k: v for k, v in d.items() if k != "_id"}) for d in documents]
    writes = [UpdateOne(which, {"$setOnInsert": rest}, upsert=True) for which, rest in parts]
    await collection.bulk_write(writes, ordered=False)
