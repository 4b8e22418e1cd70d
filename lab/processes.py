"""What the lab starts: on free ports, waited for, ended afterwards; a demo of its own among it."""

import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from demo.machine import PORTS, ROOT, listens

DEMO = [sys.executable, "-m", "demo"]
READY_S, STOP_S = 60, 30
DEMO_READY_S, DEMO_STOP_S = 360, 120
_TICKS = os.sysconf("SC_CLK_TCK")
# Byte N locked: port N is some process's until it ends, whoever else looks for ports meanwhile.
_claims = (Path(tempfile.gettempdir()) / f"event-rewards-ports-{os.getuid()}").open("ab")
_given: set[int] = set()


def until(look: Callable[[], object], seconds: float, every_s: float = 0.05) -> bool:
    """Wait until `look` gives something true, at most so long; whether it did."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def free_port() -> int:
    """A port of loopback that nobody listens on now, given out once among all who ask here.

    Below the range from which systems take ports of outgoing connections: one of those could sit
    on it before the server that it is meant for starts.
    """
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            if port not in _given:  # a process may lock its own byte again
                _given.add(port)
                return port
    raise OSError("no port is free")


class Process:
    """A program that listens on `port`; its output goes to a file of its name in `directory`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        directory: Path,
        environment: Mapping[str, str],
        *,
        cwd: Path = ROOT,
    ) -> None:
        self.name, self.port, self.url = name, port, f"http://127.0.0.1:{port}"
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=cwd, env={"PATH": os.environ.get("PATH", ""), **environment},
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Until it listens, without a request to it; RuntimeError if it ends before."""
        until(lambda: self.popen.poll() is not None or listens(self.port), READY_S)
        if self.popen.poll() is not None or not listens(self.port):
            said = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{self.name} did not start: {said}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 10 s."""
        self.popen.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(10)
        self.popen.kill()
        self.popen.wait(10)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its threads and ended children so far; NaN where there is no /proc."""
        # the name before the parenthesis may hold anything
        fields = self._told("stat").rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / _TICKS if fields else float("nan")

    @property
    def peak_mib(self) -> float:
        """MiB of memory it had at most so far; NaN where there is no /proc."""
        found = re.search(r"(?m)^VmHWM:\s+(\d+) kB$", self._told("status"))
        return int(found[1]) / 1024 if found else float("nan")

    def _told(self, file: str) -> str:
        with suppress(OSError):
            return Path(f"/proc/{self.popen.pid}/{file}").read_text()
        return ""


def spawn(command: list[str], log: Path) -> int:
    """Start it detached, its output in `log`; its process ID."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C ends the command, and this goes on
        ).pid


def end(pid: int, mark: str) -> None:
    """End the process if its command still contains `mark`: the number may be another's now."""
    if not pid or mark not in _command(pid):
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if not until(lambda: mark not in _command(pid), STOP_S):
            os.kill(pid, signal.SIGKILL)
            until(lambda: mark not in _command(pid), STOP_S)


def _command(pid: int) -> str:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # collect a child that ended, else `ps` still lists it
    shown = ["ps", "-ww", "-p", str(pid), "-o", "command="]
    return subprocess.run(shown, capture_output=True, text=True, check=False).stdout


def demo_environment(directory: Path, **more: str) -> dict[str, str]:
    """For a demo on free ports and in a directory of its own."""
    ports = {name: str(free_port()) for name in PORTS}
    return {**os.environ, **ports, "LOCAL_DIR": str(directory), "SEED_RPS": "1", **more}


@contextmanager
def demo(
    environment: Mapping[str, str], command: Sequence[str] = DEMO, where: Path = ROOT
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A demo that is ready, and its `demo.json`; its output is in a file beside its directory."""
    directory = Path(environment["LOCAL_DIR"])
    directory.mkdir(parents=True, exist_ok=True)
    info, log = directory / "demo.json", directory.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=where, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until(lambda: info.exists() or process.poll() is not None, DEMO_READY_S)
        if not info.exists():
            raise RuntimeError(f"the demo did not start: {log.read_text()[-3000:]}")
        yield process, json.loads(info.read_text())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(DEMO_STOP_S)
