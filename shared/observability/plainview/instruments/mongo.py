"""MongoDB: command latency and failures, the connection pool, spans without statements.

Works by PyMongo's event listeners, hence for MongoClient, AsyncMongoClient and Motor alike.
A duplicate key that an insert or update reports is a normal answer to MongoDB, not a failed
command; one that a `findAndModify` reports is counted as `duplicate_key`.
"""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from pymongo import monitoring

from ..guarded import guarded
from ..signals import (
    DB_CONNECTION_FAILURES,
    DB_CONNECTIONS,
    DB_CONNECTIONS_MAX,
    DB_OPERATION_DURATION,
    DB_OPERATION_FAILURES,
)

SYSTEM = "mongodb"
_DUPLICATE_KEY = {11000, 11001, 12582}
_TIMEOUT = {50, 89, 202, 262}  # MaxTimeMSExpired, NetworkTimeout, NetworkInterface..., Exceeded...
_UNAVAILABLE = {6, 7, 91, 189, 10107, 11600, 11602, 13435, 13436}  # host, shutdown, no primary


def error_type(failure: dict[str, Any]) -> str:
    """Which kind of failure a command's failure document tells of."""
    code, name = failure.get("code"), str(failure.get("errtype", ""))
    if code in _DUPLICATE_KEY:
        return "duplicate_key"
    if code in _TIMEOUT or "Timeout" in name:
        return "timeout"
    if code in _UNAVAILABLE or name in {"AutoReconnect", "ConnectionFailure", "NotPrimaryError"}:
        return "unavailable"
    return "other" if name else "rejected"  # the driver names its own errors, servers do not


class CommandMetrics(monitoring.CommandListener):
    """Counts commands."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Nothing: the end says all."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Observe the duration."""
        self._observe(event)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Observe the duration and count the failure."""
        self._observe(event)
        with guarded("mongo"):
            kind = error_type(dict(event.failure))
            DB_OPERATION_FAILURES.inc(db_system_name=SYSTEM, error_type=kind)

    def _observe(
        self, event: monitoring.CommandSucceededEvent | monitoring.CommandFailedEvent
    ) -> None:
        DB_OPERATION_DURATION.observe(
            event.duration_micros / 1e6,
            db_system_name=SYSTEM,
            db_operation_name=event.command_name,
        )


class PoolMetrics(monitoring.ConnectionPoolListener):
    """Adds up the pools of all clients of the process; Motor reports from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = self._used = 0
        self._sizes: dict[Any, list[int]] = {}

    def _change(self, *, opened: int = 0, used: int = 0) -> None:
        with guarded("mongo"), self._lock:
            self._open += opened
            self._used += used
            DB_CONNECTIONS.set(self._used, db_system_name=SYSTEM, state="used")
            idle = max(0, self._open - self._used)
            DB_CONNECTIONS.set(idle, db_system_name=SYSTEM, state="idle")

    def _resize(self) -> None:
        size = sum(sum(sizes) for sizes in self._sizes.values())
        DB_CONNECTIONS_MAX.set(size, db_system_name=SYSTEM)

    def _ignore(self, event: object) -> None:
        """Changes no count."""

    pool_ready = pool_cleared = connection_ready = connection_check_out_started = _ignore

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """One pool per server and client; the event names only what differs from the default."""
        with guarded("mongo"), self._lock:
            size = int(event.options.get("maxPoolSize") or 100)
            self._sizes.setdefault(event.address, []).append(size)
            self._resize()

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Take its size off."""
        with guarded("mongo"), self._lock:
            sizes = self._sizes.get(event.address)
            if sizes:
                sizes.pop()
            self._resize()

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """One more."""
        self._change(opened=1)

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """One less."""
        self._change(opened=-1)

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """No connection to be had."""
        DB_CONNECTION_FAILURES.inc(db_system_name=SYSTEM)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """In use."""
        self._change(used=1)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """Back in the pool."""
        self._change(used=-1)


class HeartbeatMetrics(monitoring.ServerHeartbeatListener):
    """Counts failed heartbeats: with no server known, commands fail before any other event."""

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        """Nothing."""

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        """Nothing."""

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        """The server cannot be reached."""
        DB_CONNECTION_FAILURES.inc(db_system_name=SYSTEM)


_installed = threading.Lock()  # taken once and kept: PyMongo's listeners cannot be removed


def instrument() -> None:
    """Register the listeners; clients made before have none."""
    if _installed.acquire(blocking=False):
        for listener in (CommandMetrics(), PoolMetrics(), HeartbeatMetrics()):
            monitoring.register(listener)
        PymongoInstrumentor().instrument(capture_statement=False)
