"""What one request leaves behind, the input of docs/scaling.md: `python -m lab.scaling`.

Real processes on embedded servers: gateway, auth, event, everything on, every trace sampled, asked
by eight clients at once. Printed are means of some hundred requests: microseconds of CPU by
process, bytes of logs, spans, Redis' scripts; and of a process its series and the memory that it
had at most, in MiB. CPU depends on the machine, the rest does not.
"""

import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import redis
import zstandard

from lab.bench.rig import MANY, Rig
from lab.processes import Process
from ops.secrets import new_signing_key
from plainview.decode import Metrics, parse_metrics
from seed.client import Client
from shared.tokens import Role, TokenIssuer

REQUESTS, CLIENTS = 400, 8
PASSWORD = "seven quiet lamps at noon"  # noqa: S105 - of accounts that live for a minute
Sent = Callable[[int], httpx.Response]


class Watched:
    """The services and Redis, read before and after a number of requests."""

    def __init__(self, services: Mapping[str, Process], directory: Path, redis_url: str) -> None:
        self._services, self._directory = services, directory
        self._redis = redis.Redis.from_url(redis_url)

    def log(self, name: str) -> bytes:
        """What a service has written so far."""
        return (self._directory / f"{name}.log").read_bytes()

    def series(self, name: str) -> int:
        """Samples of one scrape."""
        return len(self._page(name).samples)

    def _page(self, name: str) -> Metrics:
        reply = httpx.get(f"{self._services[name].url}/metrics", timeout=20)
        return Metrics(parse_metrics(reply.text))

    def _settled(self) -> float:
        """Spans, once no more come."""
        before, now = -1.0, 0.0
        while before != now:
            time.sleep(1)
            spans = "telemetry_spans_exported_total"
            before, now = now, sum(self._page(name).value(spans) for name in self._services)
        return now

    def _cpu(self) -> dict[str, float]:
        spent: dict[str, float] = self._redis.info("cpu")
        found = {f"{name}_cpu_us": each.cpu_s * 1e6 for name, each in self._services.items()}
        return found | {"redis_cpu_us": (spent["used_cpu_user"] + spent["used_cpu_sys"]) * 1e6}

    def _left(self) -> dict[str, float]:
        stats: dict[str, dict[str, float]] = self._redis.info("commandstats")
        found = {
            "spans": self._settled(),
            "scripts": stats.get("cmdstat_evalsha", {"calls": 0})["calls"],
        }
        return found | {f"{name}_log_bytes": len(self.log(name)) for name in self._services}

    def each(self, send: Sent, expected: int, count: int) -> dict[str, float]:
        """What one request of many leaves behind, on average; RuntimeError if one fails."""
        before = self._left() | self._cpu()
        with ThreadPoolExecutor(CLIENTS) as pool:
            replies = list(pool.map(send, range(count)))
        spent = self._cpu()  # before what is still to be exported is waited for
        after = self._left() | spent
        for reply in replies:
            if reply.status_code != expected:
                raise RuntimeError(f"{reply.request.url}: {reply.status_code} {reply.text}")
        return {name: round((after[name] - before[name]) / count, 1) for name in after}


def measured(directory: Path, stack: ExitStack, requests: int) -> dict[str, dict[str, float]]:
    """By kind of request what one of `requests` leaves; `process` has what a process has."""
    rig = Rig(directory, stack, 0, 0)
    key = new_signing_key()
    rig.issuer = TokenIssuer(key, "event-rewards", "event-rewards")
    valkey, mongo = rig.valkey(), rig.mongo()
    receiver = rig.stand_in("receiver")
    common = {
        "MONGO_URL": mongo,
        "REDIS_URL": valkey,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "SIGNALS_SECONDS": "60",
        "AUTH_ADDRESS_LIMIT": MANY,
        **{f"RATE_LIMIT_{name}": MANY for name in ("USER", "ADDRESS", "SIGN_IN")},
    }
    auth = rig.service("auth", "auth", {**common, "AUTH_SIGNING_KEY": key})
    event = rig.service("event", "event", {**common, "AUTH_URL": auth.url})
    urls = {"AUTH_URL": auth.url, "EVENT_URL": event.url}
    gateway = rig.service("gateway", "gateway", {**common, **urls})
    services = {"gateway": gateway, "auth": auth, "event": event}
    watched = Watched(services, directory, valkey)
    http = stack.enter_context(
        httpx.Client(base_url=f"{gateway.url}/api/v1", trust_env=False, timeout=30)
    )
    users = [rig.bearer(f"user-{number}") for number in range(requests)]
    event_id = rig.new_event(event.url)
    reward = {"name": "A reward", "kind": "points", "amount": 1, "approval": "automatic"}
    boss = rig.token("boss", Role.OPERATOR)
    made = Client(gateway.url).new_reward(boss, event_id, **reward, stock=requests)
    claim = f"/rewards/{made}/requests"
    account = {"email": f"{uuid4().hex[:10]}@example.com", "password": PASSWORD}
    http.post("/auth/register", json={**account, "display_name": "Ann"}).raise_for_status()
    # Redis learns the scripts of signing in: several first ones at once would send them again
    http.post("/auth/login", json=account).raise_for_status()
    for user in users:  # tokens are known to both services afterwards, as those of a session are
        http.get(f"/events/{event_id}", headers=user).raise_for_status()
        http.post(f"/events/{event_id}/participations", headers=user).raise_for_status()

    def claimed(number: int) -> httpx.Response:
        return http.post(claim, headers={**users[number], "Idempotency-Key": f"key-{number}"})

    def read(number: int) -> httpx.Response:
        return http.get(f"/events/{event_id}", headers=users[number])

    found = {
        "read": watched.each(read, 200, requests),
        "claim": watched.each(claimed, 201, requests),
        "sign-in": watched.each(lambda _: http.post("/auth/login", json=account), 200, 20),
    }
    written = b"".join(watched.log(name) for name in services)
    smaller = len(written) / len(zstandard.ZstdCompressor(level=3).compress(written))
    process = {f"{name}_series": float(watched.series(name)) for name in services}
    process |= {f"{name}_peak_mib": each.peak_mib for name, each in services.items()}
    return {**found, "process": {**process, "zstd_ratio": round(smaller, 1)}}


def main() -> int:
    """Measure and print."""
    with TemporaryDirectory() as directory, ExitStack() as stack:
        found = measured(Path(directory), stack, REQUESTS)
    for kind, values in found.items():
        print(f"\n{kind}")
        for name, value in values.items():
            print(f"  {name:20} {value:10.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
