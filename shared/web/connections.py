"""The open connections of one server: bounded in number, and none waits for a dead reader."""

from __future__ import annotations

import asyncio
from typing import Protocol

from plainview.client_address import Networks, client_network, is_within
from shared.web.bounds import Bounds


class Connection(Protocol):
    """What is known of one connection; times are those of its event loop."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    since: float

    @property
    def address(self) -> str: ...
    @property
    def idle(self) -> bool: ...
    @property
    def taken(self) -> tuple[int, int]: ...
    def drop(self) -> None: ...


class Connections:
    """At most `bounds.connections` in all and `bounds.connections_per_client` of each client.

    At a bound the connection goes that has been without a request for the longest time; if
    all are at work, the new one is refused. Proxies that are trusted speak for many clients
    and are bounded in all alone.
    """

    def __init__(self, bounds: Bounds, trusted: Networks = ()) -> None:
        self._bounds, self.trusted = bounds, trusted
        self._open: dict[Connection, str] = {}
        self._of: dict[str, set[Connection]] = {}
        # when the present window of a slow reader began, and what it had taken by then
        self._windows: dict[Connection, tuple[float, int]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> bool:
        """Whether it may stay."""
        client = client_network(connection.address, self._bounds.ipv6_prefix)
        own = self._of.get(client, set())
        most = self._bounds.connections_per_client
        if most and len(own) >= most and not is_within(connection.address, self.trusted):
            if not self._drop_idle(own):
                return False
        elif len(self._open) >= self._bounds.connections and not self._drop_idle(self._open):
            return False
        self._open[connection] = client
        self._of.setdefault(client, set()).add(connection)
        if self._sweep is None:
            self._sweep_later(connection.loop)
        return True

    def discard(self, connection: Connection) -> None:
        """It is closed; also one that was refused."""
        client = self._open.pop(connection, None)
        self._windows.pop(connection, None)
        if client is not None:
            own = self._of[client]
            own.discard(connection)
            if not own:
                del self._of[client]

    def _drop_idle(self, among: set[Connection] | dict[Connection, str]) -> bool:
        idle = min((one for one in among if one.idle), key=lambda one: one.since, default=None)
        if idle is None:
            return False
        self.discard(idle)
        idle.drop()
        return True

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = loop.call_later(self._bounds.taking_s / 6, self._cut_off_slow, loop)

    def _cut_off_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Every sixth of the time that a slow client has."""
        now = loop.time()
        for connection in list(self._open):
            if connection.transport.is_closing() and not connection.taken[1]:
                self.discard(connection)  # a WebSocket ends without a word to its first protocol
                continue
            taken, waiting = connection.taken
            began, before = self._windows.get(connection, (now, taken))
            if not waiting:
                self._windows.pop(connection, None)
            elif taken - before >= self._bounds.taken:
                self._windows[connection] = now, taken
            elif now - began >= self._bounds.taking_s:
                connection.drop()
            else:
                self._windows[connection] = began, before
        self._sweep = None
        if self._open:
            self._sweep_later(loop)
