"""Waiting for what is asked about, and ports for what is started."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress


def until(look: Callable[[], object], seconds: float, every_s: float = 0.05) -> bool:
    """Wait until `look` gives something true, at most so long; whether it did."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def free_port() -> int:
    """A port of loopback that nobody listens on now; OSError if there is none.

    Below the range from which systems take ports of outgoing connections: one of those could sit
    on it before the server that it is meant for starts.
    """
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
