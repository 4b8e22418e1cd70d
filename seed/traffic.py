"""About two requests a second through the gateway, as users send them; some are refused."""

import asyncio
import random
import time
from collections import OrderedDict, deque
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx

from plainview import get_logger
from seed.history import email_of

SESSIONS = 40  # users signed in at once
OWN_EVENTS = 3  # events of its own that the operator keeps running
WEIGHTS = {
    "browse": 30,
    "look_at_rewards": 16,
    "claim": 16,
    "me": 8,
    "my_requests": 8,
    "sign_in_again": 7,
    "mistype": 4,
    "register": 3,
    "decide": 3,
    "go_astray": 1,
    "run_an_event": 0.3,
}
log = get_logger("job")


class Session(NamedTuple):
    """An access token; `until` in monotonic seconds."""

    access: str
    refresh: str
    until: float


class Away(Exception):
    """The gateway or what is behind it does not answer."""


class Traffic:
    """Sends one thing after the other; `rng` decides what, so a seed gives the same order."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        rng: random.Random,
        users: int,
        *,
        password: str,
        operator: dict[str, str],
    ) -> None:
        self._http, self._rng, self._operator = http, rng, operator
        self._users, self._password = users, password
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._newcomers: deque[str] = deque(maxlen=200)
        self._rewards: dict[str, list[str]] = {}  # of running events
        self._own: deque[str] = deque()

    async def run(self, per_second: float) -> None:
        """Send until cancelled; back off while the gateway is away."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause + self._rng.expovariate(per_second))
            try:
                await self.step()
            except (httpx.HTTPError, Away) as exc:
                if not pause:
                    log.warning("traffic.paused", error_type=type(exc).__name__)
                pause = min(15.0, pause * 2 or 0.5)
            else:
                if pause:
                    log.info("traffic.resumed")
                pause = 0.0

    async def step(self) -> None:
        action = self._rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
        await getattr(self, f"_{action}")()

    async def _send(self, method: str, path: str, who: str = "", **more: Any) -> Any:
        """The reply's JSON if it is a success, else an empty dictionary."""
        headers = {"X-Forwarded-For": _address(who), **more.pop("headers", {})}
        if session := self._sessions.get(who):
            headers["Authorization"] = f"Bearer {session.access}"
        reply = await self._http.request(method, f"/api/v1{path}", headers=headers, **more)
        if reply.status_code in (502, 503, 504):
            raise Away
        if reply.status_code == 401:
            self._sessions.pop(who, None)
        return reply.json() if reply.is_success else {}

    async def _sign_in(self, who: str, path: str = "login", **body: str) -> None:
        tokens = await self._send("POST", f"/auth/{path}", who, json=body)
        if tokens:
            until = time.monotonic() + tokens["expires_in"] - 20
            self._sessions[who] = Session(tokens["access_token"], tokens["refresh_token"], until)
            if len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)

    async def _as(self, email: str, password: str) -> str:
        """That user, signed in if the platform lets them."""
        session = self._sessions.get(email)
        if session is None:
            await self._sign_in(email, email=email, password=password)
        elif session.until < time.monotonic():
            del self._sessions[email]
            await self._sign_in(email, "refresh", refresh_token=session.refresh)
        return email

    async def _someone(self) -> str:
        """A user, most often one who is signed in already."""
        if self._sessions and self._rng.random() < 0.9:
            email = self._rng.choice(list(self._sessions))
        elif self._newcomers and self._rng.random() < 0.4:
            email = self._rng.choice(self._newcomers)
        else:
            email = self._anybody()
        if email == self._operator["email"]:
            email = self._anybody()
        return await self._as(email, self._password)

    def _anybody(self) -> str:
        return email_of(self._rng.randrange(self._users))

    async def _browse(self) -> None:
        found = await self._send("GET", "/events?status=active&limit=20", await self._someone())
        if found:
            self._rewards = {e["id"]: self._rewards.get(e["id"], []) for e in found["items"]}

    async def _look_at_rewards(self) -> None:
        if not self._rewards:
            return await self._browse()
        who, event_id = await self._someone(), self._rng.choice(list(self._rewards))
        await self._send("GET", f"/events/{event_id}", who)
        found = await self._send("GET", f"/events/{event_id}/rewards", who)
        self._rewards[event_id] = [reward["id"] for reward in found.get("items", [])]
        return None

    async def _claim(self) -> None:
        known = [event_id for event_id, rewards in self._rewards.items() if rewards]
        if not known:
            return await self._look_at_rewards()
        who, event_id = await self._someone(), self._rng.choice(known)
        if self._rng.random() < 0.9:  # one in ten claims without taking part and is refused
            await self._send("POST", f"/events/{event_id}/participations", who)
        path = f"/rewards/{self._rng.choice(self._rewards[event_id])}/requests"
        headers = {"Idempotency-Key": f"{self._rng.getrandbits(96):024x}"}
        times = 2 if self._rng.random() < 0.1 else 1  # one in ten clients sends the claim twice
        for _ in range(times):
            await self._send("POST", path, who, headers=headers)
        return None

    async def _me(self) -> None:
        await self._send("GET", "/auth/me", await self._someone())

    async def _my_requests(self) -> None:
        await self._send("GET", "/reward-requests?limit=10", await self._someone())

    async def _sign_in_again(self) -> None:
        email = self._anybody()
        await self._sign_in(email, email=email, password=self._password)

    async def _mistype(self) -> None:
        wrong = {"email": self._anybody(), "password": f"{self._password}x"}
        await self._send("POST", "/auth/login", wrong["email"], json=wrong)

    async def _register(self) -> None:
        # Not from `rng`: a second start would register the addresses of the first again.
        email = f"new-{random.SystemRandom().getrandbits(48):012x}@example.com"
        body = {"email": email, "password": self._password, "display_name": "Newcomer"}
        if await self._send("POST", "/auth/register", email, json=body):
            self._newcomers.append(email)

    async def _go_astray(self) -> None:
        await self._send("GET", self._rng.choice(["/event", "/rewards/me", "/auth/me"]))

    async def _decide(self) -> None:
        operator = await self._as(**self._operator)
        found = await self._send("GET", "/reward-requests?status=pending&limit=5", operator)
        if items := found.get("items"):
            status = "approved" if self._rng.random() < 0.85 else "rejected"
            path = f"/reward-requests/{self._rng.choice(items)['id']}"
            await self._send("PATCH", path, operator, json={"status": status})

    async def _run_an_event(self) -> None:
        operator, now = await self._as(**self._operator), datetime.now(UTC)
        body = {
            "title": self._rng.choice(["Flash sale", "Lucky hour", "주말 이벤트", "Daily quest"]),
            "starts_at": now.isoformat(),
            "ends_at": (now + timedelta(days=2)).isoformat(),
            "status": "active",
        }
        event = await self._send("POST", "/events", operator, json=body)
        if not event:
            return
        self._own.append(event["id"])
        for name, stock, approval in (("500 points", 200, "automatic"), ("Mug", 15, "manual")):
            reward = {"name": name, "kind": "item", "stock": stock, "approval": approval}
            await self._send("POST", f"/events/{event['id']}/rewards", operator, json=reward)
        if len(self._own) > OWN_EVENTS:
            path = f"/events/{self._own.popleft()}"
            await self._send("PATCH", path, operator, json={"status": "closed"})


def _address(who: str) -> str:
    """An address of one's own, from the shared range of RFC 6598."""
    number = random.Random(who).getrandbits(22)
    return f"100.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
