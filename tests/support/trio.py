"""The platform as real processes on free ports: auth, event (any number) and gateway."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx

from ops.secrets import new_signing_key
from plainview.decode import Sample, parse_metrics
from seed.client import Client
from shared.storage.mongo import Database, connect
from shared.tokens import Role, TokenIssuer
from tests.support.servers import Process, free_port, ready
from tests.support.waiting import until

_DATABASES = itertools.count(1)
PATIENCE_S = 30  # for an answer that a busy machine may give late
PASSWORD = "seven quiet lamps at noon"


class Service(Process):
    """`python -m NAME`; its output goes to `log`, a restart keeps the port.

    `with Service(...) as service:` starts it, waits until it is ready and kills it in the end.
    """

    def __init__(self, name: str, log: Path, **environment: str) -> None:
        self.name, self.log = name, log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "USER_HASH_KEY": "k" * 32,
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "0",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
            **environment,
        }

    def beside(self, log: Path, **environment: str) -> "Service":
        """A process more of the same service, on a port of its own; not started yet."""
        kept = {name: value for name, value in self.environment.items() if name != "PORT"}
        return Service(self.name, log, **{**kept, **environment})

    def start(self) -> Self:
        self._spawn([sys.executable, "-m", self.name], self.log, env=self.environment)
        return self

    def wait_ready(self, timeout_s: float = 60) -> Self:
        until(self.ready, timeout_s, f"{self.name} is not ready, see {self.log}")
        return self

    def ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-3000:]}"
        return ready(self.url)

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()

    def health(self, kind: str) -> tuple[int, str]:
        """Status code of the probe `live` or `ready`, and its verdict: `pass`, `warn` or `fail`."""
        reply = httpx.get(f"{self.url}/health/{kind}", timeout=PATIENCE_S)
        return reply.status_code, reply.json()["status"]

    def samples(self) -> list[Sample]:
        """What a scrape gets."""
        return parse_metrics(httpx.get(f"{self.url}/metrics", timeout=PATIENCE_S).text)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        found = (sample for sample in self.samples() if sample.name == name)
        return sum(sample.value for sample in found if labels.items() <= sample.labels.items())

    @contextlib.asynccontextmanager
    async def database(self, mongo_url: str) -> AsyncIterator[Database]:
        """Its database, through a client of the test's own."""
        client = connect(mongo_url, "pymongo", "test")
        try:
            yield client.database(self.environment["MONGO_DATABASE"])
        finally:
            await client.close()

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines so far; a line that is no JSON is an error of its own."""
        written = self.log.read_text()
        whole = written[: written.rfind("\n") + 1]  # the last one may be being written
        return [json.loads(line) for line in whole.splitlines()]


class Balancer:
    """Gives each connection to the next port that takes it, as a service address does."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = itertools.cycle(ports)
        self._count = len(ports)
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1000)
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in itertools.islice(self._ports, self._count):
            try:
                there = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))
            return
        writer.close()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


class Trio:
    """`with Trio(directory, mongo_url, redis_url, events=2) as trio: httpx.get(trio.url + ...)`.

    Environment variables given go to all services; databases are new ones.
    """

    def __init__(
        self, directory: Path, mongo_url: str, redis_url: str, events: int = 1, **environment: str
    ) -> None:
        key = new_signing_key()
        self._issuer = TokenIssuer(key, "event-rewards", "event-rewards")
        self.run_id = uuid4().hex[:8]
        common = {
            "MONGO_URL": mongo_url,
            "REDIS_URL": f"{redis_url.rpartition('/')[0]}/{next(_DATABASES) % 15 + 1}",
            "RATE_LIMIT_USER": "1000000/minute",
            "RATE_LIMIT_ADDRESS": "1000000/minute",
            "RATE_LIMIT_SIGN_IN": "1000000/minute",
            "AUTH_ADDRESS_LIMIT": "1000000/minute",
            **environment,
        }

        def service(name: str, number: str = "", **own: str) -> Service:
            database = {"MONGO_DATABASE": f"{name}_{self.run_id}"}
            return Service(name, directory / f"{name}{number}.log", **database, **common, **own)

        self.auth = service("auth", AUTH_SIGNING_KEY=key)
        self.events = [
            service("event", str(number or ""), AUTH_URL=self.auth.url) for number in range(events)
        ]
        self._balancer = Balancer([event.port for event in self.events])
        self.gateway = service("gateway", AUTH_URL=self.auth.url, EVENT_URL=self._balancer.url)
        self.url = self.gateway.url

    @property
    def services(self) -> list[Service]:
        return [self.auth, *self.events, self.gateway]

    def token(self, user_id: str, *roles: Role) -> str:
        """An access token as auth would issue it."""
        return self._issuer.access(user_id, roles or (Role.USER,))[0]

    def headers(self, user_id: str, *roles: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user_id, *roles)}"}

    def client(self, user_id: str = "", *roles: Role) -> httpx.Client:
        """Asks the gateway's API, as this user or as nobody; patient on a busy machine."""
        headers = self.headers(user_id, *roles) if user_id else None
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=PATIENCE_S)

    def offer(self, stock: int) -> tuple[str, str]:
        """An active event and a reward of it that everybody gets while there are any; the IDs."""
        api, boss = Client(self.url), self.token("boss", Role.OPERATOR)
        event_id = api.new_event(boss, "Autumn")
        reward = {"name": "R", "kind": "points", "amount": 1, "approval": "automatic"}
        return event_id, api.new_reward(boss, event_id, **reward, stock=stock)

    def register(self) -> dict[str, str]:
        """A new account, as `login` takes it."""
        account = {"email": f"{uuid4().hex[:10]}@example.com", "password": PASSWORD}
        with self.client() as http:
            reply = http.post("/auth/register", json={**account, "display_name": "Ann"})
        assert reply.status_code == 201, reply.text
        return account

    def __enter__(self) -> Self:
        try:
            for service in self.services:
                service.start()
            for service in self.services:
                service.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.services:
            service.kill()
        self._balancer.close()
