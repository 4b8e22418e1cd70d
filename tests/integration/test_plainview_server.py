"""The library under a real uvicorn: what strangers can add, and probes while a dependency hangs."""

import asyncio
import http.client
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from plainview import Check, ObservabilitySettings, configure_logging, observe
from tests.support.servers import free_port
from tests.support.waiting import until


@contextmanager
def serving(app: FastAPI, **options) -> Iterator[str]:
    """The app on a port of its own, in a thread."""
    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, what="uvicorn")
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(autouse=True)
def quiet():
    yield
    configure_logging(ObservabilitySettings(service_name="test"))
    logging.getLogger("uvicorn.error").filters.clear()


def make_app(name: str, **values) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    checks = values.pop("checks", dict)
    settings = ObservabilitySettings(service_name=name, **values)
    observe(app, settings, checks=checks)
    return app


def test_ten_thousand_paths_and_a_thousand_methods_add_at_most_20_series():
    app = make_app("flooded", logs=False, traces=False)
    with serving(app, http="h11") as address:  # httptools refuses unknown methods by itself
        client = http.client.HTTPConnection(address)

        def ask(method: str, path: str) -> tuple[int, bytes]:
            client.request(method, path)
            reply = client.getresponse()
            return reply.status, reply.read()

        def series() -> int:
            lines = ask("GET", "/metrics")[1].splitlines()
            return sum(not line.startswith(b"#") for line in lines)

        assert ask("GET", "/items/1")[0] == 200
        before = series()
        assert {ask("GET", f"/{n}/unknown?{n}")[0] for n in range(10_000)} == {404}
        assert {ask(f"METHOD{n}", "/items/1")[0] for n in range(1_000)} == {405}
        assert series() - before <= 20


def test_probes_answer_while_a_dependency_hangs():
    state = {"hangs": False}

    async def ping() -> None:
        if state["hangs"]:
            await asyncio.sleep(600)

    app = make_app(
        "hanging", traces=False, check_interval_s=0.1, checks=lambda: {"mongo": Check(ping)}
    )
    with serving(app) as address, httpx.Client(base_url=f"http://{address}") as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        state["hangs"] = True
        took, start = [], time.monotonic()
        while time.monotonic() - start < 3:
            for probe in ("live", "ready", "startup"):
                begin = time.monotonic()
                status = client.get(f"/health/{probe}").status_code
                took.append(time.monotonic() - begin)
                assert probe == "ready" or status == 200
            time.sleep(0.02)
        # what waited for the dependency would be late at every check, 30 times
        assert sorted(took)[-5] < 0.3
        assert client.get("/health/ready").status_code == 503
        state["hangs"] = False
        until(lambda: client.get("/health/ready").status_code == 200)


def test_odd_host_headers_are_no_failures():
    app = make_app("odd", traces=True)
    with serving(app) as address:
        for host in ("a[b", "%00", "x" * 300, "xn--\u00e9".encode().decode("latin-1"), "[::1"):
            client = http.client.HTTPConnection(address)
            client.putrequest("GET", "/items/1", skip_host=True)
            client.putheader("Host", host)
            client.endheaders()
            assert client.getresponse().status in (200, 400), host
            client.close()
