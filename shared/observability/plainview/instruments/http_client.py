"""Outgoing HTTP with httpx clients: spans, trace context, request ID, latency and failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from wrapt import wrap_function_wrapper

from ..context import REQUEST_ID_HEADER, request_id
from ..signals import CLIENT_ERRORS, CLIENT_METHODS, HTTP_CLIENT_DURATION, HTTP_CLIENT_FAILURES
from .http_transport import ObservedTransport, error_type


def observe(
    given: httpx.AsyncClient | httpx.AsyncBaseTransport, upstream: str
) -> httpx.AsyncClient | httpx.AsyncBaseTransport:
    """Instrument one client, or wrap a transport; a second call with it changes nothing."""
    if isinstance(given, ObservedTransport):
        return given
    if isinstance(given, httpx.AsyncBaseTransport):
        return ObservedTransport(given, upstream)
    if not isinstance(given, httpx.AsyncClient):
        raise TypeError(f"needs an httpx.AsyncClient or an async transport, not {type(given)}")
    _instrument(given, upstream)
    return given


def _instrument(client: httpx.AsyncClient, upstream: str) -> None:
    if getattr(client, "_plainview_upstream", None) is not None:
        return
    client._plainview_upstream = upstream  # type: ignore[attr-defined]
    HTTPXClientInstrumentor.instrument_client(client)

    async def identify(request: httpx.Request) -> None:
        if (identity := request_id()) is not None:
            request.headers[REQUEST_ID_HEADER] = identity

    client.event_hooks["request"].append(identify)
    for kind in CLIENT_ERRORS:
        HTTP_CLIENT_FAILURES.inc(0, upstream=upstream, error_type=kind)

    async def send(
        wrapped: Callable[..., Awaitable[httpx.Response]],
        _client: object,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> httpx.Response:
        request: httpx.Request = args[0] if args else options["request"]
        method = request.method if request.method in CLIENT_METHODS else "_other"
        start, status = perf_counter(), "error"
        try:
            response = await wrapped(*args, **options)
            status = f"{response.status_code // 100}xx"
            return response
        except BaseException as error:
            HTTP_CLIENT_FAILURES.inc(upstream=upstream, error_type=error_type(error))
            raise
        finally:
            HTTP_CLIENT_DURATION.observe(
                perf_counter() - start, upstream=upstream, method=method, status_class=status
            )

    wrap_function_wrapper(client, "send", send)
