"""About two requests a second through the gateway, as real users would send them, some in vain."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from plainview import get_logger
from tools.seed_history import email_of

SESSIONS = 40  # users signed in at once
OWN_EVENTS = 3  # that the traffic's operator keeps running beside the others
log = get_logger("job")


@dataclass(slots=True)
class Session:
    """Tokens of a signed-in user; `until` in monotonic seconds."""

    access: str
    refresh: str
    until: float


class Traffic:
    """Sends one thing after the other; `rng` decides what, so a seed gives the same order."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        rng: random.Random,
        users: int,
        password: str,
        operator: tuple[str, str],
    ) -> None:
        self._http, self._rng = http, rng
        self._users, self._password, self._operator = users, password, operator
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._newcomers: deque[str] = deque(maxlen=200)
        self._rewards: dict[str, list[str]] = {}  # of running events
        self._own: deque[str] = deque()
        self.sent = 0
        self._actions: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (30, self._browse),
            (16, self._look_at_rewards),
            (16, self._claim),
            (8, self._me),
            (8, self._my_requests),
            (7, self._sign_in_again),
            (4, self._mistype),
            (3, self._register),
            (3, self._decide),
            (1, self._go_astray),
            (0.3, self._run_an_event),
        ]

    async def run(self, per_second: float) -> None:
        """Send until cancelled; back off while the gateway is away."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause + self._rng.expovariate(per_second))
            try:
                await self.step()
            except (httpx.HTTPError, _AwayError) as exc:
                if not pause:
                    log.warning("traffic.paused", error_type=type(exc).__name__)
                pause = min(15.0, pause * 2 or 0.5)
            else:
                if pause:
                    log.info("traffic.resumed")
                pause = 0.0

    async def step(self) -> None:
        """One action."""
        weights, actions = zip(*self._actions, strict=True)
        await self._rng.choices(actions, weights)[0]()

    async def _send(self, method: str, path: str, who: str = "", **more: Any) -> httpx.Response:
        headers = {"X-Forwarded-For": _address(who), **more.pop("headers", {})}
        if session := self._sessions.get(who):
            headers["Authorization"] = f"Bearer {session.access}"
        reply = await self._http.request(method, f"/api/v1{path}", headers=headers, **more)
        self.sent += 1
        if reply.status_code in (502, 503, 504):
            raise _AwayError
        if reply.status_code == 401:
            self._sessions.pop(who, None)
        return reply

    async def _sign_in(self, email: str, password: str) -> None:
        account = {"email": email, "password": password}
        self._keep(email, await self._send("POST", "/auth/login", email, json=account))

    def _keep(self, email: str, reply: httpx.Response) -> None:
        if reply.status_code == 200:
            doc = reply.json()
            until = time.monotonic() + doc["expires_in"] - 20
            self._sessions[email] = Session(doc["access_token"], doc["refresh_token"], until)
            if len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)

    async def _someone(self) -> str:
        """A user with a session: mostly one who is here already."""
        if self._sessions and self._rng.random() < 0.9:
            email = self._rng.choice(list(self._sessions))
        elif self._newcomers and self._rng.random() < 0.4:
            email = self._rng.choice(self._newcomers)
        else:
            email = email_of(self._rng.randrange(self._users))
        password = self._operator[1] if email == self._operator[0] else self._password
        session = self._sessions.get(email)
        if session is None:
            await self._sign_in(email, password)
        elif session.until < time.monotonic():
            del self._sessions[email]
            body = {"refresh_token": session.refresh}
            self._keep(email, await self._send("POST", "/auth/refresh", email, json=body))
        return email

    async def _browse(self) -> None:
        who = await self._someone()
        reply = await self._send("GET", "/events?status=active&limit=20", who)
        if reply.status_code == 200:
            items = reply.json()["items"]
            self._rewards = {e["id"]: self._rewards.get(e["id"], []) for e in items}

    async def _look_at_rewards(self) -> None:
        who = await self._someone()
        if not self._rewards:
            return await self._browse()
        event_id = self._rng.choice(list(self._rewards))
        await self._send("GET", f"/events/{event_id}", who)
        reply = await self._send("GET", f"/events/{event_id}/rewards", who)
        if reply.status_code == 200:
            self._rewards[event_id] = [reward["id"] for reward in reply.json()["items"]]
        return None

    async def _claim(self) -> None:
        who = await self._someone()
        known = [event_id for event_id, rewards in self._rewards.items() if rewards]
        if not known:
            return await self._look_at_rewards()
        event_id = self._rng.choice(known)
        if self._rng.random() < 0.9:  # the others forget, and are told so
            await self._send("POST", f"/events/{event_id}/participations", who)
        path = f"/rewards/{self._rng.choice(self._rewards[event_id])}/requests"
        key = f"{self._rng.getrandbits(96):024x}"
        for _ in range(2 if self._rng.random() < 0.1 else 1):  # a client that sends it twice
            await self._send("POST", path, who, headers={"Idempotency-Key": key})
        return None

    async def _me(self) -> None:
        await self._send("GET", "/auth/me", await self._someone())

    async def _my_requests(self) -> None:
        await self._send("GET", "/reward-requests?limit=10", await self._someone())

    async def _sign_in_again(self) -> None:
        await self._sign_in(email_of(self._rng.randrange(self._users)), self._password)

    async def _mistype(self) -> None:
        who = email_of(self._rng.randrange(self._users))
        wrong = {"email": who, "password": f"{self._password}x"}
        await self._send("POST", "/auth/login", who, json=wrong)

    async def _register(self) -> None:
        # not from `rng`: a second start must not try the addresses of the first again
        email = f"new-{random.SystemRandom().getrandbits(48):012x}@example.com"
        body = {"email": email, "password": self._password, "display_name": "Newcomer"}
        if (await self._send("POST", "/auth/register", email, json=body)).status_code == 201:
            self._newcomers.append(email)

    async def _go_astray(self) -> None:
        path = self._rng.choice(["/event", "/rewards/me", "/auth/me", "/reward-requests"])
        await self._send("GET", path)

    async def _as_operator(self) -> str:
        email, password = self._operator
        session = self._sessions.get(email)
        if session is None or session.until < time.monotonic():
            await self._sign_in(email, password)
        return email

    async def _decide(self) -> None:
        operator = await self._as_operator()
        reply = await self._send("GET", "/reward-requests?status=pending&limit=5", operator)
        items = reply.json()["items"] if reply.status_code == 200 else []
        if items:
            status = "approved" if self._rng.random() < 0.85 else "rejected"
            path = f"/reward-requests/{self._rng.choice(items)['id']}"
            await self._send("PATCH", path, operator, json={"status": status})

    async def _run_an_event(self) -> None:
        operator, now = await self._as_operator(), datetime.now(UTC)
        body = {
            "title": self._rng.choice(["Flash sale", "Lucky hour", "주말 이벤트", "Daily quest"]),
            "starts_at": now.isoformat(),
            "ends_at": (now + timedelta(days=2)).isoformat(),
            "status": "active",
        }
        reply = await self._send("POST", "/events", operator, json=body)
        if reply.status_code != 201:
            return
        event_id = reply.json()["id"]
        self._own.append(event_id)
        for name, stock, approval in (("500 points", 200, "automatic"), ("Mug", 15, "manual")):
            reward = {"name": name, "kind": "item", "stock": stock, "approval": approval}
            await self._send("POST", f"/events/{event_id}/rewards", operator, json=reward)
        if len(self._own) > OWN_EVENTS:
            old = self._own.popleft()
            await self._send("PATCH", f"/events/{old}", operator, json={"status": "closed"})


class _AwayError(Exception):
    """The gateway or what is behind it does not answer."""


def _address(who: str) -> str:
    """An address of one's own, from the shared range of RFC 6598."""
    number = random.Random(who).getrandbits(22)
    return f"100.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
