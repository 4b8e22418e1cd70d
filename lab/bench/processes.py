"""Processes to measure: started on free ports, their CPU time read, none left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

READY_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """A program that listens on `port`; its output goes to a file of its name in `directory`."""

    def __init__(self, name: str, command: Sequence[str], port: int, directory: Path) -> None:
        self.name, self.command, self.port = name, command, port
        self.url = f"http://127.0.0.1:{port}"
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, stack: ExitStack, environment: Mapping[str, str] | None = None) -> Process:
        """Start it and wait until it listens; `stack` ends it. RuntimeError if it ends before."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", ""), **(environment or {})},
            )
        stack.callback(self.stop)
        deadline = time.monotonic() + READY_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {self._log.read_text()[-500:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 5 s."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait(5)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
            return True
        return False

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its threads and ended children so far; NaN where there is no /proc."""
        pid = self._process.pid if self._process else 0
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return float("nan")
        fields = stat.rpartition(")")[2].split()  # the name before may hold anything
        return sum(int(field) for field in fields[11:15]) / _TICKS

    @property
    def peak_mib(self) -> float:
        """MiB of memory it had at most so far; NaN where there is no /proc."""
        pid = self._process.pid if self._process else 0
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return float("nan")
        (kib,) = re.findall(r"(?m)^VmHWM:\s+(\d+) kB$", status)
        return int(kib) / 1024


def module(name: str, port: int, directory: Path, *words: str) -> Process:
    """`python -m NAME`."""
    return Process(name.rpartition(".")[2], [sys.executable, "-m", name, *words], port, directory)
