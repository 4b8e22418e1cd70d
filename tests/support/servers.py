"""Real servers on loopback, each a child process that a test may pause and kill."""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import httpx

from demo.embedded import mongo_command, valkey_command
from tests.support.waiting import until

# Byte N locked: port N is some process's until it ends, whoever else looks for ports meanwhile.
_claims = (Path(tempfile.gettempdir()) / f"event-rewards-ports-{os.getuid()}").open("ab")
_given: set[int] = set()


def free_port() -> int:
    """A port of loopback that nobody listens on now, given out once among all test processes.

    Below the range from which systems take ports of outgoing connections: one of those would
    sit on it before the server that it is meant for starts.
    """
    for port in random.sample(range(20000, 32000), 1000):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            if port not in _given:  # a process may lock its own byte again
                _given.add(port)
                return port
    raise RuntimeError("no port is free")


def free_ports(count: int) -> list[int]:
    """So many of them."""
    return [free_port() for _ in range(count)]


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def ready(url: str) -> bool:
    """The service there says that it is ready."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


class Server:
    """start, stop, kill (SIGKILL), pause and resume; a restart keeps port and data."""

    name = "server"

    def __init__(self, port: int | None = None, directory: Path | None = None) -> None:
        self.port = port or free_port()
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Self:
        log = (self.directory / f"{self.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.wait_until_up()
        return self

    def wait_until_up(self) -> None:
        until(self._up, what=f"{self.name} on port {self.port}")

    def _up(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            text = (self.directory / f"{self.name}.log").read_text()[-2000:]
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {text}")
        return self.answers()

    def answers(self) -> bool:
        return listens(self.port)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        self.kill()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def pause(self) -> None:
        """Hang: connections are accepted by the kernel, nothing is answered."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

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
