"""`observe()` on real FastAPI apps: each part, alone and together."""

import signal
import warnings
from contextlib import asynccontextmanager

import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse

from plainview import (
    Catalogue,
    Check,
    ObservabilitySettings,
    bind_user,
    get_logger,
    logs,
    observe,
    tracing,
    user_pseudonym,
)
from plainview.decode import parse_metrics
from plainview.signals import HTTP_REQUESTS
from plainview.testing import captured_logs, captured_spans, metric_delta
from tests.support.in_process import client_of
from tests.support.waiting import soon

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}
PARTS = ("logs", "metrics", "http_metrics", "health", "traces", "access_log", "exemplars")
NOTHING = dict.fromkeys(PARTS, False)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def make_app():
    app, items = FastAPI(), APIRouter(prefix="/items")

    @items.get("/{item}")
    async def item(item: str):
        get_logger().info("item.seen", item=item)
        bind_user("user-1")
        return item

    version = APIRouter()
    version.include_router(items, prefix="/v1")
    app.include_router(version, prefix="/api")
    return app


def settings(**values):
    return ObservabilitySettings(**{"service_name": "test", **values})


async def test_the_user_is_in_further_lines_and_the_exemplar_has_the_trace():
    app = make_app()
    observe(app, settings(service_name="joined"))
    with captured_logs() as lines, captured_spans() as spans:
        async with client_of(app) as client:
            headers = {"traceparent": f"00-{TRACE}-{'1' * 16}-01"}
            labels = {"method": "GET", "path": "/api/v1/items/{item}", "status_code": 200}
            with (
                metric_delta("http_requests_total", app_name="joined", **labels) as named,
                metric_delta(HTTP_REQUESTS, app_name="joined", **labels) as declared,
            ):
                await client.get("/api/v1/items/7", headers=headers)
            page = (await client.get("/metrics", headers=OPENMETRICS)).text
    assert (named.value, declared.value) == (1, 1)
    own, access = lines
    assert (own["event"], access["event"]) == ("item.seen", "http.request")
    assert access["user_id"] == user_pseudonym("user-1")
    (server,) = spans
    assert server.trace_id == own["trace_id"] == TRACE
    assert "size_bytes" not in page  # unasked
    mine = [s.exemplar for s in parse_metrics(page) if s.labels.get("app_name") == "joined"]
    assert {"trace_id": TRACE, "span_id": server.span_id} in mine


async def test_unsampled_spans_give_no_exemplar():
    app = make_app()
    observe(app, settings(service_name="unsampled"))
    async with client_of(app) as client:
        await client.get("/api/v1/items/7", headers={"traceparent": f"00-{TRACE}-{'1' * 16}-00"})
        page = (await client.get("/metrics", headers=OPENMETRICS)).text
    mine = [s for s in parse_metrics(page) if s.labels.get("app_name") == "unsampled" and s.value]
    assert mine
    assert not [sample for sample in mine if sample.exemplar]


async def test_unknown_paths_and_methods_share_series_that_exist_from_the_start():
    app = make_app()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observe(app, settings(service_name="scanned"))
        async with client_of(app) as client:
            await client.get("/api/v1/items/1")
            before = parse_metrics((await client.get("/metrics")).text)
            for number in range(20):
                assert (await client.get(f"/x{number}")).status_code == 404
                reply = await client.request(f"M{number}", "/api/v1/items/1")
                assert reply.status_code == 405
            after = parse_metrics((await client.get("/metrics")).text)
    assert len(after) == len(before)
    counts = {
        (s.labels["method"], s.labels["path"]): s.value
        for s in after
        if s.name == "http_requests_total" and s.labels["app_name"] == "scanned"
    }
    assert counts["GET", "__unknown__"] == counts["_OTHER", "__unknown__"] == 20


async def test_probes_and_metrics_leave_no_line_span_or_series():
    app = make_app()
    observe(app, settings(service_name="probed"))
    with captured_logs() as lines, captured_spans() as spans:
        async with client_of(app) as client:
            for path in ("/health/live", "/health/ready", "/health/startup", "/metrics"):
                reply = await client.get(path)
                assert reply.status_code == 200
                assert reply.headers["X-Request-ID"]
            page = (await client.get("/metrics")).text
    mine = [s for s in parse_metrics(page) if s.labels.get("app_name") == "probed" and s.value]
    assert (lines, spans, mine) == ([], [], [])


async def test_readiness_follows_checks_and_draining():
    app, up = make_app(), True

    async def ping():
        if not up:
            raise ConnectionError

    checks = {"cache": Check(ping, component_type="cache")}
    observability = observe(app, settings(check_interval_s=0.02), checks=lambda: checks)
    assert app.state.observability is observability

    async def becomes(status, client):
        async def reply():
            got = await client.get("/health/ready")
            return got if got.status_code == status else None

        return await soon(reply)

    with captured_logs() as lines:
        async with client_of(app) as client:
            reply = await becomes(200, client)
            assert reply.headers["content-type"] == "application/health+json"
            up = False
            reply = await becomes(503, client)
            (detail,) = reply.json()["checks"]["cache"]
            assert (detail["status"], detail["output"]) == ("fail", "refused")
            assert detail["componentType"] == "cache"
            up = True
            await becomes(200, client)
            observability.start_draining()
            assert (await client.get("/health/ready")).json()["output"] == "draining"
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/api/v1/items/1")).status_code == 200
            assert "\nservice_ready 0.0\n" in (await client.get("/metrics")).text
    failed, recovered = [line for line in lines if "dependency" in line]
    assert (failed["event"], failed["level"]) == ("dependency.failed", "error")
    assert (failed["component"], failed["reason"]) == ("cache", "refused")
    assert (recovered["event"], recovered["level"]) == ("dependency.recovered", "info")


async def test_strangers_find_no_metrics_and_no_health():
    app = make_app()
    observe(app, settings(allow="127.0.0.0/8"))
    async with client_of(app, client=("192.0.2.7", 1)) as client:
        for path in ("/metrics", "/health/live", "/health/ready"):
            reply = await client.get(path)
            assert reply.status_code == 404
            assert reply.json() == (await client.get("/really/unknown")).json()


@pytest.mark.parametrize("part", [None, *PARTS])
async def test_each_part_works_alone(part):
    app = make_app()
    own = Catalogue(f"alone-{part}")
    own.counter(f"alone_{part}_total".lower(), "x")
    wanted = {**NOTHING, **({part: True} if part else {})}
    observe(app, settings(service_name=f"alone-{part}", **wanted), catalogue=own)
    async with client_of(app) as client:
        reply = await client.get("/api/v1/items/1", headers={"X-Request-ID": "alone-part"})
        assert (reply.status_code, reply.headers["X-Request-ID"]) == (200, "alone-part")
        page = await client.get("/metrics")
        assert page.status_code == (200 if part == "metrics" else 404)
        assert (f"alone_{part}_total" in page.text) is (part == "metrics")
        assert f'app_name="alone-{part}"' not in page.text
        ready = await client.get("/health/ready")
        assert ready.status_code == (200 if part == "health" else 404)


async def test_a_signal_is_listened_to_if_asked_for():
    before, handlers = signal.getsignal(signal.SIGUSR1), []
    try:
        for asked in (False, True):
            app = make_app()
            observe(app, settings(debug_signal=asked))
            async with client_of(app):
                handlers.append(signal.getsignal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [handler is before for handler in handlers] == [True, False]


async def test_twice_or_too_late_is_an_error():
    app = make_app()
    observe(app, settings(**NOTHING))
    with pytest.raises(RuntimeError, match="called twice"):
        observe(app, settings())
    late = FastAPI()
    async with client_of(late) as client:
        await client.get("/")
    with pytest.raises(RuntimeError, match="before the first request"):
        observe(late, settings())


async def test_several_apps_in_one_process_and_the_lifespan_of_the_application():
    events = []

    @asynccontextmanager
    async def lifespan(app):
        events.append("start")
        app.state.pings = True
        yield {"shared": 1}
        events.append("stop")

    first, second = FastAPI(lifespan=lifespan), make_app()
    observe(first, settings(service_name="first"), checks=lambda: app_checks(first))
    observe(second, settings(service_name="second"))
    async with first.router.lifespan_context(first) as state, client_of(second) as client:
        assert state == {"shared": 1}
        assert (await client.get("/api/v1/items/1")).status_code == 200
        page = (await client.get("/metrics")).text
    assert events == ["start", "stop"]
    assert 'app_name="second"' in page


def app_checks(app):
    assert app.state.pings  # made by the lifespan, before the checks are asked for
    return {}


async def test_middleware_added_after_observe_is_measured():
    app = make_app()
    observe(app, settings(service_name="wrapped"))

    async def refuse(request, call_next):
        return JSONResponse({}, 418)

    app.add_middleware(BaseHTTPMiddleware, dispatch=refuse)
    async with client_of(app) as client:
        labels = {"app_name": "wrapped", "status_code": 418}
        async with metric_delta("http_requests_total", **labels) as count:
            assert (await client.get("/api/v1/items/1")).status_code == 418
            assert (await client.get("/health/live")).status_code == 200
    assert count.value == 1


async def test_what_waits_is_flushed_when_the_last_app_ends_or_fails_to_start(monkeypatch):
    flushed = []
    monkeypatch.setattr(logs, "flush_logs", flushed.append)
    monkeypatch.setattr(tracing, "shutdown", flushed.append)

    @asynccontextmanager
    async def lifespan(app):
        raise ConnectionError
        yield

    broken, first, second = FastAPI(lifespan=lifespan), make_app(), make_app()
    for app in (broken, first, second):
        observe(app, settings(shutdown_timeout_s=3))
    with pytest.raises(ConnectionError):
        async with broken.router.lifespan_context(broken):
            pass
    assert flushed == [3, 3]
    async with first.router.lifespan_context(first):
        async with second.router.lifespan_context(second):
            pass
        assert flushed == [3, 3]
    assert flushed == [3, 3, 3, 3]
