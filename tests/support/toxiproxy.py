"""Toxiproxy in front of a server: a wire that is slow, cut, or swallows what passes.

`tests/stack/build toxiproxy` builds the program.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.stack.programs import binary
from tests.support.servers import free_port
from tests.support.waiting import until


@dataclass(frozen=True)
class Wire:
    """A port of loopback whose connections go on to another one, with toxics while asked for."""

    api: httpx.Client
    name: str
    port: int

    @contextmanager
    def toxic(self, kind: str, stream: str = "downstream", **attributes: int) -> Iterator[None]:
        """Have a toxic on it, see Toxiproxy's README; times in ms.

        `downstream` is towards the client. `timeout=0` of the kind `timeout` holds back all data
        for ever, `reset_peer` breaks connections off.
        """
        toxic = {"type": kind, "stream": stream, "attributes": attributes}
        name = self._ask("POST", f"/proxies/{self.name}/toxics", toxic)["name"]
        try:
            yield
        finally:
            self.api.delete(f"/proxies/{self.name}/toxics/{name}").raise_for_status()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Break off its connections and refuse new ones."""
        self._ask("POST", f"/proxies/{self.name}", {"enabled": False})
        try:
            yield
        finally:
            self._ask("POST", f"/proxies/{self.name}", {"enabled": True})

    def _ask(self, method: str, path: str, body: Any) -> Any:
        return self.api.request(method, path, json=body).raise_for_status().json()


class Toxiproxy:
    """`with Toxiproxy() as proxies: wire = proxies.wire("mongo", server.port)`."""

    def __init__(self) -> None:
        self._port = free_port()
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=10)
        self._process: subprocess.Popen[bytes] | None = None

    def wire(self, name: str, port: int) -> Wire:
        """A new way to `port`."""
        way = Wire(self._api, name, free_port())
        proxy = {
            "name": name,
            "listen": f"127.0.0.1:{way.port}",
            "upstream": f"127.0.0.1:{port}",
            "enabled": True,
        }
        self._api.post("/proxies", json=proxy).raise_for_status()
        return way

    def _up(self) -> bool:
        try:
            return self._api.get("/version").is_success
        except httpx.TransportError:
            return False

    def __enter__(self) -> Self:
        command = [binary("toxiproxy-server"), "-host", "127.0.0.1", "-port", str(self._port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, stdin=quiet)
        until(self._up, what="toxiproxy")
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        if self._process:
            self._process.kill()
            self._process.wait(10)
