"""Processes that `make break` starts and `make fix` ends."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from demo.machine import ROOT, answers
from lab import local_prometheus
from lab.incidents.places import Demo, LabError
from lab.waiting import free_port, until

STOP_S = 30.0
NO_PROMETHEUS = (
    "Prometheus is not to be had here, so the alert is not watched: put it on your PATH, or build "
    "it with `tests/stack/build prometheus` (needs Go)"
)


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


def worker(slug: str, log: Path) -> int:
    """Start an incident's work."""
    return spawn([sys.executable, "-m", "lab.incidents", "work", slug], log)


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


def prometheus(place: Demo) -> tuple[int, str]:
    """Start Prometheus beside the demo; process ID and address, `(0, "")` without the program."""
    directory = place.directory / "prometheus"
    if not (program := local_prometheus.binary()):
        return 0, ""
    shutil.rmtree(
        directory / "data", ignore_errors=True
    )  # samples of an earlier incident would raise alerts now
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"prometheus": [f"127.0.0.1:{port}"]}
    local_prometheus.configure(directory, {**place.targets, **own})
    command = local_prometheus.command(directory, port, program)
    log = directory / "prometheus.log"
    pid = spawn(command, log)
    if not until(lambda: answers(f"{url}/-/ready"), 120):
        end(pid, str(directory))
        raise LabError(f"Prometheus did not start: see {shlex.quote(str(log))}")
    return pid, url
