"""The real telemetry programs, run with the very files that compose mounts.

Addresses come from the environment where a program expands it; prometheus.yml has no such
thing, so its targets are put in by name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from lab import local_prometheus
from tests.support.servers import free_ports

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
class Program:
    """One process: started, waited for, stopped; its output in `directory`."""

    name: str
    command: list[str]
    ready: str
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def launch(self) -> Program:
        """Started, and not waited for."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def start(self, timeout: float = 120) -> Program:
        self.launch()
        assert self.process
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(self.ready, timeout=1).status_code < 300:
                    return self
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        tail = self.log.read_text(errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"{self.name} did not become ready at {self.ready}:\n{tail}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)


@dataclass
class Ports:
    """Where the trace pipeline listens."""

    collector_http: int
    collector_grpc: int
    collector_health: int
    collector_metrics: int
    span_metrics: int
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


def collector(
    directory: Path, ports: Ports, console_url: str, jaeger_port: int | None = None
) -> Program:
    """The Collector on telemetry/collector.yaml; `jaeger_port` may be a proxy's."""
    environment = {
        "COLLECTOR_HOST": "127.0.0.1",
        "COLLECTOR_HTTP_PORT": str(ports.collector_http),
        "COLLECTOR_GRPC_PORT": str(ports.collector_grpc),
        "COLLECTOR_HEALTH_PORT": str(ports.collector_health),
        "COLLECTOR_METRICS_PORT": str(ports.collector_metrics),
        "COLLECTOR_SPAN_METRICS_PORT": str(ports.span_metrics),
        "COLLECTOR_QUEUE_DIR": str(directory / "queue"),
        "JAEGER_ENDPOINT": f"127.0.0.1:{jaeger_port or ports.jaeger_grpc}",
        "CONSOLE_ENDPOINT": console_url,
        "TAIL_DECISION_WAIT": "3s",
    }
    command = [str(binary("otelcol")), f"--config={ROOT / 'telemetry' / 'collector.yaml'}"]
    ready = f"http://127.0.0.1:{ports.collector_health}/"
    return Program("collector", command, ready, directory, environment)


def collector_agent(directory: Path, ports: Ports, tier: Sequence[Ports]) -> Program:
    """The first tier on telemetry/collector-agent.yaml; `tier` are the Collectors of the second.

    No name on this machine has an address for each of them: their addresses are in a list instead.
    """
    config = yaml.safe_load((ROOT / "telemetry" / "collector-agent.yaml").read_text())
    addresses = [f"127.0.0.1:{each.collector_grpc}" for each in tier]
    config["exporters"]["load_balancing"]["resolver"] = {"static": {"hostnames": addresses}}
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "collector-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    environment = {
        "COLLECTOR_HOST": "127.0.0.1",
        "COLLECTOR_HTTP_PORT": str(ports.collector_http),
        "COLLECTOR_HEALTH_PORT": str(ports.collector_health),
        "COLLECTOR_METRICS_PORT": str(ports.collector_metrics),
    }
    command = [str(binary("otelcol")), f"--config={path}"]
    ready = f"http://127.0.0.1:{ports.collector_health}/"
    return Program("collector-agent", command, ready, directory, environment)


def jaeger(directory: Path, ports: Ports) -> Program:
    """Jaeger on telemetry/jaeger.yaml."""
    environment = {
        "JAEGER_HOST": "127.0.0.1",
        "JAEGER_GRPC_PORT": str(ports.jaeger_grpc),
        "JAEGER_HTTP_PORT": str(ports.jaeger_http),
        "JAEGER_QUERY_PORT": str(ports.jaeger_query),
        "JAEGER_QUERY_GRPC_PORT": str(ports.jaeger_query_grpc),
        "JAEGER_HEALTH_PORT": str(ports.jaeger_health),
        "JAEGER_METRICS_PORT": str(ports.jaeger_metrics),
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
