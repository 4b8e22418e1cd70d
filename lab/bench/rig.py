"""What every part of the bench needs: tokens that the services believe, embedded servers."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from demo.embedded import mongo_command, valkey_command
from lab.bench.load import Measured, measure
from lab.bench.processes import Process, free_port, module
from ops.secrets import new_signing_key
from shared.tokens import Role, TokenIssuer

NAME = "event-rewards"
MANY = "1000000/minute"
OFF = {f"PLAINVIEW_{part}": "false" for part in ("LOGS", "METRICS", "TRACES", "HEALTH")}


@dataclass(frozen=True)
class Ratio:
    """A goal of the bench; `least` is whether more is better."""

    name: str
    value: float
    goal: float
    least: bool

    @property
    def holds(self) -> bool:
        """Whether the goal is reached; what could not be measured (NaN) has missed it."""
        return self.value >= self.goal if self.least else self.value <= self.goal


@dataclass
class Rig:
    """Processes of one part of the bench; `stack` ends them."""

    directory: Path
    stack: ExitStack
    seconds: float
    rounds: int
    issuer: TokenIssuer = field(default_factory=lambda: TokenIssuer(new_signing_key(), NAME, NAME))

    def bearer(self, user: str, *roles: Role) -> dict[str, str]:
        """The header that makes a request this user's, for five minutes."""
        return {"Authorization": f"Bearer {self.issuer.access(user, roles)[0]}"}

    def stand_in(self, what: str, url: str = "") -> Process:
        """One of `lab.bench.stand_ins`; all publish the rig's keys of tokens."""
        port = free_port()
        process = module("lab.bench.stand_ins", port, self.directory, what, str(port), url)
        process.name = what
        return process.start(self.stack, {"JWKS": json.dumps(self.issuer.jwks())})

    def service(self, service: str, name: str, environment: Mapping[str, str]) -> Process:
        """`python -m SERVICE` with logs to a file; `environment` on top of what it needs."""
        port = free_port()
        process = module(service, port, self.directory)
        process.name = name
        common = {
            "PORT": str(port),
            "USER_HASH_KEY": "k" * 32,
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "0",
        }
        return process.start(self.stack, {**common, **environment})

    def valkey(self) -> str:
        """The address of an empty Valkey."""
        port = free_port()
        command = valkey_command(port, self.directory / f"valkey-{port}")
        Process("valkey", command, port, self.directory).start(self.stack)
        return f"redis://127.0.0.1:{port}/0"

    def mongo(self) -> str:
        """The address of an empty MongoDB stand-in."""
        port = free_port()
        command = mongo_command(port, self.directory / f"mongo-{port}")
        Process("mongo", command, port, self.directory).start(self.stack)
        return f"mongodb://127.0.0.1:{port}"

    def in_turn(
        self, ways: Iterable[Process], path: str, headers: Callable[[], Mapping[str, str]]
    ) -> dict[str, list[Measured]]:
        """Each way in each round, after one that only warms up; by name of its process."""
        found: dict[str, list[Measured]] = {}
        for number in range(self.rounds + 1):
            for way in ways:
                measured = measure(way, path, headers(), self.seconds if number else 1)
                if number:
                    found.setdefault(way.name, []).append(measured)
        return found


def median_ratio(
    one: Iterable[Measured], other: Iterable[Measured], value: Callable[[Measured], float]
) -> float:
    """The median over rounds of one way's value over another's."""
    pairs = zip(one, other, strict=True)
    return round(statistics.median(value(a) / value(b) for a, b in pairs), 3)


def table(title: str, found: Mapping[str, Iterable[Measured]]) -> None:
    """Print the medians of each way, and their spread."""
    print(f"\n{title:32} {'req/s':>8} {'CPU us':>8}   req/s of all rounds")
    for name, rounds in found.items():
        rates = sorted(each.rate for each in rounds)
        cpu = statistics.median(each.cpu_us for each in rounds)
        spread = f"{rates[0]:.0f} to {rates[-1]:.0f}"
        print(f"{name:32} {statistics.median(rates):8.0f} {cpu:8.0f}   {spread}")
