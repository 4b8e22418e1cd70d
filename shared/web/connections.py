"""The open connections of one server: bounds their number and cuts off clients that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from plainview.client_address import Networks, client_network, is_within
from shared.web.bounds import Bounds

if TYPE_CHECKING:
    from shared.web.protocol import BoundedProtocol as Connection


class Connections:
    """At most `bounds.connections` in all and `bounds.connections_per_client` of each client.

    At a bound the connection that has been idle for the longest time is closed; if none is idle,
    one whose request is still arriving; else, of those that leave a part of their reply waiting,
    the one that reads the slowest; else one whose next request is beginning to come. If all are
    at work, the new one is refused.

    Closing a connection whose client is just sending its next request loses that request. So a
    client may have twice its bound before connections at work, or idle for less than
    `bounds.settled_s`, are closed. As long as it has more than its bound, each reply closes its
    connection. Trusted proxies carry many clients, so for them only the bound in all holds.
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
        own = self._of.get(client, ())
        if not self._has_room(connection.address, own, connection.loop.time()):
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

    def crowded(self, connection: Connection) -> bool:
        """Whether its client has more than its share, so that its reply should close it."""
        most = self._bounds.connections_per_client
        own = self._of.get(self._open.get(connection, ""), ())
        return 0 < most < len(own) and not is_within(connection.address, self.trusted)

    def _has_room(self, address: str, own: Collection[Connection], now: float) -> bool:
        most, every = self._bounds.connections_per_client, self._open
        if most and len(own) >= most and not is_within(address, self.trusted):
            settled = [one for one in own if one.since <= now - self._bounds.settled_s]
            if self._close_idle(settled):
                return True
            if len(own) >= 2 * most:
                return self._close_one(own)
        return len(every) < self._bounds.connections or self._close_one(every)

    def _close_one(self, among: Collection[Connection]) -> bool:
        return (
            self._close_idle(among)
            # Slow bodies cost their clients nothing, and must not keep all others out.
            or self._close_first(_oldest_first(one for one in among if one.arriving))
            or self._close_slowest(among)
            # Nor must those that always have some bytes in the socket, and no whole request.
            or self._close_first(_oldest_first(one for one in among if one.idle))
        )

    def _close_idle(self, among: Collection[Connection]) -> bool:
        # One is at work, too, whose last reply is not sent whole, or whose next request has come.
        idle = _oldest_first(one for one in among if one.idle and not one.taken[1])
        return self._close_first(one for one in idle if not one.asked)

    def _close_slowest(self, among: Collection[Connection]) -> bool:
        readers = (one for one in among if one.taken[1])
        return self._close_first(sorted(readers, key=lambda one: one.pace))

    def _close_first(self, among: Iterable[Connection]) -> bool:
        for connection in among:
            self.discard(connection)
            connection.drop()
            return True
        return False

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


def _oldest_first(among: Iterable[Connection]) -> list[Connection]:
    return sorted(among, key=lambda one: one.since)
