"""The real telemetry programs, run with the very files that compose mounts.

Addresses come from the environment where a program expands it; prometheus.yml has no such
thing, so its targets are put in by name.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml

from lab import local_prometheus
from tests.support.servers import Process, answers, free_ports
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("STACK_CACHE", Path.home() / ".cache" / "event-rewards"))


def binary(name: str) -> Path:
    """The program as tests/stack/build leaves it."""
    found = sorted(CACHE.glob(f"*/{name}"))
    if not found:
        what = {
            "promtool": "prometheus",
            "otelcol": "collector",
            "docker-compose": "compose",
            "kube-apiserver": "kube_apiserver",
            "kubectl-validate": "kubectl_validate",
        }
        raise FileNotFoundError(
            f"{name} is not here: `tests/stack/build {what.get(name, name)}` makes it (needs Go)"
        )
    return found[-1]


@dataclass
class Program(Process):
    """Started, waited for and stopped, also by `with`; its output is in `directory`."""

    name: str
    command: list[str]
    ready: str  # an address that answers when it is
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def launch(self) -> Self:
        """Started, and not waited for."""
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self.environment}
        self._spawn(self.command, self.log, env=environment, start_new_session=True)
        return self

    def start(self, timeout: float = 120) -> Self:
        self.launch()
        try:
            until(self._is_ready, timeout, every_s=0.2)
        except AssertionError:
            self.stop()
            tail = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{self.name} is not ready at {self.ready}:\n{tail}") from None
        return self

    def _is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, "it ended"
        return answers(self.ready)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            self._send(how)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Ports:
    """Where the trace pipeline listens."""

    collector_http: int
    collector_grpc: int
    collector_health: int
    collector_metrics: int
    collector_span_metrics: int
    jaeger_grpc: int
    jaeger_http: int
    jaeger_query: int
    jaeger_query_grpc: int
    jaeger_health: int
    jaeger_metrics: int
    prometheus: int

    @classmethod
    def free(cls) -> Ports:
        return cls(*free_ports(12))

    def of(self, program: str) -> dict[str, str]:
        """As the program's configuration names them: `JAEGER_GRPC_PORT`."""
        return {
            f"{name.upper()}_PORT": str(port)
            for name, port in vars(self).items()
            if name.startswith(program)
        }


def collector(
    directory: Path, ports: Ports, console_url: str, jaeger_port: int | None = None
) -> Program:
    """The Collector on telemetry/collector.yaml; `jaeger_port` may be a proxy's."""
    environment = {
        "COLLECTOR_QUEUE_DIR": str(directory / "queue"),
        "JAEGER_ENDPOINT": f"127.0.0.1:{jaeger_port or ports.jaeger_grpc}",
        "CONSOLE_ENDPOINT": console_url,
        "TAIL_DECISION_WAIT": "3s",
    }
    return _collector(ROOT / "telemetry" / "collector.yaml", directory, ports, environment)


def collector_agent(directory: Path, ports: Ports, tier: Sequence[Ports]) -> Program:
    """The first tier on telemetry/collector-agent.yaml; `tier` are the Collectors of the second.

    No name on this machine has an address for each of them: their addresses are in a list instead.
    """
    config = yaml.safe_load((ROOT / "telemetry" / "collector-agent.yaml").read_text())
    addresses = [f"127.0.0.1:{each.collector_grpc}" for each in tier]
    config["exporters"]["load_balancing"]["resolver"] = {"static": {"hostnames": addresses}}
    path = directory / "collector-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return _collector(path, directory, ports, {})


def _collector(config: Path, directory: Path, ports: Ports, environment: dict[str, str]) -> Program:
    environment |= {"COLLECTOR_HOST": "127.0.0.1", **ports.of("collector")}
    command = [str(binary("otelcol")), f"--config={config}"]
    ready = f"http://127.0.0.1:{ports.collector_health}/"
    return Program(config.stem, command, ready, directory, environment)


def jaeger(directory: Path, ports: Ports) -> Program:
    """Jaeger on telemetry/jaeger.yaml."""
    environment = {
        "JAEGER_HOST": "127.0.0.1",
        **ports.of("jaeger"),
        "JAEGER_DATA_DIR": str(directory / "data"),
        "JAEGER_UI_CONFIG": str(ROOT / "telemetry" / "jaeger-ui.json"),
        "PROMETHEUS_URL": f"http://127.0.0.1:{ports.prometheus}",
    }
    command = [str(binary("jaeger")), f"--config={ROOT / 'telemetry' / 'jaeger.yaml'}"]
    ready = f"http://127.0.0.1:{ports.jaeger_health}/status"
    return Program("jaeger", command, ready, directory, environment)


def prometheus(directory: Path, port: int, targets: dict[str, list[str]]) -> Program:
    """Prometheus on prometheus/prometheus.yml; lab.local_prometheus changes targets later."""
    local_prometheus.configure(directory, targets)
    command = local_prometheus.command(directory, port)
    return Program("prometheus", command, f"http://127.0.0.1:{port}/-/ready", directory)
