"""A scripted run through the gateway: so many sign-ups, joins, claims and decisions, every time.

What the databases do not keep (refusals, failed sign-ins) is tallied from the replies.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
from pymongo import MongoClient
from redis import Redis

from shared.tokens import Role
from shared.windows import active_key
from tests.support.trio import Trio

API = "/api/v1"
PASSWORD = "seven quiet lamps at noon"
MEMBERS = 37
SLOW_S = 0.7  # beyond the threshold of latency; so slow is a client, not a service
PENDING_BEFORE_DECISION_S = 1.5
REASONS = {"participation_required": "condition_unmet"}  # codes that are another reason's
# Sizes of the script; all different, so that a mix-up shows.
SIGN_INS, WRONG_PASSWORDS, DUPLICATES = 29, 11, 3
JOINS, OTHER_JOINS, REPEATED_JOINS, REFUSED_JOINS = 31, 17, 2, 5
STOCK, SOLD_OUT, PENDING, APPROVALS, REJECTIONS, COUPONS, AGAIN, UNMET = 13, 8, 23, 9, 6, 28, 4, 7


PAST = {3: 5, 20: 4}  # so many days ago so many members came, and not again


def backdate(trio: Trio, mongo_url: str, zone: ZoneInfo) -> None:
    """Members of former days, where auth and the gateway keep them: windows differ then."""
    with (
        MongoClient[dict[str, Any]](mongo_url) as mongo,
        Redis.from_url(trio.gateway.environment["REDIS_URL"]) as redis,
    ):
        for days, members in PAST.items():
            at = datetime.now(zone) - timedelta(days=days)
            ids = [f"{days:02}{number:030}" for number in range(members)]
            mongo[f"auth_{trio.run_id}"].users.insert_many(
                {"_id": id_, "email": f"{id_}@example.com", "created_at": at} for id_ in ids
            )
            redis.pfadd(active_key(at.date()), *ids)


class Script:
    """N sign-ups, sign-ins, joins, claims, approvals and rejections; then single actions."""

    def __init__(self, trio: Trio) -> None:
        self.trio = trio
        self.http = trio.client()
        self.http.event_hooks = {"response": [self._answered]}
        self.began_at = time.time()
        self.answers: Counter[str] = Counter()  # by class of status; "away": none came
        self.tally: Counter[tuple[str, str]] = Counter()
        self.users: list[tuple[str, str]] = []  # ID and e-mail address
        self.rewards: dict[str, str] = {}
        self.events: dict[str, str] = {}
        self.request_id = ""  # of a claim that was granted
        self._lock = threading.Lock()

    def count(self, what: str, outcome: str) -> None:
        with self._lock:
            self.tally[what, outcome] += 1

    def _answered(self, reply: httpx.Response) -> None:
        with self._lock:
            self.answers[f"{reply.status_code // 100}xx"] += 1
        if "Authorization" in reply.request.headers:
            self.count("token", "accepted")
        elif not reply.request.url.path.startswith(f"{API}/auth/"):
            self.count("token", "rejected")

    # single actions: each tallies what the gateway answered

    def sign_up(self, email: str) -> httpx.Response:
        body = {"email": email, "password": PASSWORD, "display_name": "Ann"}
        reply = self.http.post("/auth/register", json=body)
        if reply.status_code in (201, 409):
            self.count("sign_up", "created" if reply.is_success else "duplicate")
        return reply

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        reply = self.http.post("/auth/login", json={"email": email, "password": password})
        if reply.status_code in (200, 401):
            self.count("sign_in", "success" if reply.is_success else "bad_credentials")
        return reply

    def renew(self, email: str) -> None:
        """Sign in and exchange the refresh token."""
        signed_in = self.sign_in(email)
        if signed_in.is_success:
            body = {"refresh_token": signed_in.json()["refresh_token"]}
            if self.http.post("/auth/refresh", json=body).is_success:
                self.count("refresh", "rotated")

    def join(self, user: str, event: str) -> None:
        headers = self.trio.headers(user)
        reply = self.http.post(f"/events/{self.events[event]}/participations", headers=headers)
        outcome = {201: "joined", 200: "repeated", 409: "refused"}.get(reply.status_code)
        if outcome:
            self.count("join", outcome)

    def claim(self, user: str, reward: str, key: str = "") -> httpx.Response:
        headers = {**self.trio.headers(user), "Idempotency-Key": key or uuid4().hex}
        reply = self.http.post(f"/rewards/{self.rewards[reward]}/requests", headers=headers)
        if reply.status_code == 201:
            self.count("claim", reply.json()["status"])
        elif reply.status_code == 409:
            code = reply.json()["code"]
            self.count("claim", REASONS.get(code, code))
        return reply

    def slow(self) -> None:
        def body() -> Iterator[bytes]:
            yield b'{"email": "nobody@example.com",'
            time.sleep(SLOW_S)
            yield b'"password": ""}'  # refused as too short: no sign-in is counted

        headers = {"Content-Type": "application/json"}
        self.http.post("/auth/login", content=body(), headers=headers)

    # the script

    def run(self) -> None:
        self._prepare()
        for _ in range(MEMBERS):
            email = f"{uuid4().hex}@example.com"
            self.users.append((self.sign_up(email).raise_for_status().json()["id"], email))
        ids = [user for user, _ in self.users]
        for user, email in self.users:
            self.http.get("/auth/me", headers=self.trio.headers(user)).raise_for_status()
            if user in ids[:DUPLICATES]:
                self.sign_up(email)
            if user in ids[:SIGN_INS]:
                self.sign_in(email)
            if user in ids[-WRONG_PASSWORDS:]:
                self.sign_in(email, "not this one at all")
        self._joins(ids)
        self._claims(ids)
        self._decisions()

    def _prepare(self) -> None:
        boss = self.trio.headers("boss", Role.OPERATOR)
        times = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2036-01-01T00:00:00Z"}

        def post(path: str, body: dict[str, object]) -> str:
            reply = self.http.post(path, json=body, headers=boss).raise_for_status()
            return str(reply.json()["id"])

        old_hand = [{"type": "account_age", "days": 30}]
        for name, conditions in (("autumn", []), ("loyal", old_hand), ("over", [])):
            event = {"title": name, "conditions": conditions, "status": "active", **times}
            self.events[name] = post("/events", event)
        for name, event_name, stock, approval in (
            ("points", "autumn", STOCK, "automatic"),
            ("mug", "autumn", 50, "manual"),
            ("coupon", "autumn", 1000, "automatic"),
            ("badge", "loyal", 20, "automatic"),
            ("late", "over", 5, "automatic"),
        ):
            reward = {"name": name, "kind": "item", "stock": stock, "approval": approval}
            self.rewards[name] = post(f"/events/{self.events[event_name]}/rewards", reward)
        over = f"/events/{self.events['over']}"
        self.http.patch(over, json={"status": "closed"}, headers=boss).raise_for_status()

    def _joins(self, ids: Sequence[str]) -> None:
        for user in ids[:JOINS]:
            self.join(user, "autumn")
        for user in [*ids[:OTHER_JOINS], *ids[:REPEATED_JOINS]]:
            self.join(user, "loyal")
        for user in ids[:REFUSED_JOINS]:
            self.join(user, "over")

    def _claims(self, ids: Sequence[str]) -> None:
        for user in ids[: STOCK + SOLD_OUT]:
            reply = self.claim(user, "points")
            if reply.status_code == 201:
                self.request_id = reply.headers["X-Request-ID"]
        for user in ids[:PENDING]:
            self.claim(user, "mug")
        for user in [*ids[:COUPONS], *ids[:AGAIN]]:
            self.claim(user, "coupon")
        for user in ids[:UNMET]:
            self.claim(user, "badge")

    def _decisions(self) -> None:
        time.sleep(PENDING_BEFORE_DECISION_S)
        boss = self.trio.headers("boss", Role.OPERATOR)
        found = self.http.get(
            "/reward-requests", params={"status": "pending", "limit": 100}, headers=boss
        ).raise_for_status()
        for number, request in enumerate(found.json()["items"][: APPROVALS + REJECTIONS]):
            status = "approved" if number < APPROVALS else "rejected"
            path = f"/reward-requests/{request['id']}"
            self.http.patch(path, json={"status": status}, headers=boss).raise_for_status()
            self.count("decide", status)
