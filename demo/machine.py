"""What starting programs on this machine takes: free ports, private files, a terminal."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTROL = "supervisor.sock"  # in the demo's directory: where its supervisor takes commands
PORTS = {
    "GATEWAY_PORT": 8000,
    "AUTH_PORT": 8001,
    "EVENT_PORT": 8002,
    "CONSOLE_PORT": 8080,
    "OTLP_PORT": 4318,
    "MONGO_PORT": 27017,
    "REDIS_PORT": 6379,
}


def read_ports(environment: Mapping[str, str]) -> dict[str, int]:
    """The port of each variable in PORTS; SystemExit that names one that is taken or no port."""
    ports: dict[str, int] = {}
    # Each port is held until all are checked: two variables may name the same one.
    with ExitStack() as held:
        for name, default in PORTS.items():
            text = environment.get(name) or str(default)
            if not text.isdecimal() or not 0 < int(text) < 65536:
                raise SystemExit(f"demo: {name} is no port: {text}")
            ports[name] = int(text)
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", ports[name]))
                listener.listen()
            except OSError as exc:
                raise SystemExit(
                    f"demo: port {text} is taken ({exc.strerror}): choose another, "
                    f"for example {name}={int(text) % 50000 + 10000} make demo"
                ) from None
    return ports


def end_leftovers(pid_file: Path, timeout_s: float) -> None:
    """End the supervisor of a start that was killed, and so its programs."""
    if not pid_file.exists() or not (pid := pid_file.read_text().strip()).isdecimal():
        return
    shown = ["ps", "-ww", "-p", pid, "-o", "command="]  # -ww: COLUMNS would cut the line
    if str(pid_file.parent) in subprocess.run(shown, capture_output=True, text=True).stdout:  # noqa: PLW1510
        print("Ending the programs of a start that was killed", flush=True)
        os.kill(int(pid), signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)


@contextmanager
def foreground() -> Iterator[None]:
    """On a terminal, be the only process that Ctrl-C reaches: `make` would report an error."""
    if not os.isatty(0) or os.getpgrp() == os.getpid():
        yield
        return
    before = os.tcgetpgrp(0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # the shell could not resume a stopped demo
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(0, before)


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def answers(url: str) -> bool:
    """Whether a GET is answered with 2xx."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy
    with suppress(OSError, urllib.error.URLError), direct.open(url, timeout=2):
        return True
    return False
