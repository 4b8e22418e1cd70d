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
from . import start_at_zero

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
    return "other" if name else "rejected"  # only the driver's own errors have an `errtype`


class CommandMetrics(monitoring.CommandListener):
    """Observes how long commands took and counts those that failed."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Nothing: the event at the end has the duration."""

    def succeeded(
        self, event: monitoring.CommandSucceededEvent | monitoring.CommandFailedEvent
    ) -> None:
        """Observe the duration."""
        DB_OPERATION_DURATION.observe(
            event.duration_micros / 1e6,
            db_system_name=SYSTEM,
            db_operation_name=event.command_name,
        )

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Observe the duration and count the failure."""
        self.succeeded(event)
        with guarded("mongo"):
            kind = error_type(dict(event.failure))
            DB_OPERATION_FAILURES.inc(db_system_name=SYSTEM, error_type=kind)


def _counts(*, opened: int = 0, used: int = 0) -> Any:
    def listen(self: PoolMetrics, event: object) -> None:
        with guarded("mongo"), self._lock:
            self._open += opened
            self._used += used
            DB_CONNECTIONS.set(self._used, db_system_name=SYSTEM, state="used")
            idle = max(0, self._open - self._used)
            DB_CONNECTIONS.set(idle, db_system_name=SYSTEM, state="idle")

    return listen


def _cannot_connect(self: object, event: object) -> None:
    DB_CONNECTION_FAILURES.inc(db_system_name=SYSTEM)


class PoolMetrics(monitoring.ConnectionPoolListener):
    """Adds up the pools of all clients of the process; Motor reports from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = self._used = 0
        self._sizes: dict[Any, list[int]] = {}

    connection_created = _counts(opened=1)
    connection_closed = _counts(opened=-1)
    connection_checked_out = _counts(used=1)
    connection_checked_in = _counts(used=-1)
    connection_check_out_failed = _cannot_connect
    connection_ready = connection_check_out_started = pool_ready = pool_cleared = _counts()

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Add a pool (one per server and client); its event lacks options that have the default."""
        self._resize(event, [int(event.options.get("maxPoolSize") or 100)])

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Subtract the size of the pool."""
        self._resize(event, [])

    def _resize(self, event: Any, opened: list[int]) -> None:
        with guarded("mongo"), self._lock:
            sizes = self._sizes.setdefault(event.address, [])
            self._sizes[event.address] = sizes + opened if opened else sizes[:-1]
            size = sum(sum(sizes) for sizes in self._sizes.values())
            DB_CONNECTIONS_MAX.set(size, db_system_name=SYSTEM)


class HeartbeatMetrics(monitoring.ServerHeartbeatListener):
    """Counts failed heartbeats: while no server is known, commands fail without an event."""

    def started(self, event: object) -> None:
        """Nothing."""

    succeeded = started
    failed = _cannot_connect


_installed = threading.Lock()  # acquired once and for good: PyMongo's listeners cannot be removed


def instrument() -> None:
    """Register the listeners; clients made before have none."""
    if _installed.acquire(blocking=False):
        start_at_zero(SYSTEM)
        for listener in (CommandMetrics(), PoolMetrics(), HeartbeatMetrics()):
            monitoring.register(listener)
        PymongoInstrumentor().instrument(capture_statement=False)
