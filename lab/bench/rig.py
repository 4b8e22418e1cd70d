"""What every part of the bench needs: embedded servers, tokens that services believe, rounds."""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from demo.embedded import mongo_command, valkey_command
from lab.bench.load import drive
from lab.processes import Process, free_port
from ops.secrets import new_signing_key
from seed.client import Client
from shared.tokens import Role, TokenIssuer

NAME = "event-rewards"
MANY = "1000000/minute"
OFF = {f"PLAINVIEW_{part}": "false" for part in ("LOGS", "METRICS", "TRACES", "HEALTH")}


@dataclass(frozen=True)
class Measured:
    """Requests a second, and microseconds of CPU for each."""

    rate: float
    cpu_us: float


@dataclass
class Rig:
    """Processes of one part of the bench; `stack` ends them."""

    directory: Path
    stack: ExitStack
    seconds: float
    rounds: int
    issuer: TokenIssuer = field(default_factory=lambda: TokenIssuer(new_signing_key(), NAME, NAME))

    def token(self, user: str, role: Role = Role.USER) -> str:
        """An access token, good for five minutes."""
        return self.issuer.access(user, [role])[0]

    def bearer(self, user: str) -> dict[str, str]:
        """The header that makes a request this user's."""
        return {"Authorization": f"Bearer {self.token(user)}"}

    def new_event(self, url: str) -> str:
        """The ID of a new active event of the service at this address."""
        return Client(url).new_event(self.token("boss", Role.OPERATOR), "The bench's own")

    def start(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """A process that listens."""
        process = Process(name, command, port, self.directory, environment or {})
        self.stack.callback(process.stop)
        process.wait_ready()
        return process

    def stand_in(self, what: str, url: str = "") -> Process:
        """One of `lab.bench.stand_ins`; all publish the rig's keys of tokens."""
        port = free_port()
        command = [sys.executable, "-m", "lab.bench.stand_ins", what, str(port), url]
        return self.start(what, command, port, {"JWKS": json.dumps(self.issuer.jwks())})

    def service(self, service: str, name: str, environment: Mapping[str, str]) -> Process:
        """`python -m SERVICE` with logs to a file; `environment` on top of what it needs."""
        port = free_port()
        common = {"USER_HASH_KEY": "k" * 32, "LOG_FORMAT": "json", "DRAIN_SECONDS": "0"}
        given = {"PORT": str(port), **common, **environment}
        return self.start(name, [sys.executable, "-m", service], port, given)

    def valkey(self) -> str:
        """The address of an empty Valkey."""
        return f"redis://127.0.0.1:{self._server(valkey_command)}/0"

    def mongo(self) -> str:
        """The address of an empty MongoDB stand-in."""
        return f"mongodb://127.0.0.1:{self._server(mongo_command)}"

    def _server(self, command: Callable[[int, Path], list[str]]) -> int:
        port = free_port()
        name = f"{command.__name__}-{port}"
        self.start(name, command(port, self.directory / name), port)
        return port

    def in_turn(
        self, ways: Iterable[Process], path: str, headers: Callable[[], Mapping[str, str]]
    ) -> dict[str, list[Measured]]:
        """GET of each way in each round, after one that only warms up; by name of its process."""
        found: dict[str, list[Measured]] = {}
        for number in range(self.rounds + 1):
            for way in ways:
                measured = measure(way, path, headers(), self.seconds if number else 1)
                if number:
                    found.setdefault(way.name, []).append(measured)
        return found


def measure(process: Process, path: str, headers: Mapping[str, str], seconds: float) -> Measured:
    """GET `path` of a process for so long. RuntimeError if a reply is no 2xx."""
    before = process.cpu_s
    requests, took, failed = drive(process.url + path, headers, seconds)
    cpu = process.cpu_s - before
    if failed or not requests:
        raise RuntimeError(f"{process.name}: {failed} of {requests} requests failed")
    return Measured(requests / took, cpu / requests * 1e6)


def median_ratio(
    one: Iterable[Measured], other: Iterable[Measured], value: Callable[[Measured], float]
) -> float:
    """The median over rounds of one way's value over another's."""
    return statistics.median(value(a) / value(b) for a, b in zip(one, other, strict=True))


def table(title: str, found: Mapping[str, Iterable[Measured]]) -> None:
    """Print the medians of each way, and their spread."""
    print(f"\n{title:32} {'req/s':>8} {'CPU us':>8}   req/s of all rounds")
    for name, rounds in found.items():
        rates = sorted(each.rate for each in rounds)
        cpu = statistics.median(each.cpu_us for each in rounds)
        spread = f"{rates[0]:.0f} to {rates[-1]:.0f}"
        print(f"{name:32} {statistics.median(rates):8.0f} {cpu:8.0f}   {spread}")
