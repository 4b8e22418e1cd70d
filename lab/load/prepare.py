"""What a load test finds when its clock starts: members with sessions, events with rewards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import secrets
import shlex
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx

from lab.load.plan import MAX_USERS
from seed.seeder import save_state

AT_ONCE = 8  # accounts that are made in parallel; auth computes two password hashes at a time
WAIT_S = 90  # seconds in all that one request waits for a rate limit or a busy service
CLAIM_EVERY_S = 4.0  # seconds between claims of one user: about every third step is a claim
EVENT_COUNTS = range(1, 9)  # each with ten rewards
PLENTY = 1_000_000


class NotReadyError(Exception):
    """What the test needs is not there; the text says what."""


class Door:
    """Client of the gateway: waits for rate limits, raises NotReadyError for all other errors."""

    def __init__(self, host: str, local: Path) -> None:
        self._host, self._local = host, local
        self._http = httpx.AsyncClient(base_url=host, timeout=15)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(
        self, method: str, path: str, token: str = "", address: int = 0, **more: Any
    ) -> httpx.Response:
        """One request; 429 and 503 are waited for as the answer says, for a bounded time."""
        headers = {"X-Forwarded-For": f"198.18.{address >> 8 & 255}.{address & 255}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        end = time.monotonic() + WAIT_S
        while True:
            try:
                url = f"/api/v1{path}"
                reply = await self._http.request(method, url, headers=headers, **more)
            except httpx.HTTPError as exc:
                raise NotReadyError(f"{self._host} does not answer ({type(exc).__name__})") from exc
            wait = float(reply.headers.get("Retry-After", 1))
            if reply.status_code not in (429, 503) or time.monotonic() + wait > end:
                return reply
            await asyncio.sleep(wait)

    async def call(self, method: str, path: str, token: str, **more: Any) -> Any:
        """One request that must succeed; its JSON."""
        reply = await self.send(method, path, token, **more)
        if reply.status_code >= 400:
            raise NotReadyError(f"{method} {path}: {reply.status_code} {reply.text[:200]}")
        return reply.json()

    async def check(self) -> None:
        """Whether our gateway answers: it asks for a token, in a problem document."""
        hint = "start it with `make demo` or `docker compose up -d --wait`"
        try:
            reply = await self.send("GET", "/events")
        except NotReadyError as exc:
            raise NotReadyError(f"{exc}: {hint}") from None
        if reply.status_code != 401 or "X-Request-ID" not in reply.headers:
            raise NotReadyError(f"what answers at {self._host} is not this platform: {hint}")

    async def sign_in(self, email: str, password: str, address: int) -> dict[str, Any] | None:
        """An account with its tokens; None if it does not exist."""
        body = {"email": email, "password": password}
        reply = await self.send("POST", "/auth/login", address=address, json=body)
        if reply.status_code == 401:
            return None
        if reply.status_code != 200:
            raise NotReadyError(f"sign-in: {reply.status_code} {reply.text[:200]}")
        doc = reply.json()
        tokens = {"access": doc["access_token"], "refresh": doc["refresh_token"]}
        return {**body, **tokens, "until": time.time() + doc["expires_in"] - 20}

    async def members(self, count: int) -> list[dict[str, Any]]:
        """Accounts of this test and of those before it, each signed in."""
        path = self._local / "load.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        own = kept.setdefault(self._host, {"tag": secrets.token_hex(4), "made": 0})
        own.setdefault("password", secrets.token_urlsafe(12))
        free, done = asyncio.Semaphore(AT_ONCE), 0
        print(f"  {count} members: one that is new costs auth two argon2 hashes, others one")

        async def make(number: int) -> dict[str, Any]:
            nonlocal done
            email, address = f"load-{own['tag']}-{number}@example.com", number
            async with free:
                account = None
                if number < own["made"]:
                    account = await self.sign_in(email, own["password"], address)
                if account is None:
                    name = f"Load {number}"
                    body = {"email": email, "password": own["password"], "display_name": name}
                    reply = await self.send("POST", "/auth/register", address=address, json=body)
                    if reply.status_code not in (201, 409):
                        text = f"{reply.status_code} {reply.text[:200]}"
                        raise NotReadyError(f"register: {text}")
                    account = await self.sign_in(email, own["password"], address)
                if account is None:
                    raise NotReadyError(f"{email} has another password: delete {path}")
            done += 1
            if done % max(1, count // 4) == 0 or done == count:
                print(f"  {done}/{count} are signed in", flush=True)
            return account

        accounts = await asyncio.gather(*(make(number) for number in range(count)))
        own["made"] = max(own["made"], count)
        save_state(path, kept)
        return accounts

    def known_operator(self) -> tuple[str, str] | None:
        """E-mail and password of an operator: told, or of the seed of the demo or of compose."""
        if email := os.environ.get("LOAD_OPERATOR_EMAIL"):
            return email, os.environ.get("LOAD_OPERATOR_PASSWORD", "")
        demo = self._local / "demo.json"
        text = demo.read_text() if demo.exists() else ""
        if self._host not in text:
            command = shlex.split(os.environ.get("COMPOSE", "docker compose"))
            command += ["exec", "-T", "seeder", "cat", "/state/seed.json"]
            try:
                run = subprocess.run(command, capture_output=True, timeout=20, check=True)
            except (OSError, subprocess.SubprocessError):
                return None
            text = run.stdout.decode()
        account = json.loads(text)["accounts"]["OPERATOR"]
        return account["email"], account["password"]

    async def make_events(
        self, count: int, members: int, run: str, token: str
    ) -> list[dict[str, Any]]:
        """Events of the test's own: eight rewards of plenty, a scarce one, one with approval."""
        now, events = datetime.now(UTC), []
        for number in range(count):
            body = {
                "title": f"Load test {run}, event {number + 1}",
                "starts_at": (now - timedelta(minutes=1)).isoformat(),
                "ends_at": (now + timedelta(days=1)).isoformat(),
                "status": "active",
            }
            event = await self.call("POST", "/events", token, json=body)
            stocks = [PLENTY] * 8 + [max(1, members // 4), PLENTY]
            rewards = []
            for place, stock in enumerate(stocks):
                approval = "manual" if place == len(stocks) - 1 else "automatic"
                body = {"name": f"Reward {place + 1}", "kind": "points", "approval": approval}
                path = f"/events/{event['id']}/rewards"
                reward = await self.call("POST", path, token, json={**body, "stock": stock})
                rewards.append(reward["id"])
            events.append({"id": event["id"], "rewards": rewards})
        return events

    async def found_events(self, token: str) -> list[dict[str, Any]]:
        """What members may claim of what there is."""
        page = await self.call("GET", "/events?status=active&limit=8", token)
        events = []
        for event in page["items"]:
            rewards = await self.call("GET", f"/events/{event['id']}/rewards", token)
            events.append({"id": event["id"], "rewards": [r["id"] for r in rewards["items"]]})
        return events

    async def close_events(self, made: dict[str, Any]) -> None:
        """Close the events of the test; a platform that is gone by now is not complained about."""
        known = made["operator"]
        if known is None:
            return
        with contextlib.suppress(NotReadyError):
            operator = await self.sign_in(known["email"], known["password"], 0) or known
            for event in made["events"]:
                path, token = f"/events/{event['id']}", operator["access"]
                await self.call("PATCH", path, token, json={"status": "closed"})


async def prepare(door: Door, plan: dict[str, Any], members: int) -> dict[str, Any]:
    """`members`, `operator` (or None) and `events` of the plan."""
    await door.check()
    accounts = await door.members(min(members, MAX_USERS))
    known = door.known_operator()
    operator = await door.sign_in(*known, address=0) if known else None
    if operator is None:
        print("  no operator is known (LOAD_OPERATOR_EMAIL, LOAD_OPERATOR_PASSWORD): nothing is")
        print("  approved, and claimed is what there is")
        events = await door.found_events(accounts[0]["access"])
    else:
        claims = plan["duration_s"] / CLAIM_EVERY_S * plan["users"] / len(accounts)
        count = min(EVENT_COUNTS[-1], max(EVENT_COUNTS[0], math.ceil(claims / 10)))
        events = await door.make_events(count, len(accounts), plan["run"], operator["access"])
    return {"members": accounts, "operator": operator, "events": events}
