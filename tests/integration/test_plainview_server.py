"""Pages of the library: on a port of their own, and of a thousand routes."""

import asyncio
import contextlib
import itertools
import socket
import sys
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from plainview import ObservabilitySettings, metrics, observe
from plainview.http_metrics import HttpMetrics, collectors
from plainview.record import Record
from plainview.testing import captured_logs
from tests.support.servers import free_port


def make_app(name: str, **values) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    observe(app, ObservabilitySettings(service_name=name, **values))
    return app


def test_ops_port_serves_pages_alone_and_the_public_one_none():
    port = free_port()
    app = make_app("ops", traces=False, ops_port=port, ops_host="127.0.0.1", allow="127.0.0.1")
    pages = ("/metrics", "/health/live", "/health/ready", "/health/startup")
    with TestClient(app) as public, httpx.Client(base_url=f"http://127.0.0.1:{port}") as ops:
        assert public.get("/items/1").status_code == 200
        for path in pages:
            assert public.get(path).status_code == 404
            assert ops.get(path).status_code == 200
            assert ops.head(path).content == b""
        assert 'path="/items/{item}"' in ops.get("/metrics").text
        openmetrics = ops.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        assert openmetrics.text.endswith("# EOF\n")
        assert ops.get("/items/1").status_code == 404
        assert ops.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404
        assert ops.post("/metrics").status_code == 501
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_an_ops_port_that_is_taken_is_told_and_stops_nothing():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = make_app("ops-taken", traces=False, ops_port=port, ops_host="127.0.0.1")
        with captured_logs() as lines, TestClient(app) as public:
            assert public.get("/items/1").status_code == 200
    (line,) = [line for line in lines if line["event"] == "telemetry.degraded"]
    assert str(port) in line["reason"]


def test_idle_and_slow_clients_do_not_take_the_ops_port():
    port = free_port()
    app = make_app("ops-slow", traces=False, ops_port=port, ops_host="127.0.0.1")
    with TestClient(app), contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).send(b"GET /m")
        assert httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).status_code == 200


def thousand_routes() -> tuple[FastAPI, Callable[[], None]]:
    """An app, and what counts a request of each of a thousand routes."""
    app = make_app("thousand", traces=False, logs=False)
    made, _ = collectors(app.state.observability.settings)
    counted = HttpMetrics(made, "thousand", exemplars=False)

    def count() -> None:
        for number in range(1000):
            record = Record("request-1", None, f"/api/v1/things{number}/{{id}}", status=200)
            counted.begin(record.method)
            counted.end(record, {})

    return app, count


@pytest.mark.skipif("coverage" in sys.modules, reason="noting each line takes CPU time, too")
@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text;version=1.0.0"])
async def test_a_page_of_a_thousand_routes_is_cheap_and_does_not_stop_the_loop(accept, monkeypatch):
    """In CPU time of the thread that makes it, of which the loop's waiting is a part."""
    (app, count), make = thousand_routes(), metrics.page
    clocks, costs, longest = [], [], []

    def page(accept):
        clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        start = time.thread_time()
        made = make(accept)
        costs.append(time.thread_time() - start)
        return made

    monkeypatch.setattr(metrics, "page", page)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for _ in range(3):
            count()  # a series that has not changed would not be written anew
            reply = asyncio.create_task(client.get("/metrics", headers={"Accept": accept}))
            turns, seen = [], len(clocks)
            while not reply.done():
                await asyncio.sleep(0)
                if len(clocks) > seen == len(costs):  # it is at work
                    turns.append(time.clock_gettime(clocks[-1]))
            assert reply.result().text.count('path="/api/v1/things999/{id}"') >= 14
            longest.append(max(b - a for a, b in itertools.pairwise(turns)))
    assert min(costs) <= 0.3
    assert min(longest) <= 0.02
