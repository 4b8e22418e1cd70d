"""SQLAlchemy's signals: SQLite files, sync and async, and PostgreSQL where the machine has it."""

import asyncio
import gc
import logging
import os
import pwd
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from sqlalchemy import Engine, create_engine, event, exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from plainview import (
    ObservabilitySettings,
    get_logger,
    observe,
    observe_sqlalchemy,
)
from plainview.instruments import sqlalchemy as instrument
from plainview.signals import (
    DB_CONNECTION_FAILURES,
    DB_CONNECTIONS,
    DB_CONNECTIONS_IDLE_MAX,
    DB_CONNECTIONS_MAX,
    DB_CONNECTIONS_OVERFLOW,
    DB_OPERATION_DURATION,
    DB_OPERATION_FAILURES,
)
from plainview.testing import captured_logs, captured_spans, metric_delta
from tests.support.in_process import client_of
from tests.support.servers import Server, free_port
from tests.support.waiting import soon

INITDB, POSTGRES = shutil.which("initdb"), shutil.which("postgres")
PASSWORD = "hunter2-c4n4ry"


class PostgreSQL(Server):
    """With a password, which initdb writes into its folder; it refuses to run as root."""

    name = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://shop:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        assert POSTGRES
        quick = ("-c", "fsync=off", "-c", "unix_socket_directories=")
        return [POSTGRES, "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", *quick]

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> Self:
        self.options = {"cwd": self.directory}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self.options |= {"user": nobody.pw_uid, "group": nobody.pw_gid}
        if not self.data.exists():
            assert INITDB
            secret = self.directory / "password"
            secret.write_text(PASSWORD)
            made = ["-A", "scram-sha-256", "-U", "shop", "--pwfile", str(secret), "-N"]
            command = [INITDB, "-D", str(self.data), *made]
            subprocess.run(command, check=True, capture_output=True, timeout=60, **self.options)
        return super().start()


KINDS = ["sqlite", "aiosqlite", *(["asyncpg"] if POSTGRES and INITDB else [])]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest.fixture(params=KINDS)
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Engine | AsyncEngine]:
    file, soon_over = f"{tmp_path}/shop.db", {"timeout": 0.1}
    made: Engine | AsyncEngine
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{file}", connect_args=soon_over)
    elif request.param == "aiosqlite":
        made = create_async_engine(f"sqlite+aiosqlite:///{file}", connect_args=soon_over)
    else:
        made = create_async_engine(request.getfixturevalue("server").url)
    yield observe_sqlalchemy(made)
    await run(made, "DROP TABLE IF EXISTS people")
    await dispose(made)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """An engine that is observed."""
    made = observe_sqlalchemy(create_engine(f"sqlite:///{tmp_path}/x.db"))
    yield made
    made.dispose()


async def run(engine: Engine | AsyncEngine, *statements: str, **parameters: Any) -> None:
    """The statements in one transaction."""
    if isinstance(engine, Engine):
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), parameters)
        return
    async with engine.begin() as asynchronous:
        for statement in statements:
            await asynchronous.execute(text(statement), parameters)


async def dispose(engine: Engine | AsyncEngine) -> None:
    if isinstance(engine, Engine):
        engine.dispose()
    else:
        await engine.dispose()


def no_sqlite_thread() -> bool:
    """aiosqlite's thread of a connection that failed answers to the event loop once more."""
    return not any("_connection_worker_thread" in each.name for each in threading.enumerate())


def done(name: str, **labels: str) -> metric_delta:
    return metric_delta(DB_OPERATION_DURATION, db_operation_name=name, **labels)


def failed(kind: str) -> metric_delta:
    return metric_delta(DB_OPERATION_FAILURES, error_type=kind)


def gauge(metric: Any, **labels: str) -> float:
    family = next(iter(metric.collector.collect()))
    return sum(s.value for s in family.samples if labels.items() <= s.labels.items())


TABLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"
INSERT = "INSERT INTO people (id, name) VALUES (:id, :name)"


async def test_statements_are_counted_once_and_traced_without_text(
    engine: Engine | AsyncEngine,
) -> None:
    observe_sqlalchemy(engine)  # again: nothing is counted twice
    labels = {"db_system_name": engine.dialect.name}
    with (
        captured_spans() as spans,
        done("CREATE", **labels) as created,
        done("INSERT", **labels) as inserted,
        done("SELECT", **labels) as selected,
        metric_delta(DB_OPERATION_FAILURES) as failures,
        trace.get_tracer("test").start_as_current_span("work") as work,
    ):
        await run(engine, TABLE)
        await run(engine, INSERT, id=1, name="c4n4ry")
        await run(engine, "-- c4n4ry\n SELECT * FROM people WHERE name = 'c4n4ry'")
    assert (created.value, inserted.value, selected.value, failures.value) == (1, 1, 1, 0)
    mine = [s for s in spans if s.attributes.get("db.operation.name") in ("INSERT", "SELECT")]
    insert, select = mine[0], mine[-1]
    assert insert.kind == "client"
    assert insert.name.split()[0] == "INSERT"
    assert select.parent_id == format(work.get_span_context().span_id, "016x")
    assert insert.attributes["db.system.name"] == engine.dialect.name
    if engine.dialect.name == "postgresql":
        assert insert.name == "INSERT postgres"
        assert insert.attributes["server.address"] == "127.0.0.1"
    assert "c4n4ry" not in repr(spans)  # neither a value, nor a comment, nor the password


async def test_the_reasons_of_failures(engine: Engine | AsyncEngine) -> None:
    await run(engine, TABLE)
    await run(engine, INSERT, id=1, name="c4n4ry")
    with (
        captured_spans() as spans,
        failed("duplicate_key") as duplicate,
        failed("rejected") as rejected,
        done("INSERT") as inserted,
        trace.get_tracer("test").start_as_current_span("work"),
    ):
        for number, name in ((1, "other"), (2, "c4n4ry")):
            with pytest.raises(exc.IntegrityError):
                await run(engine, INSERT, id=number, name=name)
        with pytest.raises(exc.DBAPIError):
            await run(engine, "SELECT * FROM nothing")
        with pytest.raises(exc.DBAPIError):
            await run(engine, "SELEKT 'c4n4ry'")
    assert (duplicate.value, rejected.value, inserted.value) == (2, 2, 2)
    statements = [span for span in spans if "db.system.name" in span.attributes]
    assert [span.status for span in statements[-4:]] == ["error"] * 4
    assert all(span.attributes["error.type"] for span in statements[-4:])
    assert statements[-1].attributes["db.operation.name"] == "_OTHER"
    assert "c4n4ry" not in repr(spans)
    await run(engine, INSERT, id=2, name="another")  # the engine goes on


async def test_no_line_and_no_span_has_the_values_of_a_statement_that_failed(
    engine: Engine | AsyncEngine,
) -> None:
    private = "c4n4" + "ry"  # in two parts, as stack traces show lines of this file
    await run(engine, TABLE)
    await run(engine, INSERT, id=1, name=private)
    app, log = FastAPI(), get_logger("db")

    async def fail(statement: str = "INSERT INTO nowhere (id, name) VALUES (:id, :name)") -> None:
        await run(engine, statement, id=2, name=private)

    async def caused() -> None:
        try:
            await fail()
        except exc.SQLAlchemyError as error:
            raise ValueError(f"not kept: {error}") from error

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            tasks.create_task(fail(INSERT))

    async def handled() -> None:
        try:
            await fail(INSERT)
        except exc.SQLAlchemyError as error:
            log.exception("handled", error=error, why=str(error), both=[{"error": error}])
            logging.getLogger("shop").exception("not kept: %s", error)
            trace.get_current_span().record_exception(error)
            trace.get_current_span().set_attribute("why", str(error))

    for endpoint in (caused, group, handled):
        app.get(f"/{endpoint.__name__}")(endpoint)
    observe(app, ObservabilitySettings(service_name="shop"))
    with captured_logs() as lines, captured_spans() as spans:
        async with client_of(app) as client:
            for endpoint in (caused, group, handled):
                await client.get(f"/{endpoint.__name__}")
    failed = [line for line in lines if line["event"] == "http.request.failed"]
    assert len(failed) == 2
    assert "nowhere" in failed[0]["exception_message"]  # which table is missing is still told
    assert private not in repr(lines)
    assert private not in repr(spans)
    for part in ("[SQL: ", "[parameters: "):
        assert part not in repr(lines)
    assert len([event for span in spans for event in span.events]) >= 3


async def test_a_statement_that_takes_too_long(
    engine: Engine | AsyncEngine, tmp_path: Path
) -> None:
    await run(engine, TABLE)
    if engine.dialect.name == "postgresql":
        with failed("timeout") as timeouts, pytest.raises(exc.DBAPIError):
            await run(engine, "SET LOCAL statement_timeout = 50", "SELECT pg_sleep(10)")
    else:
        other = create_engine(f"sqlite:///{tmp_path}/shop.db")
        with other.connect() as holds, failed("timeout") as timeouts:
            holds.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(exc.OperationalError):
                await run(engine, INSERT, id=1, name="x")
        other.dispose()
    assert timeouts.value == 1


@pytest.mark.parametrize(
    ("make", "url"),
    [
        (create_engine, "sqlite:////none/x.db"),
        (create_async_engine, "sqlite+aiosqlite:////none/x.db"),
        (create_async_engine, f"postgresql+asyncpg://a:b@127.0.0.1:{free_port()}/x"),
    ],
    ids=["sqlite", "aiosqlite", "asyncpg"],
)
async def test_no_connection(make: Any, url: str) -> None:
    engine = observe_sqlalchemy(make(url))
    with (
        failed("unavailable") as unavailable,
        metric_delta(DB_CONNECTION_FAILURES, db_system_name=engine.dialect.name) as connections,
        metric_delta(DB_OPERATION_DURATION) as operations,
        pytest.raises((exc.DBAPIError, OSError)),
    ):
        await run(engine, "SELECT 1")
    assert (unavailable.value, connections.value, operations.value) == (1, 1, 0)
    await dispose(engine)
    await soon(no_sqlite_thread)


Pool = Callable[[], tuple[float, ...]]


@pytest.fixture
def pool() -> Pool:
    """How many more are used, idle, overflow, kept at most, open at most than at the beginning."""

    def now() -> tuple[float, ...]:
        labels = {"db_system_name": "sqlite"}
        return (
            gauge(DB_CONNECTIONS, **labels, state="used"),
            gauge(DB_CONNECTIONS, **labels, state="idle"),
            gauge(DB_CONNECTIONS_OVERFLOW, **labels),
            gauge(DB_CONNECTIONS_IDLE_MAX, **labels),
            gauge(DB_CONNECTIONS_MAX, **labels),
        )

    gc.collect()
    before = now()
    return lambda: tuple(x - y for x, y in zip(now(), before, strict=True))


async def test_the_pool_is_shown_async(pool: Pool, tmp_path: Path) -> None:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{tmp_path}/x.db", pool_size=1, max_overflow=1, pool_timeout=0.1
    )
    early = await engine.connect()  # made before it is observed
    await early.close()
    observe_sqlalchemy(engine)

    first = await engine.connect()
    assert pool()[0] == 1
    second = await engine.connect()
    assert (pool()[0], *pool()[3:]) == (2, 1, 2)
    with (
        failed("timeout") as timeouts,
        metric_delta(DB_CONNECTION_FAILURES, db_system_name="sqlite") as connections,
        pytest.raises(exc.TimeoutError),
    ):
        await engine.connect()
    assert (timeouts.value, connections.value) == (1, 1)
    for connection in (first, second):
        await connection.close()
    assert pool()[0] == 0
    await engine.dispose()
    assert pool()[:3] == (0, 0, 0)
    async with engine.connect() as one, engine.connect() as two:
        assert pool() == (2, 0, 1, 1, 2)
        assert await two.scalar(text("SELECT 1")) == 1
    assert pool()[:3] == (0, 1, 0)
    await engine.dispose()
    assert pool()[:3] == (0, 0, 0)
    del engine, early, first, second, connection, one, two
    gc.collect()
    assert pool() == (0, 0, 0, 0, 0)


def test_lost_connections_are_not_shown(pool: Pool, sqlite: Engine) -> None:
    bounds = (5, 15)  # by SQLAlchemy's default
    with sqlite.connect() as connection:
        connection.invalidate()
        assert pool() == (0, 0, 0, *bounds)
        connection.execute(text("SELECT 1"))  # connects again
        assert pool() == (1, 0, 0, *bounds)
    assert pool() == (0, 1, 0, *bounds)
    sqlite.dispose(close=False)  # as in a forked process
    assert pool() == (0, 0, 0, *bounds)


def test_connections_without_a_pool_are_shown(pool: Pool, tmp_path: Path) -> None:
    engine = observe_sqlalchemy(create_engine(f"sqlite:///{tmp_path}/x.db", poolclass=NullPool))
    one, none = (1, 0, 0, 0, 0), (0,) * 5  # nothing is kept, and there is no bound to show
    with engine.connect():
        assert pool() == one
    assert pool() == none
    detached = engine.connect()
    detached.detach()
    assert pool() == none
    detached.close()
    with engine.connect():
        engine.dispose()
        assert pool() == one
    assert pool() == none


def test_engines_with_options_are_the_same_engine(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    tenant = observe_sqlalchemy(engine.execution_options(schema_translate_map={None: None}))
    observe_sqlalchemy(engine)
    for each in (engine, tenant, engine.execution_options(echo=False)):
        with done("SELECT") as selected, each.connect() as connection:
            connection.execute(text("SELECT 1"))
        assert selected.value == 1
    engine.dispose()


def test_what_is_no_engine_is_an_error_at_once(sqlite: Engine) -> None:
    with sqlite.connect() as connection:
        for given in (None, "sqlite://", 7, object(), Engine, connection):
            with pytest.raises(TypeError, match="Engine"):
                observe_sqlalchemy(given)


def test_one_that_goes_away_in_the_middle_is_no_failure(sqlite: Engine) -> None:

    def cancel(*_: object) -> None:
        raise asyncio.CancelledError

    event.listen(sqlite, "do_execute", cancel)
    with (
        metric_delta(DB_OPERATION_FAILURES) as failures,
        done("SELECT") as selected,
        captured_spans() as spans,
        trace.get_tracer("test").start_as_current_span("work"),
        pytest.raises(asyncio.CancelledError),
        sqlite.connect() as connection,
    ):
        connection.execute(text("SELECT 1"))
    assert (failures.value, selected.value) == (0, 0)
    assert next(span.attributes["error.type"] for span in spans) == "CancelledError"
    event.remove(sqlite, "do_execute", cancel)
    with done("SELECT") as selected, sqlite.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert selected.value == 1


async def test_an_error_of_the_telemetry_does_not_reach_the_application(
    engine: Engine | AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("telemetry")

    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    monkeypatch.setattr(instrument, "operation", fail)
    monkeypatch.setattr(instrument, "error_type", fail)
    monkeypatch.setattr(instrument._Pools, "_show", fail)
    await run(engine, TABLE)
    await run(engine, INSERT, id=1, name="x")
    with pytest.raises(exc.IntegrityError):
        await run(engine, INSERT, id=1, name="x")
    await dispose(engine)
    await run(engine, "SELECT * FROM people")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("select 1", "SELECT"),
        ("  (SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("/* secret */ -- more\nUPDATE t SET a = 1", "UPDATE"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH"),
        ("secret", "_OTHER"),
        ("", "_OTHER"),
        ("/* never closed", "_OTHER"),
        ("(" * 100_000, "_OTHER"),
        ("/**/" * 100_000 + "1", "_OTHER"),
    ],
)
def test_names_of_statements_hold_no_data(statement: str, name: str) -> None:
    assert instrument.operation(statement) == name
