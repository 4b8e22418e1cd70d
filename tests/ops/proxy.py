"""docker-proxy: Debian's HAProxy with the committed file before a socket that answers all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ops.engine import Engine
from tests.stack.programs import ROOT
from tests.support.servers import free_port, listens
from tests.support.waiting import until


def program() -> str:
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not found:
        assert not os.environ.get("CI"), "apt-get install haproxy"
        pytest.skip("haproxy is not installed")
    return found


class Proxy:
    """Runs while it is entered; `engine` is what is behind it, `log` what it wrote."""

    def __init__(self, directory: Path) -> None:
        self.port, self.log = free_port(), directory / "log"
        socket, file = directory / "docker.sock", directory / "haproxy.cfg"
        text = (ROOT / "telemetry/docker-proxy.cfg").read_text()
        text = text.replace("/var/run/docker.sock", str(socket))
        file.write_text(text.replace("0.0.0.0:2375", f"127.0.0.1:{self.port}"))
        self._command = [program(), "-db", "-f", str(file)]
        self.engine = Engine(socket)

    def __enter__(self) -> Proxy:
        with self.log.open("wb") as out:
            self._server = subprocess.Popen(self._command, stdout=out, stderr=out)
        until(lambda: listens(self.port), what="haproxy")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait(10)
        self.engine.close()
