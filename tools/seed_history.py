"""Thirty days that did not happen: users, sign-ins, events, participations, reward requests.

Written straight into the databases, in the form that auth and event keep. Everything follows from
the seed and the moment of the first start, and is written by upserts: starting again after a
crash completes it, starting again after the end adds nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from argon2 import PasswordHasher
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from redis.asyncio import Redis

from plainview import get_logger

DAYS = 30
BATCH = 50  # documents a write, with a pause after it: others need the database too
KEEP_DAYS = 62  # of the sets of active users, as the gateway keeps them
NAMES = (
    "김민준",
    "이서연",
    "박도윤",
    "Mina Park",
    "Alex Kim",
    "Noor Garcia",
    "Leo Rossi",
    "Ana Silva",
)
# title, starts (days ago), ends (days ago), rewards: name, kind, amount, stock, approval
EVENTS: Sequence[tuple[str, int, int, Sequence[tuple[str, str, int, int, str]]]] = (
    (
        "여름 출석 체크 / Summer check-in",
        30,
        12,
        [("5,000 points", "points", 5000, 200, "automatic")],
    ),
    ("Bring a friend", 24, 5, [("Cinema ticket", "coupon", 1, 60, "manual")]),
    (
        "가을 출석 체크 / Autumn check-in",
        14,
        -30,
        [
            ("1,000 points", "points", 1000, 5000, "automatic"),
            ("Coffee coupon", "coupon", 1, 150, "automatic"),
        ],
    ),
    (
        "Collector's week",
        6,
        -20,
        [
            ("Golden badge", "item", 1, 25, "automatic"),  # the one that sells out
            ("Signed poster", "item", 1, 400, "manual"),
        ],
    ),
)
Document = dict[str, Any]
Database = AsyncDatabase[Document]
log = get_logger("job")


@dataclass(slots=True)
class History:
    """The documents by collection, and who was active on which day."""

    users: list[Document] = field(default_factory=list)
    members: list[Document] = field(default_factory=list)
    events: list[Document] = field(default_factory=list)
    rewards: list[Document] = field(default_factory=list)
    participations: list[Document] = field(default_factory=list)
    requests: list[Document] = field(default_factory=list)
    active: dict[date, set[str]] = field(default_factory=dict)


def email_of(number: int) -> str:
    """The address of the n-th back-dated user."""
    return f"user{number:04}@example.com"


def make(seed: int, until: datetime, users: int, password: str, zone: ZoneInfo) -> History:
    """The history that ends at `until`; the same for the same arguments but the password's salt."""
    rng, history = random.Random(seed), History()
    # one calculation for all of them: they share the password
    hashed = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(password)
    seen: dict[str, list[datetime]] = {}  # user: times of sign-ins, in order
    for number in range(users):
        user_id = f"{rng.getrandbits(128):032x}"
        age = DAYS * rng.random() ** 1.4 + 0.05  # more of them lately
        registered = until - timedelta(days=age)
        eagerness = rng.betavariate(1.3, 2.2)
        days = range(1, int(age) + 1)
        later = [registered + timedelta(days=d) for d in days if rng.random() < eagerness]
        signed_in = [registered + timedelta(minutes=1)]
        signed_in += [t + timedelta(minutes=rng.uniform(-300, 300)) for t in later]
        seen[user_id] = sorted(t for t in signed_in if registered < t < until)
        history.users.append(
            {
                "_id": user_id,
                "email": email_of(number),
                "display_name": rng.choice(NAMES),
                "password_hash": hashed,
                "roles": ["USER"],
                "epoch": 0,
                "disabled": False,
                "created_at": registered,
                "outbox": {},
            }
        )
        days_in = {t.astimezone(zone).date() for t in seen[user_id]}
        history.members.append(
            {
                "_id": user_id,
                "registered_at": _text(registered),
                "login_days": {day.strftime("%Y%m%d"): 1 for day in sorted(days_in)},
                "last_login_at": _text(max(seen[user_id], default=registered)),
            }
        )
        for day in days_in | {registered.astimezone(zone).date()}:
            history.active.setdefault(day, set()).add(user_id)
    for about in EVENTS:
        _event(history, rng, until, seen, about)
    return history


def _event(
    history: History,
    rng: random.Random,
    until: datetime,
    seen: dict[str, list[datetime]],
    about: tuple[str, int, int, Sequence[tuple[str, str, int, int, str]]],
) -> None:
    title, starts, ends, rewards = about
    begin, end = until - timedelta(days=starts), until - timedelta(days=ends)
    event_id = _id(rng, begin)
    joined: list[tuple[datetime, str]] = []
    for user_id, times in seen.items():
        inside = [t for t in times if begin <= t < min(end, until)]
        if inside and rng.random() < 0.6:
            joined.append((rng.choice(inside) + timedelta(minutes=2), user_id))
    joined = sorted(j for j in joined if j[0] < until)
    history.participations += [
        {"_id": f"{event_id}:{user}", "event_id": event_id, "user_id": user, "joined_at": _text(at)}
        for at, user in joined
    ]
    history.events.append(
        {
            "_id": event_id,
            "title": title,
            "description": "",
            "conditions": [{"type": "participations", "count": 1}],
            "status": "closed" if end < until else "active",
            "starts_at": _text(begin),
            "ends_at": _text(end),
            "participants": len(joined),
            "created_at": _text(begin),
        }
    )
    for name, kind, amount, stock, approval in rewards:
        reward: Document = {
            "_id": _id(rng, begin),
            "event_id": event_id,
            "name": name,
            "kind": kind,
            "amount": amount,
            "stock": stock,
            "approval": approval,
        }
        held = 0
        for at, user_id in joined:
            if rng.random() < 0.55 and held < stock:
                request = _request(rng, reward, user_id, at + timedelta(minutes=1), until)
                history.requests.append(request)
                held += request["status"] != "rejected"
        history.rewards.append({**reward, "stock_left": stock - held, "ops": {}, "fenced": {}})


def _request(
    rng: random.Random, reward: Document, user_id: str, at: datetime, until: datetime
) -> Document:
    request: Document = {
        "_id": f"{reward['_id']}:{user_id}",
        "public_id": _id(rng, at),
        "user_key": f"{user_id}:{rng.getrandbits(64):016x}",
        "event_id": reward["event_id"],
        "reward_id": reward["_id"],
        "user_id": user_id,
        "approval": reward["approval"],
        "status": "approved",
        "reason": "none",
        "created_at": _text(at),
        "decided_at": _text(at),
    }
    if reward["approval"] == "manual":
        decided = at + timedelta(hours=rng.expovariate(1 / 12))
        if decided > until:
            return {**request, "status": "pending", "decided_at": None}
        status = "approved" if rng.random() < 0.85 else "rejected"
        decision = {"status": status, "reason": "operator", "decided_by": "seed"}
        return {**request, **decision, "decided_at": _text(decided)}
    return request


async def write(history: History, auth: Database, event: Database, redis: Redis) -> None:
    """Write it; rewards and events last, so that their counts are never ahead of what is there."""
    for name in ("users", "members", "participations", "requests", "rewards", "events"):
        documents: list[Document] = getattr(history, name)
        collection = (auth if name == "users" else event)[name]
        for start in range(0, len(documents), BATCH):
            await _upsert(collection, documents[start : start + BATCH])
        log.info("seed.progress", collection=name, documents=len(documents))
    for day, users in sorted(history.active.items()):
        await redis.pfadd(f"active:{day.isoformat()}", *users)
        await redis.expire(f"active:{day.isoformat()}", KEEP_DAYS * 86_400)


async def _upsert(collection: Any, documents: Sequence[Document]) -> None:
    parts = [({"_id": d["_id"]}, {k: v for k, v in d.items() if k != "_id"}) for d in documents]
    writes = [UpdateOne(which, {"$setOnInsert": rest}, upsert=True) for which, rest in parts]
    for attempt in range(30):  # about a minute of a database that is busy or away
        try:
            await collection.bulk_write(writes, ordered=False)
        except PyMongoError:
            if attempt == 29:
                raise
            await asyncio.sleep(min(0.2 * 2**attempt, 2.0))
        else:
            break
    await asyncio.sleep(0.02)


def _id(rng: random.Random, at: datetime) -> str:
    """As event makes them: 12 hex digits of the time in ms, 12 random ones."""
    return f"{int(at.timestamp() * 1000):012x}{rng.getrandbits(48):012x}"


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
