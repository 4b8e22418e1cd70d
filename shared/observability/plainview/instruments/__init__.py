"""Instruments for the clients a service talks through; each needs the extra of its name."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, overload

if TYPE_CHECKING:
    import httpx

Client = TypeVar("Client")


def _load(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise ImportError(f"needs plainview[{extra}]: {error}", name=error.name) from error


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


def observe_client(client: httpx.AsyncClient, upstream: str) -> httpx.AsyncClient:
    """Spans, trace context, `X-Request-ID` and metrics of a client, whatever its transport.

    `upstream` is the label of its metrics: one constant per client.
    ImportError without `plainview[httpx]`.
    """
    _load("http_client", "httpx").observe(client, upstream)
    return client


def observe_transport(
    transport: httpx.AsyncBaseTransport, upstream: str
) -> httpx.AsyncBaseTransport:
    """The same signals for a transport that is called without a client, as proxies do.

    Returns a transport around it. ImportError without `plainview[httpx]`.
    """
    around: httpx.AsyncBaseTransport = _load("http_transport", "httpx").ObservedTransport(
        transport, upstream
    )
    return around
