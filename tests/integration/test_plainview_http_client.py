"""Outgoing HTTP over a socket, with httpx's own transport and the aiohttp one."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from httpx_aiohttp import HttpxAiohttpClient
from opentelemetry import trace

from plainview import ObservabilitySettings, observe, observe_httpx, request_context
from plainview.signals import HTTP_CLIENT_DURATION, HTTP_CLIENT_FAILURES
from plainview.testing import captured_spans, metric_delta
from tests.support.gateway_app import served
from tests.support.servers import free_port


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    app = FastAPI()

    @app.get("/echo/{item}")
    async def echo(item: str, request: Request) -> dict[str, str]:
        return dict(request.headers)

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(2)

    observe(app, ObservabilitySettings(service_name="up", metrics=False))
    async with served(app) as url:
        yield url


@pytest.fixture(params=[httpx.AsyncClient, HttpxAiohttpClient])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with request.param(timeout=10) as made:
        yield observe_httpx(made, "up")


async def test_trace_and_request_id_arrive(client: httpx.AsyncClient, upstream: str) -> None:
    labels = {"upstream": "up", "method": "GET", "status_class": "2xx"}
    with (
        captured_spans() as spans,
        metric_delta(HTTP_CLIENT_DURATION, **labels) as requests,
        request_context("request-12345"),
        trace.get_tracer("test").start_as_current_span("work"),
    ):
        headers = (await client.get(f"{upstream}/echo/c4n4ry?q=c4n4ry")).json()
        async with client.stream("GET", f"{upstream}/echo/1") as streamed:
            await streamed.aread()
    assert requests.value == 2
    assert headers["x-request-id"] == "request-12345"
    assert "baggage" not in headers
    server, sent, *_, work = spans
    assert headers["traceparent"].startswith(f"00-{work.trace_id}-{sent.span_id}-")
    assert (sent.name, sent.kind, sent.parent_id) == ("GET", "client", work.span_id)
    assert (server.name, server.parent_id) == ("GET /echo/{item}", sent.span_id)
    assert sent.attributes["http.response.status_code"] == 200
    assert "c4n4ry" not in repr(spans)


async def test_time_outs_and_refusals_are_counted(client: httpx.AsyncClient, upstream: str) -> None:
    timeouts = metric_delta(HTTP_CLIENT_FAILURES, upstream="up", error_type="timeout")
    refusals = metric_delta(HTTP_CLIENT_FAILURES, upstream="up", error_type="connect")
    with timeouts, pytest.raises(httpx.TimeoutException):
        await client.get(f"{upstream}/slow", timeout=0.3)
    with refusals, pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
        await client.get(f"http://127.0.0.1:{free_port()}/")
    assert (timeouts.value, refusals.value) == (1, 1)
