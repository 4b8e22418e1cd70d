"""Instruments for the clients a service talks through; each needs the extra of its name."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, overload

from ..signals import DB_CONNECTION_FAILURES, DB_ERRORS, DB_OPERATION_FAILURES
from ..support import extra

if TYPE_CHECKING:
    import httpx

Client = TypeVar("Client")


def start_at_zero(system: str) -> None:
    """Make a database's series of failures exist, so that the first one is seen as a growth."""
    for kind in DB_ERRORS:
        DB_OPERATION_FAILURES.inc(0, db_system_name=system, error_type=kind)
    DB_CONNECTION_FAILURES.inc(0, db_system_name=system)


def _load(name: str, of: str) -> ModuleType:
    with extra(of):
        return importlib.import_module(f"{__name__}.{name}")


def observe_mongo() -> None:
    """Metrics and spans of each MongoDB client made from now on (PyMongo, sync or async, Motor).

    Spans carry no statements. May be called again. ImportError without `plainview[mongo]`.
    """
    _load("mongo", "mongo").instrument()


@overload
def observe_redis() -> None: ...
@overload
def observe_redis(client: Client) -> Client: ...
def observe_redis(client: Client | None = None) -> Client | None:
    """Metrics and spans of all `redis.asyncio` clients, old and new; returns what it was given.

    Spans carry no arguments. May be called again. ImportError without `plainview[redis]`.
    """
    _load("redis", "redis").instrument()
    return client


@overload
def observe_httpx(given: httpx.AsyncClient, upstream: str) -> httpx.AsyncClient: ...
@overload
def observe_httpx(given: httpx.AsyncBaseTransport, upstream: str) -> httpx.AsyncBaseTransport: ...
def observe_httpx(
    given: httpx.AsyncClient | httpx.AsyncBaseTransport, upstream: str
) -> httpx.AsyncClient | httpx.AsyncBaseTransport:
    """Spans, trace context, `X-Request-ID` and metrics of an async client, whatever its transport.

    Returns the client. A transport may be given instead, which proxies call without a client: then
    returns a transport around it, with the same signals, but that a reply which breaks off is for
    the proxy to count. `upstream` is the label of the metrics:
    one constant per client. ImportError without `plainview[httpx]`, TypeError for a sync client.
    """
    observed: httpx.AsyncClient | httpx.AsyncBaseTransport
    observed = _load("http_transport", "httpx").observe(given, upstream)
    return observed


def observe_sqlalchemy(engine: Client) -> Client:
    """Metrics and spans of an `Engine` or `AsyncEngine` of SQLAlchemy; returns what it was given.

    Spans carry no statements. May be called again, before or after the first connection.
    ImportError without `plainview[sqlalchemy]`, TypeError if it is no engine.
    """
    _load("sqlalchemy", "sqlalchemy").instrument(engine)
    return engine
