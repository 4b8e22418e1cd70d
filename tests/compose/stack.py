"""The stack that `docker compose up` started: its commands, addresses and accounts."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx


def published(variable: str, default: int) -> str:
    """Where docker-compose.yml publishes a port on this machine."""
    return f"http://127.0.0.1:{os.environ.get(variable, default)}"


GATEWAY = published("GATEWAY_PORTS", 8000)
PROMETHEUS = published("PROMETHEUS_PORT", 9090)
JAEGER = published("JAEGER_PORT", 16686)
GRAFANA = published("GRAFANA_PORT", 3000)
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


def eventually(look: Callable[[], Any], timeout_s: float = 60) -> Any:
    """The first true value of `look()`."""
    end = time.monotonic() + timeout_s
    while not (value := look()):
        assert time.monotonic() < end, f"not within {timeout_s} s"
        time.sleep(0.5)
    return value


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

    return dict(json.loads(eventually(read, 90)))


def client(token: str = "") -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=f"{GATEWAY}/api/v1", headers=headers, timeout=15)


def signed_in(account: dict[str, str]) -> httpx.Client:
    """A client with the tokens of this account."""
    with client() as http:
        body = {"email": account["email"], "password": account["password"]}
        reply = http.post("/auth/login", json=body).raise_for_status()
    return client(reply.json()["access_token"])


def newcomer() -> httpx.Client:
    """A client of somebody who has just registered."""
    account = {"email": f"{uuid4().hex}@example.com", "password": uuid4().hex}
    with client() as http:
        reply = http.post("/auth/register", json={**account, "display_name": "Tourist"})
        assert reply.status_code == 201, reply.text
    return signed_in(account)


def up_targets(job: str) -> set[str]:
    """Instances of a job that Prometheus has scraped with success."""
    reply = httpx.get(f"{PROMETHEUS}/api/v1/targets?state=active", timeout=10)
    targets = reply.raise_for_status().json()["data"]["activeTargets"]
    return {
        target["labels"]["instance"]
        for target in targets
        if target["labels"]["job"] == job and target["health"] == "up"
    }
