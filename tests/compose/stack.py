"""The stack that `docker compose up` started: its commands, addresses and accounts."""

import json
import os
import shlex
import subprocess
from typing import Any
from uuid import uuid4

import httpx

from seed.client import Client
from tests.support.waiting import until


def published(variable: str, default: int) -> str:
    """Where docker-compose.yml publishes a port on this machine."""
    return f"http://127.0.0.1:{os.environ.get(variable, default)}"


GATEWAY = published("GATEWAY_PORTS", 8000)
PROMETHEUS = published("PROMETHEUS_PORT", 9090)
JAEGER = published("JAEGER_PORT", 16686)
GRAFANA = published("GRAFANA_PORT", 3000)
API = Client(GATEWAY)
API.patience_s = 0  # the first answer counts
PAGES = [
    published("CONSOLE_PORT", 8080) + "/health/ready",
    published("SINK_PORT", 8090),
    f"{GRAFANA}/api/health",
]
COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker compose"))


def run(*command: str, timeout: float = 120) -> str:
    """Standard output of a command that succeeds."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def compose(*arguments: str, timeout: float = 120) -> str:
    return run(*COMPOSE, *arguments, timeout=timeout)


def seed() -> dict[str, Any]:
    """Accounts and example of the seeder, as soon as it has made them."""

    def read() -> str:
        done = subprocess.run(
            [*COMPOSE, "exec", "-T", "seeder", "cat", "/state/seed.json"],
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout if done.returncode == 0 else ""

    return dict(json.loads(until(read, 90)))


def newcomer() -> str:
    """A token of somebody who has just registered."""
    account = {"email": f"{uuid4().hex}@example.com", "password": uuid4().hex}
    API.call("POST", "/auth/register", json={**account, "display_name": "Tourist"})
    return API.token(account)


def offer(**stock: int) -> tuple[str, dict[str, str]]:
    """A running event, and its rewards by name with so many pieces of each."""
    operator = API.token(seed()["accounts"]["OPERATOR"])
    event = API.new_event(operator, "Tour")
    return event, {
        name: API.new_reward(operator, event, name=name, kind="points", stock=pieces)
        for name, pieces in stock.items()
    }


def claim(token: str, reward: str, key: str = "tour-key-1") -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return API.send("POST", f"/rewards/{reward}/requests", token, headers=headers)


def up_targets(job: str) -> set[str]:
    """Instances of a job that Prometheus has scraped with success."""
    reply = httpx.get(f"{PROMETHEUS}/api/v1/targets?state=active", timeout=10)
    targets = reply.raise_for_status().json()["data"]["activeTargets"]
    return {
        target["labels"]["instance"]
        for target in targets
        if target["labels"]["job"] == job and target["health"] == "up"
    }
