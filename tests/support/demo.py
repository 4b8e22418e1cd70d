"""The demo on ports and in a directory of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.machine import PORTS
from tests.support.servers import free_port
from tests.support.waiting import until

DEMO = [sys.executable, "-m", "demo"]


def environment(directory: Path, **changes: str) -> dict[str, str]:
    ports = {name: str(free_port()) for name in PORTS}
    more = {"LOCAL_DIR": str(directory), "SEED_USERS": "20", "SEED_RPS": "1", "COLUMNS": "20"}
    return {**os.environ, **ports, **more, **changes}


@contextmanager
def running(env: dict[str, str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo, ready."""
    info = Path(env["LOCAL_DIR"]) / "demo.json"
    with out.open("wb") as file:
        process = subprocess.Popen(DEMO, env=env, stdout=file, stderr=file)
    try:
        until(lambda: info.exists() or process.poll() is not None, 240, "the demo")
        assert process.poll() is None, out.read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
