"""The whole platform on this machine: `python -m demo` (`make demo`), Ctrl-C ends it.

A supervisor runs and restarts the programs. Data, logs and secrets stay in `.local`.
"""

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from demo.embedded import mongo_command, valkey_command
from demo.machine import ROOT, answers, end_leftovers, foreground, listens, read_ports
from demo.supervisor import configure
from ops.files import write_private
from ops.secrets import new_signing_key

READY_S = 110.0  # seconds; the README promises the first claim within two minutes
STOP_S = 40.0


class Demo:
    """Everything of one start; `directory` is where its files are."""

    def __init__(self, directory: Path, ports: dict[str, int]) -> None:
        self.directory, self.ports = directory, ports
        self.began = time.monotonic()
        self.stopped_by: int | None = None
        names = ("gateway", "auth", "event", "console")
        self.urls = {name: f"http://127.0.0.1:{ports[f'{name.upper()}_PORT']}" for name in names}
        self.info, self.seed = directory / "demo.json", directory / "seed.json"
        self._seed_before = self._seeded()

    def environment(self) -> dict[str, str]:
        mongo = f"mongodb://127.0.0.1:{self.ports['MONGO_PORT']}"
        chosen = {"ENVIRONMENT": "demo", **os.environ}
        for name in ("MONGO_DATABASE", "MONGO_URL_FILE", "REDIS_URL_FILE"):
            chosen.pop(name, None)  # set for one service only, they would reach all
        return {
            **chosen,
            "PYTHONUNBUFFERED": "1",
            "LOG_FORMAT": "json",
            "HOST": "127.0.0.1",
            "DRAIN_SECONDS": "0",
            "MONGO_URL": mongo,
            "AUTH_MONGO_URL": mongo,
            "EVENT_MONGO_URL": mongo,
            "REDIS_URL": f"redis://127.0.0.1:{self.ports['REDIS_PORT']}/0",
            "USER_HASH_KEY_FILE": str(self._secret("user_hash_key", secrets.token_urlsafe(32))),
            "AUTH_SIGNING_KEY_FILE": str(self._secret("signing_key.pem", new_signing_key())),
            "TRUSTED_PROXIES": "127.0.0.0/8,::1",  # so that the seeder's users have addresses
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.ports['OTLP_PORT']}",
            "SEED_FILE": str(self.seed),
            "LOG_DIR": str(self.directory / "logs"),
            "SERVICES": ",".join(f"{n}={u}" for n, u in self.urls.items() if n != "console"),
            **{f"{name.upper()}_URL": url for name, url in self.urls.items()},
            **{name: str(port) for name, port in self.ports.items()},
        }

    def _secret(self, name: str, text: str) -> Path:
        path = self.directory / "secrets" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_private(path, text)
        return path

    def programs(self) -> dict[str, list[str]]:
        """The command of each, in the order of their start."""
        python = [sys.executable, "-m"]
        return {
            "mongo": mongo_command(self.ports["MONGO_PORT"], self.directory / "mongo"),
            "valkey": valkey_command(self.ports["REDIS_PORT"], self.directory / "valkey"),
            "console": [*python, "console"],
            "auth": [*python, "auth"],
            "event": [*python, "event"],
            "gateway": [*python, "gateway"],
            "seeder": [*python, "seed"],
        }

    def configure(self) -> Path:
        return configure(self.directory, ROOT, self.programs(), self.ports)

    @contextmanager
    def supervised(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The supervisor and its programs; none is left afterwards."""
        written = str(self.configure())
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", written, "--silent"]
        with (self.directory / "supervisord.out").open("wb") as out:
            process = subprocess.Popen(
                command,
                env=self.environment(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C reaches this process only, it ends the others
            )
        try:
            yield process
        finally:
            self.info.unlink(missing_ok=True)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            process.kill()
            process.wait()

    def _seeded(self) -> int:
        return self.seed.stat().st_mtime_ns if self.seed.exists() else 0

    def waiting_for(self) -> list[str]:
        listening = {"mongo": "MONGO_PORT", "valkey": "REDIS_PORT"}
        waiting = [name for name, port in listening.items() if not listens(self.ports[port])]
        waiting += [name for name, url in self.urls.items() if not answers(f"{url}/health/ready")]
        return waiting + (["seeder"] if self._seeded() == self._seed_before else [])

    def wait_until_ready(self, supervisor: "subprocess.Popen[bytes]") -> bool:
        """Print which program became ready; False after Ctrl-C, SystemExit after READY_S."""
        before = set(self.programs())
        while self.stopped_by is None:
            waiting = self.waiting_for()
            for name in sorted(before - set(waiting)):
                print(f"  {time.monotonic() - self.began:5.1f} s  {name} is ready", flush=True)
            before &= set(waiting)
            if not waiting:
                return True
            if supervisor.poll() is not None:
                said = (self.directory / "supervisord.out").read_text()
                raise SystemExit(f"demo: the supervisor ended: {said}")
            if time.monotonic() - self.began > READY_S:
                name = waiting[0]
                log = self.directory / "logs" / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise SystemExit(f"demo: {', '.join(waiting)} not ready; end of {log}:\n{tail}")
            time.sleep(0.1)
        return False

    def announce(self) -> None:
        """Print what one can do now and write `demo.json`."""
        seeded = json.loads(self.seed.read_text())
        info = {"services": self.urls, **{n: seeded[n] for n in ("accounts", "example")}}
        info["ports"] = self.ports
        print(story(info), flush=True)
        write_private(self.info, json.dumps(info, indent=2) + "\n")


def story(info: Mapping[str, Any]) -> str:
    """Addresses, accounts, and a claim with curl."""
    url, user, reward = info["services"]["gateway"], info["accounts"]["USER"], info["example"]
    accounts = "".join(
        f"  {role:<9} {account['email']:<24} {account['password']}\n"
        for role, account in info["accounts"].items()
    )
    key = f"claim-{reward['reward_id'][:12]}"
    return f"""
Ready. Console {info["services"]["console"]}   API {url}/docs

{accounts}
Claim a reward:

  TOKEN=$(curl -s {url}/api/v1/auth/login -H 'Content-Type: application/json' \\
    -d '{json.dumps(user)}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
  curl -i -X POST {url}/api/v1/rewards/{reward["reward_id"]}/requests \\
    -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: {key}'

and follow it: make follow ID=<X-Request-ID of the reply>

Ctrl-C ends everything; the data stays (make clean removes it)."""


def main() -> int:
    """Run until a signal; 0 after Ctrl-C."""
    directory = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").absolute()
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / "demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit(f"demo: one is running with the data in {directory}") from None
    (directory / "demo.json").unlink(missing_ok=True)  # left by a demo that was killed
    end_leftovers(directory / "supervisord.pid", STOP_S)
    demo = Demo(directory, read_ports(os.environ))

    def stop(number: int, frame: FrameType | None) -> None:
        demo.stopped_by = number

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    print(f"Starting {', '.join(demo.programs())}; logs are in {directory}/logs", flush=True)
    with foreground(), demo.supervised() as supervisor:
        if demo.wait_until_ready(supervisor):
            demo.announce()
        while demo.stopped_by is None and supervisor.poll() is None:
            time.sleep(0.1)
        print("\nStopping", flush=True)
    return 0 if demo.stopped_by else 1


if __name__ == "__main__":
    sys.exit(main())
