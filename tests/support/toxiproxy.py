"""Toxiproxy in front of a server: a wire that is slow, cut, or swallows what passes.

`tests/stack/build toxiproxy` builds the program.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.stack.programs import binary
from tests.support.servers import Server, free_port


@dataclass(frozen=True)
class Wire:
    """A port of loopback whose connections go on to another one, with toxics while asked for."""

    proxy: str  # address in Toxiproxy's API
    port: int

    @contextmanager
    def toxic(self, kind: str, stream: str = "downstream", **attributes: int) -> Iterator[None]:
        """Have a toxic on it, see Toxiproxy's README; times in ms.

        `downstream` is towards the client. `timeout=0` of the kind `timeout` holds back all data
        for ever, `reset_peer` breaks connections off.
        """
        toxic = {"type": kind, "stream": stream, "attributes": attributes}
        name = _post(f"{self.proxy}/toxics", toxic)["name"]
        try:
            yield
        finally:
            httpx.delete(f"{self.proxy}/toxics/{name}").raise_for_status()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Break off its connections and refuse new ones."""
        _post(self.proxy, {"enabled": False})
        try:
            yield
        finally:
            _post(self.proxy, {"enabled": True})


class Toxiproxy(Server):
    """`with Toxiproxy() as proxies: wire = proxies.wire("mongo", server.port)`."""

    name = "toxiproxy"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(binary("toxiproxy-server")), "-host", "127.0.0.1", "-port", str(self.port)]

    def wire(self, name: str, port: int) -> Wire:
        """A new way to `port`."""
        way = Wire(f"{self.url}/proxies/{name}", free_port())
        ends = {"listen": f"127.0.0.1:{way.port}", "upstream": f"127.0.0.1:{port}"}
        _post(f"{self.url}/proxies", {"name": name, "enabled": True, **ends})
        return way


def _post(url: str, body: Any) -> Any:
    return httpx.post(url, json=body, timeout=10).raise_for_status().json()
