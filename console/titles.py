"""Names of events and rewards: of running ones from event's metrics, and of all, with the stocks,
from the API, if there is an account that may read.
"""

import asyncio
import json
from typing import Any

import httpx

from console.settings import ConsoleSettings
from plainview.decode import Metrics

REFRESH_S = 20.0
MAX_EVENTS = 20  # running events whose rewards are asked for
KEPT = 2_000  # names


class Titles:
    """Names by ID, read as an auditor: of the account that is given, or of the demo's."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, float]] = {}
        self._token = ""

    def reward(self, reward_id: str) -> tuple[str, float]:
        """The name of a reward and its whole stock; an ID that is not known is its own name."""
        return self._names.get(reward_id, (reward_id, 0.0))

    def name(self, any_id: str) -> str:
        """The name of an event or reward."""
        return self._names.get(any_id, (any_id, 0.0))[0]

    def learn(self, any_id: str, name: str, stock: float = 0.0) -> None:
        """Remember a name; the oldest makes room."""
        self._names.pop(any_id, None)
        self._names[any_id] = (name, stock)
        if len(self._names) > KEPT:
            del self._names[next(iter(self._names))]

    def hear(self, page: Metrics) -> None:
        """Learn what event exposes of running events; stocks stay as they are."""
        for metric, label in (("event_info", "event_id"), ("reward_info", "reward_id")):
            for sample in page.all(metric):
                any_id = sample.labels[label]
                self.learn(any_id, sample.labels["title"], self.reward(any_id)[1])

    async def run(self, http: httpx.AsyncClient, settings: ConsoleSettings) -> None:
        """Read until cancelled; whatever goes wrong, the next round starts afresh."""
        while True:
            try:
                await self.read(http, settings)
                await asyncio.sleep(REFRESH_S)
            except (httpx.HTTPError, OSError, ValueError, LookupError, TypeError):
                self._token = ""  # a token lives five minutes: sign in again each round
                await asyncio.sleep(5)

    async def read(self, http: httpx.AsyncClient, settings: ConsoleSettings) -> None:
        """One round."""
        url = f"{settings.targets.get('gateway', '')}/api/v1"
        if not self._token:
            account = {"email": settings.reader_email, "password": settings.password}
            if not settings.reader_email:
                account = json.loads(settings.seed_file.read_text())["accounts"]["AUDITOR"]
            reply = await http.post(f"{url}/auth/login", json=account)
            self._token = reply.raise_for_status().json()["access_token"]

        async def get(path: str) -> list[Any]:
            headers = {"Authorization": f"Bearer {self._token}"}
            reply = await http.get(url + path, headers=headers)
            return list(reply.raise_for_status().json()["items"])

        for number, event in enumerate(await get("/events?status=active&limit=50")):
            self.learn(event["id"], event["title"])
            if number < MAX_EVENTS:
                for reward in await get(f"/events/{event['id']}/rewards"):
                    self.learn(reward["id"], reward["name"], reward["stock"])
