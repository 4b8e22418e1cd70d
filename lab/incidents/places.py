"""Where incidents happen: the running demo's processes, or compose's containers."""

from __future__ import annotations

import configparser
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4
from xmlrpc.client import Fault, ServerProxy

import httpx
from pymongo import MongoClient
from redis import Redis
from redis.exceptions import ResponseError
from supervisor.xmlrpc import SupervisorTransport

from demo.machine import CONTROL, ROOT
from lab import local_prometheus
from monitoring.settings import KIT
from ops.files import write_private

PATIENCE_S = 60.0
DATABASE = "event_rewards_event"
Details = dict[str, Any]


class LabError(Exception):
    """The lab cannot go on; the text tells the person at the command why."""


class Place:
    """Programs by name, and the API as its accounts use it."""

    name = ""
    gateway = ""  # addresses
    console = ""
    directory: Path  # the lab's own files
    prometheus = ""  # of the place itself, if it has one
    accounts: dict[str, dict[str, str]]

    def stop(self, program: str) -> None:
        raise NotImplementedError

    def start(self, program: str) -> None:
        raise NotImplementedError

    def pause(self, program: str) -> None:
        """Hang: connections are accepted, nothing is answered."""
        raise NotImplementedError

    def resume(self, program: str) -> None:
        raise NotImplementedError

    def hide(self, service: str) -> None:
        """Let Prometheus find no target of a service any more."""
        raise NotImplementedError

    def unhide(self, service: str) -> None:
        raise NotImplementedError

    def headers(self, role: str) -> dict[str, str]:
        """Authorization header of the account with this role, signed in for it."""
        login = self.call("POST", "/auth/login", json=self.accounts[role])
        return {"Authorization": f"Bearer {login['access_token']}"}

    def call(self, method: str, path: str, **more: Any) -> Any:
        """JSON of a request; waits for limits and restarts, else raises HTTPStatusError."""
        url, end = f"{self.gateway}/api/v1{path}", time.monotonic() + PATIENCE_S
        while True:
            try:
                reply = httpx.request(method, url, timeout=30, **more)
            except httpx.ConnectError:  # nothing was sent: the gateway is being started
                if time.monotonic() > end:
                    raise
                time.sleep(1)
                continue
            wait = int(reply.headers.get("Retry-After", 0))
            if not wait or time.monotonic() + wait > end:
                return reply.raise_for_status().json()
            time.sleep(wait)

    def new_reward(self, stock: int, conditions: list[Details]) -> Details:
        """A running event of our own with one reward: `event_id`, `reward_id`."""
        operator, now = self.headers("OPERATOR"), datetime.now(UTC)
        times = {"starts_at": now - timedelta(minutes=1), "ends_at": now + timedelta(days=1)}
        event = {
            "title": "Break-it lab",
            "status": "active",
            "conditions": conditions,
            **{name: at.isoformat() for name, at in times.items()},
        }
        event_id = self.call("POST", "/events", headers=operator, json=event)["id"]
        reward = {"name": "One of few", "kind": "item", "stock": stock}
        path = f"/events/{event_id}/rewards"
        made = self.call("POST", path, headers=operator, json=reward)
        return {"event_id": event_id, "reward_id": made["id"]}

    def claim(self, event_id: str, reward_id: str) -> None:
        """Take part and claim, as USER; if the seeder claimed it first, that is no error."""
        user = self.headers("USER")
        self.call("POST", f"/events/{event_id}/participations", headers=user)
        with suppress(httpx.HTTPStatusError):
            keyed = {**user, "Idempotency-Key": uuid4().hex}
            self.call("POST", f"/rewards/{reward_id}/requests", headers=keyed)

    def close_event(self, event_id: str) -> None:
        """Close the event; one that is closed stays so."""
        operator, path = self.headers("OPERATOR"), f"/events/{event_id}"
        if self.call("GET", path, headers=operator)["status"] != "closed":
            self.call("PATCH", path, headers=operator, json={"status": "closed"})


class Demo(Place):
    """What `make demo` runs: processes below a supervisor."""

    name = "demo"

    def __init__(self, local: Path) -> None:
        info = json.loads((local / "demo.json").read_text())
        self.local, self.directory = local, local / "incidents"
        self.urls: dict[str, str] = info["services"]
        self.gateway, self.console = self.urls["gateway"], self.urls["console"]
        self.accounts, self.ports = info["accounts"], info["ports"]

    @property
    def supervisor(self) -> Any:
        """Its control interface: a new connection each time, since it may have been restarted."""
        transport = SupervisorTransport(None, None, f"unix://{self.local / CONTROL}")
        return ServerProxy("http://127.0.0.1", transport).supervisor

    @property
    def supervisor_pid(self) -> int:
        return int((self.local / "supervisord.pid").read_text())

    def pid(self, program: str) -> int:
        """Process ID of a program, 0 if it does not run."""
        return cast(int, self.supervisor.getProcessInfo(program)["pid"])

    def stop(self, program: str) -> None:
        with suppress(Fault):  # it does not run
            self.supervisor.stopProcess(program)

    def start(self, program: str) -> None:
        with suppress(Fault):  # it runs
            self.supervisor.startProcess(program)

    def pause(self, program: str) -> None:
        os.kill(self.pid(program), signal.SIGSTOP)

    def resume(self, program: str) -> None:
        os.kill(self.pid(program), signal.SIGCONT)

    def kill(self, program: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        os.kill(self.pid(program), signal.SIGKILL)

    def pause_supervisor(self) -> None:
        """Nobody reads the programs' output then, and nobody restarts them."""
        os.kill(self.supervisor_pid, signal.SIGSTOP)

    def resume_supervisor(self) -> None:
        os.kill(self.supervisor_pid, signal.SIGCONT)

    @property
    def targets(self) -> dict[str, list[str]]:
        return {name: [self.urls[name].removeprefix("http://")] for name in KIT.services}

    def hide(self, service: str) -> None:
        local_prometheus.write_targets(self.directory / "prometheus", {service: []})

    def unhide(self, service: str) -> None:
        local_prometheus.write_targets(
            self.directory / "prometheus", {service: self.targets[service]}
        )

    def deploy(self, service: str, **environment: str) -> None:
        """Restart a service with these environment variables added; without any, as it was."""
        path, section = self.local / "supervisord.conf", f"program:{service}"
        config = configparser.RawConfigParser()
        config.read(path)
        variables = {"PORT": str(self.ports[f"{service.upper()}_PORT"]), **environment}
        text = ",".join(f'{name}="{value}"' for name, value in variables.items())
        config[section]["environment"] = text
        lines = [
            f"{key}={value}" if key else value
            for name in config.sections()
            for key, value in (("", f"[{name}]"), *config[name].items())
        ]
        write_private(path, "\n".join(lines) + "\n")
        control = self.supervisor
        control.reloadConfig()
        self.stop(service)
        control.removeProcessGroup(service)
        control.addProcessGroup(service)

    def redis(self, *command: str) -> None:
        """One command, past the services; one that Redis refuses is no error."""
        url = f"redis://127.0.0.1:{self.ports['REDIS_PORT']}"
        with Redis.from_url(url, socket_timeout=5) as client, suppress(ResponseError):
            client.execute_command(*command)

    def set_stock_left(self, reward_id: str, left: int) -> None:
        """Change the stock in the database, which the service does not notice."""
        url = f"mongodb://127.0.0.1:{self.ports['MONGO_PORT']}"
        client: MongoClient[Details] = MongoClient(url, timeoutMS=5_000)
        with client:
            client[DATABASE]["rewards"].update_one(
                {"_id": reward_id}, {"$set": {"stock_left": left}}
            )


class Compose(Place):
    """What `docker compose up` runs; Grafana notifies there, so messages can be waited for."""

    name = "compose"
    console = f"http://127.0.0.1:{os.environ.get('CONSOLE_PORT', '8080')}"
    prometheus = f"http://127.0.0.1:{os.environ.get('PROMETHEUS_PORT', '9090')}"
    gateway = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORTS', '8000').partition('-')[0]}"
    NAMES = {"valkey": "redis", "console": "collector"}  # noqa: RUF012

    def __init__(self, local: Path) -> None:
        self.directory = local / "incidents"
        self.accounts = json.loads(_compose("exec", "-T", "seeder", "cat", "/state/seed.json"))[
            "accounts"
        ]

    def _do(self, verb: str, program: str) -> None:
        _compose(verb, self.NAMES.get(program, program))

    def stop(self, program: str) -> None:
        self._do("stop", program)

    def start(self, program: str) -> None:
        self._do("start", program)

    def pause(self, program: str) -> None:
        self._do("pause", program)

    def resume(self, program: str) -> None:
        with suppress(LabError):  # it is not paused
            self._do("unpause", program)

    def hide(self, service: str) -> None:
        self.stop(service)  # its name vanishes from DNS, and so its targets

    def unhide(self, service: str) -> None:
        self.start(service)


def _compose(*arguments: str) -> str:
    """Output of `docker compose`; LabError with what it said."""
    command = ["docker", "compose", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _compose_runs() -> bool:
    with suppress(LabError, FileNotFoundError):
        return '"Service":"gateway"' in _compose("ps", "--format", "json").replace(" ", "")
    return False


def find() -> Place:
    """The running demo, else the running stack of compose; LabError if there is neither."""
    local = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").absolute()
    if (local / "demo.json").exists():
        return Demo(local)
    if _compose_runs():
        return Compose(local)
    raise LabError(
        "nothing runs that could be broken: start `make demo` (or `make up`) in another shell"
    )


def wait_until(look: Callable[[], object], timeout_s: float) -> bool:
    """Whether `look` became true, asked twice a second."""
    end = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True
