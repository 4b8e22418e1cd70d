"""Real servers on loopback, each a child process that a test may pause and kill."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from demo.embedded import mongo_command, valkey_command
from demo.machine import answers, listens
from lab.processes import free_port
from tests.support.waiting import until


def free_ports(count: int) -> list[int]:
    """So many of them."""
    return [free_port() for _ in range(count)]


def ready(url: str) -> bool:
    """The service there says that it is ready."""
    return answers(f"{url}/health/ready")


class Process:
    """A child process that a test may end, kill, pause and start again."""

    name: str
    process: subprocess.Popen[bytes] | None = None

    def _spawn(self, command: Sequence[str | Path], log: Path, **options: Any) -> None:
        """Run a command; what it writes is added to `log`."""
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **options
            )

    def _send(self, how: signal.Signals) -> None:
        assert self.process, f"{self.name} does not run"
        self.process.send_signal(how)

    def terminate(self, timeout_s: float = 25) -> int:
        """SIGTERM; the exit code."""
        self._send(signal.SIGTERM)
        assert self.process
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is closed."""
        if self.process:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, nothing is answered."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: what was paused goes on."""
        self._send(signal.SIGCONT)


class Server(Process):
    """A program that listens on one port; a restart keeps port and data."""

    def __init__(self, port: int | None = None, directory: Path | None = None) -> None:
        self.port = port or free_port()
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.options: dict[str, Any] = {}  # of subprocess.Popen

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Self:
        self._spawn(self.command(), self.directory / f"{self.name}.log", **self.options)
        until(self._up, what=f"{self.name} on port {self.port}")
        return self

    def _up(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            text = (self.directory / f"{self.name}.log").read_text()[-2000:]
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {text}")
        return self.answers()

    def answers(self) -> bool:
        return listens(self.port)

    def stop(self) -> None:
        if self.process:
            self.resume()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate(3)
        self.kill()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EmbeddedMongo(Server):
    """nx-27017: the MongoDB wire protocol on SQLite."""

    name = "mongo"

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return mongo_command(self.port, self.directory)


class EmbeddedValkey(Server):
    """A real Valkey."""

    name = "valkey"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return valkey_command(self.port, self.directory)

    def answers(self) -> bool:
        """While it loads its data it listens already."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 0.5) as sock,
        ):
            sock.sendall(b"PING\r\n")
            return sock.recv(64).startswith(b"+PONG")
        return False
