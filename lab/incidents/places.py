"""Where incidents happen: the running demo's processes, or compose's containers."""

import configparser
import json
import os
import shlex
import shutil
import signal
import subprocess
from contextlib import nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4
from xmlrpc.client import Fault, ServerProxy

import httpx
from pymongo import MongoClient
from redis import Redis
from redis.exceptions import ResponseError
from supervisor.xmlrpc import SupervisorTransport

from demo.machine import CONTROL, ROOT, answers
from lab import local_prometheus
from lab.processes import end, free_port, spawn, until
from monitoring.settings import KIT
from ops.files import write_private
from seed.client import Client

DATABASE = "event_rewards_event"
Details = dict[str, Any]
#: `pause`: connections are accepted, nothing is answered. `hide`: Prometheus finds no target.
Verb = Literal["stop", "start", "pause", "resume", "kill", "hide", "unhide"]
SIGNALS = {"pause": signal.SIGSTOP, "resume": signal.SIGCONT, "kill": signal.SIGKILL}
COMPOSE_VERBS = {"resume": "unpause", "hide": "stop", "unhide": "start"}
COMPOSE_NAMES = {"valkey": "redis", "console": "collector"}


class LabError(Exception):
    """The lab cannot go on; the text tells the person at the command why."""


class Place:
    """Programs by name, and the API as its accounts use it."""

    name = ""
    gateway = ""  # addresses
    console = ""
    directory: Path  # the lab's own files
    accounts: dict[str, dict[str, str]]

    @cached_property
    def api(self) -> Client:
        """The gateway's."""
        return Client(self.gateway)

    def do(self, verb: Verb, program: str) -> None:
        """Do this to a program; nothing if it is so already, or has it behind it."""
        raise NotImplementedError

    def watched_by(self) -> tuple[int, str]:
        """A Prometheus that watches it: process ID if it is the lab's own, address."""
        raise NotImplementedError

    def token(self, role: str) -> str:
        """An access token of the account with this role, signed in for it."""
        if token := self.api.token(self.accounts[role]):
            return token
        raise LabError(f"{role}, {self.accounts[role]['email']}, cannot sign in")

    def new_reward(self, stock: int, conditions: list[Details]) -> Details:
        """A running event of our own with one reward: `event_id`, `reward_id`."""
        operator = self.token("OPERATOR")
        event_id = self.api.new_event(operator, "Break-it lab", conditions=conditions)
        reward = {"name": "One of few", "kind": "item", "stock": stock}
        reward_id = self.api.new_reward(operator, event_id, **reward)
        return {"event_id": event_id, "reward_id": reward_id}

    def claim(self, event_id: str, reward_id: str) -> None:
        """Take part and claim, as USER; if the seeder claimed it first, that is no error."""
        user, key = self.token("USER"), {"Idempotency-Key": uuid4().hex}
        self.api.call("POST", f"/events/{event_id}/participations", user)
        with suppress(httpx.HTTPStatusError):
            self.api.call("POST", f"/rewards/{reward_id}/requests", user, headers=key)

    def close_event(self, event_id: str) -> None:
        """Close the event, as OPERATOR."""
        self.api.close_event(self.token("OPERATOR"), event_id)


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

    def pid(self, program: str) -> int:
        """Process ID of a program or of the supervisor, 0 if it does not run."""
        if program == "supervisor":
            return int((self.local / "supervisord.pid").read_text())
        return cast(int, self.supervisor.getProcessInfo(program)["pid"])

    def do(self, verb: Verb, program: str) -> None:
        """As `Place`; `pause` and `resume` know the supervisor too, who then reads no output."""
        match verb:
            case "hide" | "unhide":
                shown = {program: [] if verb == "hide" else self.targets[program]}
                local_prometheus.write_targets(self.directory / "prometheus", shown)
            case "stop" | "start":
                with suppress(Fault):  # it is so already
                    getattr(self.supervisor, f"{verb}Process")(program)
            case "pause" | "resume" | "kill":  # the supervisor starts again what was killed
                if pid := self.pid(program):  # 0 would be this process and all of its group
                    os.kill(pid, SIGNALS[verb])

    def watched_by(self) -> tuple[int, str]:
        """A Prometheus of the lab's own, `(0, "")` if the program is not here."""
        directory = self.directory / "prometheus"
        if not (program := local_prometheus.binary()):
            return 0, ""
        # samples of an earlier incident would raise alerts now
        shutil.rmtree(directory / "data", ignore_errors=True)
        port = free_port()
        url, log = f"http://127.0.0.1:{port}", directory / "prometheus.log"
        own = {"prometheus": [f"127.0.0.1:{port}"]}
        local_prometheus.configure(directory, {**self.targets, **own})
        pid = spawn(local_prometheus.command(directory, port, program), log)
        if not until(lambda: answers(f"{url}/-/ready"), 120):
            end(pid, str(directory))
            raise LabError(f"Prometheus did not start: see {shlex.quote(str(log))}")
        return pid, url

    @property
    def targets(self) -> dict[str, list[str]]:
        return {name: [self.urls[name].removeprefix("http://")] for name in KIT.services}

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
        self.do("stop", service)
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
    gateway = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORTS', '8000').partition('-')[0]}"

    def __init__(self, local: Path) -> None:
        self.directory = local / "incidents"
        self.accounts = json.loads(_compose("exec", "-T", "seeder", "cat", "/state/seed.json"))[
            "accounts"
        ]

    def do(self, verb: Verb, program: str) -> None:
        """As `Place`; what is stopped has no name in DNS any more, so it is no target."""
        with suppress(LabError) if verb == "resume" else nullcontext():  # it is not paused
            _compose(COMPOSE_VERBS.get(verb, verb), COMPOSE_NAMES.get(program, program))

    def watched_by(self) -> tuple[int, str]:
        """The one that runs there."""
        return 0, f"http://127.0.0.1:{os.environ.get('PROMETHEUS_PORT', '9090')}"


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
