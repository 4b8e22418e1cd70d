"""Names of events and rewards: metrics have only their IDs, so an account that may read asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

REFRESH_S = 20.0
MAX_EVENTS = 20  # running events whose rewards are asked for
KEPT = 2_000  # names


class Titles:
    """Names by ID; an ID without a name is its own name."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, float]] = {}

    def reward(self, reward_id: str) -> tuple[str, float]:
        """The name of a reward and its whole stock (0 if not known)."""
        return self._names.get(reward_id, (reward_id, 0.0))

    def name(self, any_id: str) -> str:
        """The name of an event or reward."""
        return self._names.get(any_id, (any_id, 0.0))[0]

    def learn(self, any_id: str, name: str, stock: float = 0.0) -> None:
        """Remember a name; the oldest makes room."""
        self._names.pop(any_id, None)
        self._names[any_id] = (name, stock)
        while len(self._names) > KEPT:
            del self._names[next(iter(self._names))]


class Reader:
    """Asks the gateway every 20 s, signed in as an auditor: an account given, or the demo's."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, email: str, password: SecretStr | None, demo: Path
    ) -> None:
        self._http, self._url, self._demo = http, f"{url}/api/v1", demo
        self._given = (email, password.get_secret_value()) if email and password else None
        self._token = ""

    async def run(self, titles: Titles) -> None:
        """Keep the names fresh until cancelled; whatever goes wrong, the next round tries again."""
        while True:
            try:
                await self.read(titles)
                wait = REFRESH_S
            except (httpx.HTTPError, OSError, ValueError, LookupError, TypeError):
                self._token, wait = "", 5.0
            await asyncio.sleep(wait)

    async def read(self, titles: Titles) -> None:
        """One round."""
        events = await self._get("/events?status=active&limit=50")
        for event in events["items"]:
            titles.learn(event["id"], event["title"])
        for event in events["items"][:MAX_EVENTS]:
            for reward in (await self._get(f"/events/{event['id']}/rewards"))["items"]:
                titles.learn(reward["id"], reward["name"], reward["stock"])

    async def _get(self, path: str) -> Any:
        if not self._token:
            self._token = await self._sign_in()
        headers = {"Authorization": f"Bearer {self._token}"}
        reply = await self._http.get(self._url + path, headers=headers)
        if reply.status_code == 401:  # expired: access tokens live five minutes
            self._token = await self._sign_in()
            headers = {"Authorization": f"Bearer {self._token}"}
            reply = await self._http.get(self._url + path, headers=headers)
        return reply.raise_for_status().json()

    async def _sign_in(self) -> str:
        email, password = self._given or self._demo_account()
        account = {"email": email, "password": password}
        reply = await self._http.post(f"{self._url}/auth/login", json=account)
        return str(reply.raise_for_status().json()["access_token"])

    def _demo_account(self) -> tuple[str, str]:
        account = json.loads(self._demo.read_text())["accounts"]["AUDITOR"]
        return account["email"], account["password"]
