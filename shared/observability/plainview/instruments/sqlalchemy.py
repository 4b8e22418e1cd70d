"""SQLAlchemy: latency and failures of statements, the connection pool, spans without statements.

Works by the engine's own events, for engines that are sync or async, of any driver. Statements
outside of the closed set of names count as `_OTHER`; COMMIT and ROLLBACK have no duration, as
drivers send them without a cursor. A failed commit counts as a failure.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import wraps
from time import perf_counter
from typing import Any, cast
from weakref import WeakKeyDictionary, finalize

from opentelemetry import trace
from sqlalchemy import Engine, event
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.pool import QueuePool

from ..guarded import guarded
from ..signals import (
    DB_CONNECTION_FAILURES,
    DB_CONNECTIONS,
    DB_CONNECTIONS_IDLE_MAX,
    DB_CONNECTIONS_MAX,
    DB_CONNECTIONS_OVERFLOW,
    DB_OPERATION_DURATION,
    DB_OPERATION_FAILURES,
)
from . import start_at_zero
from .sqlalchemy_errors import error_type, response_status

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
_KNOWN = {"postgresql", "mysql", "mariadb", "sqlite", "cockroachdb"}
# Blanks, comments and parentheses before the first word; possessive, so that it is linear.
_FIRST_WORD = re.compile(r"(?>\s+|--[^\n]*\n|/\*.*?\*/|\()*+([A-Za-z]+)", re.DOTALL)
OPERATIONS = frozenset(
    (
        *("ALTER", "ANALYZE", "BEGIN", "CALL", "COMMIT", "COPY", "CREATE", "DELETE", "DROP"),
        *("EXPLAIN", "INSERT", "LOCK", "MERGE", "PRAGMA", "RELEASE", "REPLACE", "ROLLBACK"),
        *("SAVEPOINT", "SELECT", "SET", "SHOW", "TRUNCATE", "UPDATE", "VACUUM", "VALUES", "WITH"),
    )
)
_GUARD = guarded("sqlalchemy")


def operation(statement: str) -> str:
    """The first word of a statement, in capitals; `_OTHER` for one outside of the closed set."""
    found = _FIRST_WORD.match(statement[:1000])
    word = found[1].upper() if found else ""
    return word if word in OPERATIONS else "_OTHER"


def system_name(dialect: Dialect) -> str:
    """The database by OpenTelemetry's name of it."""
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    return _SYSTEMS.get(name) or (name if name in _KNOWN else "other_sql")


class _Observed:
    """One engine: what it is called in signals, and its statements' metrics and spans."""

    def __init__(self, engine: Engine) -> None:
        url = engine.url
        self.system = system_name(engine.dialect)
        # SQLite's database is a path of the machine
        self._namespace = url.database if self.system != "sqlite" else None
        given = {
            "db.namespace": self._namespace,
            "server.address": url.host,
            "server.port": url.port,
        }
        self._attributes = {
            "db.system.name": self.system,
            **{name: value for name, value in given.items() if value},
        }
        self._tracer: trace.Tracer | None = None

    def before(self, *given: Any) -> None:
        """Start the clock and the span of a statement, which is the third argument."""
        with _GUARD:
            statement, context = given[2], given[4]
            name = operation(statement)
            if self._tracer is None:  # only now: the provider may be set after the engine was made
                self._tracer = trace.get_tracer(__name__)
            span = self._tracer.start_span(
                f"{name} {self._namespace}" if self._namespace else name,
                kind=trace.SpanKind.CLIENT,
                attributes={**self._attributes, "db.operation.name": name},
            )
            # one statement runs at a time in a context; an interrupted one leaves nothing behind
            context._plainview = (name, perf_counter(), span)

    def after(self, *given: Any) -> None:
        """Observe a statement that succeeded; the context is the fifth argument."""
        with _GUARD:
            self._end(given[4], None)

    def failed(self, context: ExceptionContext) -> None:
        """Count a statement, or a commit, that failed; a lost connection found in time is none."""
        with _GUARD:
            if context.connection is None or context.is_pre_ping:
                return  # counted where the connection was wanted
            error = context.original_exception
            if isinstance(error, Exception):  # else the caller went away
                kind = error_type(error, disconnected=context.is_disconnect)
                DB_OPERATION_FAILURES.inc(db_system_name=self.system, error_type=kind)
            self._end(context.execution_context, error)

    def _end(self, context: Any, error: BaseException | None) -> None:
        begun = getattr(context, "_plainview", None)
        if begun is None:
            return
        context._plainview = None
        name, start, span = begun
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            if code := response_status(error):
                span.set_attribute("db.response.status_code", code)
            span.set_status(trace.StatusCode.ERROR)
        span.end()
        if error is None or isinstance(error, Exception):
            DB_OPERATION_DURATION.observe(
                perf_counter() - start, db_system_name=self.system, db_operation_name=name
            )

    def no_connection(self, error: Exception) -> None:
        """Count a connection that could not be made or had from the pool."""
        with _GUARD:
            kind = error_type(error, connecting=True)
            DB_OPERATION_FAILURES.inc(db_system_name=self.system, error_type=kind)
            DB_CONNECTION_FAILURES.inc(db_system_name=self.system)


class _Pools:
    """The connections of all observed engines, added up by system; events come in any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # re-entrant: garbage collection may return a connection
        self._engines: dict[int, tuple[str, set[int], set[int], tuple[int, int]]] = {}

    def add(self, engine: Engine, system: str) -> None:
        """Follow the events of this engine's pool; they survive `dispose()`."""
        opened: set[int] = set()  # identities of the pool's records
        used: set[int] = set()
        number = id(engine)
        pool = engine.pool
        kept, most = 0, 0  # 0: there is no bound
        if isinstance(pool, QueuePool):
            kept = pool.size()
            overflow = cast(int, getattr(pool, "_max_overflow", -1))
            most = kept + overflow if overflow >= 0 else 0
        self._engines[number] = (system, opened, used, (kept, most))

        def follow(name: str, record: int, change: Callable[[int], None]) -> None:
            """Call `change` with the record that is the event's argument of this position."""

            def listen(*given: Any) -> None:
                with _GUARD, self._lock:
                    change(id(given[record]))
                    self._show(system)

            event.listen(engine, name, listen)

        def detached(record: int) -> None:
            opened.discard(record)
            used.discard(record)

        follow("connect", 1, opened.add)
        follow("close", 1, opened.discard)
        follow("checkout", 1, used.add)
        follow("checkin", 1, used.discard)
        follow("detach", 1, detached)
        # The new pool knows nothing of the old connections, whether they were closed or, after a
        # fork, left to the parent; those in use count until they are given back.
        follow("engine_disposed", 0, lambda _: opened.clear())
        finalize(engine, self._forget, number, system).atexit = False
        with self._lock:
            self._show(system)

    def _forget(self, number: int, system: str) -> None:
        with _GUARD, self._lock:
            self._engines.pop(number, None)
            self._show(system)

    def _show(self, system: str) -> None:
        mine = [engine for engine in self._engines.values() if engine[0] == system]
        busy = sum(len(used) for _, _, used, _ in mine)
        idle = sum(len(opened - used) for _, opened, used, _ in mine)
        beyond = sum(max(0, len(opened) - kept) for _, opened, _, (kept, _) in mine if kept)
        DB_CONNECTIONS.set(busy, db_system_name=system, state="used")
        DB_CONNECTIONS.set(idle, db_system_name=system, state="idle")
        DB_CONNECTIONS_OVERFLOW.set(beyond, db_system_name=system)
        DB_CONNECTIONS_IDLE_MAX.set(sum(engine[3][0] for engine in mine), db_system_name=system)
        DB_CONNECTIONS_MAX.set(sum(engine[3][1] for engine in mine), db_system_name=system)


_pools = _Pools()
# By dialect, which an engine shares with those that its `execution_options()` gives.
_observed: WeakKeyDictionary[Dialect, _Observed] = WeakKeyDictionary()
_lock = threading.Lock()
_patched = threading.Lock()  # acquired once and for good


def _count_failed_connections() -> None:
    """Wrap the one way to a connection: no event tells that none could be had."""
    if not _patched.acquire(blocking=False):
        return
    original = Engine.raw_connection

    @wraps(original)
    def raw_connection(self: Engine) -> Any:
        try:
            return original(self)
        except Exception as error:
            if (observed := _observed.get(self.dialect)) is not None:
                observed.no_connection(error)
            raise

    Engine.raw_connection = raw_connection  # type: ignore[method-assign]


def instrument(given: object) -> None:
    """Instrument one engine; a second call changes nothing. TypeError if it is no engine."""
    engine: Any = getattr(given, "sync_engine", given)  # of an AsyncEngine
    if not isinstance(engine, Engine):
        raise TypeError(f"needs an Engine or AsyncEngine of SQLAlchemy, not {type(given)}")
    while (parent := getattr(engine, "_proxied", None)) is not None:  # of `execution_options()`
        engine = parent
    with _lock:
        if engine.dialect in _observed:
            return
        observed = _observed[engine.dialect] = _Observed(engine)
    start_at_zero(observed.system)
    event.listen(engine, "before_cursor_execute", observed.before)
    event.listen(engine, "after_cursor_execute", observed.after)
    event.listen(engine, "handle_error", observed.failed)
    _pools.add(engine, observed.system)
    _count_failed_connections()
