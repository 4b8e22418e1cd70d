"""The open connections of one server: bounds their number and cuts off clients that do not read."""

from __future__ import annotations

import asyncio
from typing import Protocol

from plainview.client_address import Networks, client_network, is_within
from shared.web.bounds import Bounds


class Connection(Protocol):
    """What `Connections` needs of a connection; times are those of its event loop."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    since: float

    @property
    def address(self) -> str: ...
    @property
    def idle(self) -> bool: ...
    @property
    def arriving(self) -> bool: ...
    @property
    def taken(self) -> tuple[int, int]: ...
    def drop(self) -> None: ...


class Connections:
    """At most `bounds.connections` in all and `bounds.connections_per_client` of each client.

    At a bound the connection that has been idle for the longest time is closed; if none is idle,
    one whose request is still arriving; if all are at work, the new one is refused. Trusted
    proxies carry many clients, so for them only the bound in all holds.
    """

    def __init__(self, bounds: Bounds, trusted: Networks = ()) -> None:
        self._bounds, self.trusted = bounds, trusted
        self._open: dict[Connection, str] = {}
        self._of: dict[str, set[Connection]] = {}
        # of clients with unread bytes: when their time window began, and bytes read until then
        self._windows: dict[Connection, tuple[float, int]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> bool:
        """Add a new connection; False if it has to be closed."""
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
        """Remove a closed connection; harmless for one that was refused."""
        client = self._open.pop(connection, None)
        self._windows.pop(connection, None)
        if client is not None:
            own = self._of[client]
            own.discard(connection)
            if not own:
                del self._of[client]

    def _drop_idle(self, among: set[Connection] | dict[Connection, str]) -> bool:
        idle = min((one for one in among if one.idle), key=lambda one: one.since, default=None)
        if (
            idle is None
        ):  # else slow bodies, which cost their clients nothing, would keep all others out
            idle = min((o for o in among if o.arriving), key=lambda one: one.since, default=None)
        if idle is None:
            return False
        self.discard(idle)
        idle.drop()
        return True

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = loop.call_later(self._bounds.taking_s / 6, self._cut_off_slow, loop)

    def _cut_off_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop clients that read too slowly; runs every `taking_s` / 6."""
        now = loop.time()
        for connection in list(self._open):
            if connection.transport.is_closing() and not connection.taken[1]:
                self.discard(connection)  # was a WebSocket: nobody tells of its end
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
