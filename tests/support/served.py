"""`observed_app` under each server that can serve it, as a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.servers import free_port
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
APP = "tests.support.observed_app"
PYTHON = (sys.executable, "-m")
COMMANDS = {
    "uvicorn": (*PYTHON, "uvicorn", f"{APP}:app", "--port", "{port}"),
    "uvicorn.run": (*PYTHON, APP, "{port}"),
    "fastapi run": (
        *(*PYTHON, "fastapi", "run", "tests/support/observed_app.py"),
        *("--host", "127.0.0.1", "--port", "{port}"),
    ),
    "gunicorn and uvicorn": (
        *(*PYTHON, "gunicorn", f"{APP}:app", "-k", "uvicorn.workers.UvicornWorker"),
        *("-b", "127.0.0.1:{port}"),
    ),
    "gunicorn": (*PYTHON, "gunicorn", f"{APP}:app", "-k", "asgi", "-b", "127.0.0.1:{port}"),
    "hypercorn": (*PYTHON, "hypercorn", f"{APP}:app", "-b", "127.0.0.1:{port}"),
    "granian": (*PYTHON, "granian", "--interface", "asgi", f"{APP}:app", "--port", "{port}"),
}


@dataclass
class Served:
    url: str
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.text.splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found


@contextlib.contextmanager
def serving(server: str, directory: Path, *arguments: str, **variables: str) -> Iterator[Served]:
    """`observed_app` under a server, both outputs in a file; ended by SIGTERM."""
    port, output = free_port(), directory / "output"
    command = [*(word.format(port=port) for word in COMMANDS[server]), *arguments]
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONPATH": f"{ROOT}:{ROOT / 'shared/observability'}",
        "PLAINVIEW_STRICT": "0",
        **variables,
    }
    with output.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, cwd=ROOT, start_new_session=True
        )
    served = Served(f"http://127.0.0.1:{port}", output)

    def ready() -> bool:
        assert process.poll() is None, served.text
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{served.url}/health/ready").status_code == 200
        return False

    try:
        until(ready, timeout_s=60)
        yield served
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait(10)
