"""One record per request: line, metric and span agree, whatever the application is made of."""

import asyncio
import contextlib
from contextlib import contextmanager

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from plainview import ObservabilitySettings, get_logger, observe
from plainview import signals as library
from plainview.otel_environment import propagate
from plainview.testing import captured_logs, captured_spans, metric_delta
from tests.support import situations
from tests.support.in_process import client_of
from tests.support.many_routes import LIVE_ROUTERS, SECRET, make_app, plain
from tests.support.situations import Asked
from tests.support.waiting import until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
UNSAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
WAYS = ("plainview", "stock")


def observed(app, name, **values):
    observe(app, ObservabilitySettings(service_name=name, **values))
    return app


def samples():
    return [sample for family in REGISTRY.collect() for sample in family.samples]


def series(app_name):
    """`http_requests_total` of an app as (method, path, status) to value, without the zeros."""
    return {
        (s.labels["method"], s.labels["path"], int(s.labels["status_code"])): s.value
        for s in samples()
        if s.name == "http_requests_total" and s.labels["app_name"] == app_name and s.value
    }


@contextmanager
def signals(app_name):
    """What a block of requests left behind: lines, spans, and series that grew."""
    found, before = {}, series(app_name)
    with captured_logs() as lines, captured_spans() as spans:
        yield found
    found["lines"] = [line for line in lines if line["event"] == "http.request"]
    found["routes"] = [line["http_route"] for line in found["lines"]]
    found["others"] = [line for line in lines if line["event"] != "http.request"]
    found["spans"] = [span for span in spans if span.kind == "server"]
    after = series(app_name)
    found["series"] = {k: n - before.get(k, 0) for k, n in after.items() if n > before.get(k, 0)}


async def asked(app, *paths, headers=None, **transport):
    """What requests of these paths left behind, with their replies."""
    async with client_of(app, **transport) as client:
        with signals(app.state.observability.settings.service_name) as found:
            found["replies"] = [await client.get(path, headers=headers) for path in paths]
    return found


def connected(client, situation, request_id):
    """A connection by starlette's TestClient, which raises what the application does."""
    status, replied = 403, None
    with (
        contextlib.suppress(LookupError, WebSocketDisconnect),
        client.websocket_connect(situation.path, headers={"X-Request-ID": request_id}) as socket,
    ):
        status, replied = 101, dict(socket.extra_headers)[b"x-request-id"].decode()
        if situation.path.endswith("left"):
            socket.close(1001)
            return Asked(situation, request_id, status, replied)
        if situation.path.endswith("fails"):
            socket.send_text("x")
        socket.receive()
    return Asked(situation, request_id, status, replied)


@pytest.mark.parametrize("wrapped", [False, True])
def test_line_metric_and_span_agree(wrapped):
    """The full list; behind servers it is asked in test_plainview_servers.py."""
    app, name = make_app(), f"matrix-{wrapped}"
    lacking = ["leaving"]  # TestClient reads a reply to its end before the caller sees it

    async def passing(request, call_next):
        return await call_next(request)

    if wrapped:
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
        lacking.append("breaking off")  # it ends a reply as if it were whole, raises only then
    observed(app, name)
    before = situations.counts(samples(), name, "twin")
    options = {"raise_server_exceptions": False, "follow_redirects": False}
    with captured_logs() as lines, captured_spans() as spans, TestClient(app, **options) as client:
        asked = [
            (connected if each.method == "WS" else situations.ask)(client, each, f"{name}-{number}")
            for number, each in enumerate(situations.possible(*lacking))
        ]
    counted = situations.counts(samples(), name, "twin") - before
    assert situations.disagreements(asked, lines, spans, counted) == []
    assert SECRET not in repr((lines, spans))


async def test_routes_that_are_added_later_are_found():
    app, router = FastAPI(), APIRouter(prefix="/later")
    router.get("/first")(lambda: 1)
    app.include_router(router)
    await asked(observed(app, "later"), "/openapi.json")
    (router if LIVE_ROUTERS else app).add_route("/raw/{i}", plain)
    app.mount("/sub", Starlette(routes=[Route("/{i}", plain)]))
    app.add_route("/own/{i}", plain)
    found = await asked(app, "/raw/1", "/sub/1", "/own/1")
    assert found["routes"] == ["/raw/{i}", "/sub/{i}", "/own/{i}"]


@pytest.mark.parametrize("root_path", ["/svc", "/svc/"])
async def test_a_root_path_of_the_server_changes_no_route(root_path):
    paths = ("/svc/own/1", "/svc/tenants/a/items/1", "/own/1", "/svc/health/live")
    app = observed(make_app(), "rooted")
    found = await asked(app, *paths, root_path=root_path.rstrip("/"))
    assert {reply.status_code for reply in found["replies"]} == {200}
    assert found["routes"] == ["/own/{i}", "/tenants/{tenant}/items/{i}", "/own/{i}"]


async def test_an_observed_app_inside_of_another_has_its_pages():
    found = await asked(observed(make_app(), "outer"), "/twin/health/live")
    assert ([reply.status_code for reply in found["replies"]], found["lines"]) == ([200], [])


async def test_what_was_sent_counts_not_what_failed_afterwards():
    app = observed(make_app(), "late")
    with (
        metric_delta("http_late_failures_total", phase="background", path="/background") as one,
        metric_delta("http_late_failures_total", phase="body", path="/torn") as other,
        metric_delta("http_late_failures_total") as both,
    ):
        found = await asked(app, "/background", "/torn")
    assert (one.value, other.value, both.value) == (1, 1, 2)
    assert [line.get("error_type") for line in found["lines"]] == [None, "LookupError"]


async def test_a_client_that_left_has_line_metric_and_trace():
    app, entered = FastAPI(), asyncio.Event()

    @app.get("/slow")
    async def slow():
        entered.set()
        await asyncio.sleep(60)

    async with client_of(observed(app, "gone")) as client:
        with signals("gone") as found:
            task = asyncio.create_task(client.get("/slow"))
            await asyncio.wait_for(entered.wait(), 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert found["series"] == {("GET", "/slow", 499): 1}
    (line,), (span,) = found["lines"], found["spans"]
    assert line["http_response_status_code"] == 499
    assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)


async def test_the_stack_may_be_built_again():
    app = FastAPI()
    app.get("/a")(lambda: 1)
    await asked(observed(app, "rebuilt"), "/a")
    app.middleware_stack = None
    found = await asked(app, "/a")
    assert found["series"] == {("GET", "/a", 200): 1}
    assert len(found["lines"]) == len(found["spans"]) == 1


# --- WebSockets; how they end is in the list of situations ---


def test_a_websocket_goes_on_with_the_trace_of_its_client():
    """A client that leaves is no failure, though the application lets what that raises pass."""
    app = FastAPI()

    @app.websocket("/chat/{room}")
    async def room(socket: WebSocket, room: str):
        await socket.accept()
        await socket.receive_text()

    observed(app, "sockets")
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    still_open = metric_delta("websocket_connections", app_name="sockets")
    with TestClient(app) as client, signals("sockets") as found, still_open:
        with (
            contextlib.suppress(WebSocketDisconnect),
            client.websocket_connect("/chat/a", headers=headers) as socket,
        ):
            until(lambda: still_open.value == 1)
            socket.close(1001)
        assert still_open.value == 0
    (line,), (span,) = found["others"], found["spans"]
    assert (line["event"], line["trace_id"]) == ("websocket.closed", TRACE)
    assert (span.name, span.trace_id, span.status) == ("WS /chat/{room}", TRACE, "unset")


def test_each_of_many_routes_has_its_own_series():
    """An open label that bounds the combinations of all may not be one of few values."""
    paths = {f"/{number}" for number in range(30)}
    for path in paths:
        library.HTTP_LATE_FAILURES.inc(path=path, app_name="many", phase="background")
        library.WEBSOCKET_CLOSED.inc(path=path, app_name="many", close_code=1000)
        library.WEBSOCKET_DURATION.observe(1, path=path, app_name="many")
    counted = (library.HTTP_LATE_FAILURES, library.WEBSOCKET_CLOSED, library.WEBSOCKET_DURATION)
    for metric in counted:
        (family,) = metric.collector.collect()
        mine = [s for s in family.samples if s.labels["app_name"] == "many" and s.value == 1]
        assert {sample.labels["path"] for sample in mine} == paths, metric.name


@pytest.mark.parametrize("room", ["closes", "fails"])
def test_a_websocket_of_the_stock_way_has_its_trace_too(room):
    app = observed(make_app(), "stock-sockets", spans_by="stock")
    with (
        signals("stock-sockets") as found,
        contextlib.suppress(LookupError),
        TestClient(app) as client,
        client.websocket_connect(f"/chat/{room}") as socket,
    ):
        socket.send_text("x")
        socket.receive()
    (span,) = found["spans"]
    lines = [line for line in found["others"] if line.get("request_id")]
    failed = ["http.request.failed"] if room == "fails" else []
    assert [line["event"] for line in lines] == ["joined", "websocket.closed", *failed]
    assert {line.get("trace_id") for line in lines} == {span.trace_id}


# --- sampling ---


def forwarding(name):
    app = FastAPI()

    @app.get("/status/{code}")
    async def status(code: int):
        carrier = {}
        propagate.inject(carrier)
        get_logger().info("inside")
        return Response(carrier["traceparent"], status_code=code)

    @app.get("/raises")
    async def raises():
        raise LookupError("password=hunter2")

    return observed(app, name)


async def test_an_unsampled_request_has_a_trace_and_says_so_to_others(monkeypatch):
    def unasked(self, record, scope):
        raise AssertionError("attributes of a span that is not sampled")

    monkeypatch.setattr("plainview.server_spans.ServerSpans._attributes", unasked)
    found = await asked(forwarding("unsampled-path"), "/status/200", headers=UNSAMPLED)
    assert found["spans"] == []
    (line,), (reply,) = found["lines"], found["replies"]
    assert reply.text == f"00-{TRACE}-{line['span_id']}-00"
    assert {line["trace_id"] for line in found["lines"] + found["others"]} == {TRACE}


@pytest.mark.parametrize(("path", "status"), [("/status/503", 503), ("/raises", 500)])
async def test_a_server_span_that_ends_in_5xx_is_exported_though_not_chosen(path, status):
    found = await asked(forwarding("failing-path"), path, "/status/404", headers=UNSAMPLED)
    assert found["replies"][0].status_code == status
    (span,) = found["spans"]
    assert (span.trace_id, span.parent_id, span.status) == (TRACE, SPAN, "error")
    assert span.span_id == found["lines"][0]["span_id"]
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["error.type"] == str(status)
    assert span.duration_s >= 0
    kinds = [(name, attributes["exception.type"]) for name, attributes in span.events]
    assert kinds == ([("exception", "LookupError")] if path == "/raises" else [])
    assert "hunter2" not in repr(span)


# --- the two ways ---

ORDINARY = [
    ("/own/1", {}),
    ("/own/x", {}),
    ("/api/r/in/1", {"traceparent": f"00-{TRACE}-{SPAN}-01"}),
    ("/api/r/in/1?q=secret", {"User-Agent": "secret"}),
    *((path, {}) for path in ("/teapot", "/unavailable", "/broken", "/stream", "/scan.php")),
]
# The stock way writes host and port into the address. What it counts of a 405 has no route.
DIFFERENT = {"server.address", "request_id"}


async def left_by(way):
    """Spans, series, lines and labels of durations after ordinary requests."""
    name = f"way-{way}"
    async with client_of(observed(make_app(), name, spans_by=way, metrics_by=way)) as client:
        with signals(name) as found:
            for path, headers in ORDINARY:
                await client.get(path, headers=headers)
    spans = [
        (
            *(span.name, span.kind, span.status, span.status_description, span.parent_id),
            {k: v for k, v in span.attributes.items() if k not in DIFFERENT},
            [(event, attributes["exception.type"]) for event, attributes in span.events],
        )
        for span in found["spans"]
    ]
    durations = {
        (*(s.labels[n] for n in ("method", "path", "status_code")), s.labels.get("le"), s.name)
        for s in samples()
        if s.name.startswith("http_request_duration_seconds") and s.labels["app_name"] == name
    }
    keys = ("http_request_method", "http_route", "http_response_status_code")
    lines = [[line[key] for key in keys] for line in found["lines"]]
    return spans, found["series"], lines, {d for d in durations if "_OTHER" not in d}


async def test_both_ways_give_equal_spans_and_series_on_ordinary_routes():
    own, stock = [await left_by(way) for way in WAYS]
    for mine, theirs in zip(own[0], stock[0], strict=True):
        assert mine == theirs
    assert own[1:3] == stock[1:3]
    unused = {("POST", "__unknown__", "404")}  # made beforehand, so that a scan adds no series
    assert {d for d in own[3] if d[:3] not in unused} == stock[3]


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_alone(way):
    name, other = f"alone-{way}", WAYS[1 - WAYS.index(way)]
    async with client_of(observed(make_app(), name, spans_by=way, metrics_by=other)) as client:
        with signals(name) as found:
            assert (await client.get("/own/1")).status_code == 200
            assert (await client.request("PURGE", "/own/1")).status_code == 405
            accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
            page = await client.get("/metrics", headers=accept)
    assert len(found["spans"]) == 2
    assert found["series"]["GET", "/own/{i}", 200] == 1
    assert f'trace_id="{found["spans"][0].trace_id}"' in page.text
