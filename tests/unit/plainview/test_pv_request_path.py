"""One record per request: line, metric and span agree, whatever the application is made of."""

import asyncio
import contextlib
from contextlib import contextmanager

import fastapi.routing
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Route
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketDisconnect

from plainview import ObservabilitySettings, configure_logging, get_logger, observe, tracing
from plainview.otel_environment import propagate
from plainview.testing import captured_logs, captured_spans, metric_delta
from tests.support.in_process import client_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
WAYS = ("plainview", "stock")
# since 0.137 or so FastAPI includes a router as it is, before it copied the routes of the moment
LIVE_ROUTERS = hasattr(fastapi.routing, "iter_route_contexts")


def settings(**values):
    return ObservabilitySettings(**{"service_name": "path", **values})


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    # the process has one provider, perhaps that of another test with a decision of its own
    monkeypatch.setattr(tracing.install(settings()), "sampler", tracing._sampler(settings()))
    yield
    configure_logging(settings())


async def plain(request):
    return PlainTextResponse("hello")


def make_app(static):
    """An application of many kinds of routes."""
    app, router, inner, sub = FastAPI(), APIRouter(prefix="/r"), APIRouter(prefix="/in"), FastAPI()

    @app.get("/own/{i}")
    async def own(i: int):
        get_logger().info("inside")
        return i

    @inner.get("/{i}")
    async def included(i: str):
        return i

    @sub.get("/items/{i}")
    async def item(i: str):
        return i

    @sub.get("/broken")
    async def sub_broken():
        raise RuntimeError("in the mounted app")

    @app.get("/teapot")
    async def teapot():
        raise HTTPException(418)

    @app.get("/unavailable")
    async def unavailable():
        return Response(status_code=503)

    @app.get("/broken")
    async def broken():
        raise RuntimeError("broken")

    @app.get("/stream")
    async def stream():
        async def parts():
            yield "a"
            yield "b"

        return StreamingResponse(parts())

    @app.api_route("/purged", methods=["PURGE"])
    async def purged():
        return "purged"

    router.include_router(inner)
    router.add_route("/raw/{i}", plain)
    router.mount("/deep", Starlette(routes=[Route("/{i}", plain)]))
    app.include_router(router, prefix="/api")
    app.add_route("/raw/{i}", plain)
    app.mount("/tenants/{tenant}", sub)
    app.mount("/starlette", Starlette(routes=[Route("/{i}", plain)]))
    app.mount("/static", StaticFiles(directory=static))
    hosted = FastAPI()
    hosted.add_route("/hosted/{i}", plain)
    hosted.get("/fastapi/{i}")(lambda i: i)
    app.router.routes.append(Host("api.example.org", hosted))
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])
    return app


def series(app_name):
    """`http_requests_total` of an app as (method, path, status) to value, without the zeros."""
    return {
        (s.labels["method"], s.labels["path"], int(s.labels["status_code"])): s.value
        for family in REGISTRY.collect()
        for s in family.samples
        if s.name == "http_requests_total" and s.labels["app_name"] == app_name and s.value
    }


@contextmanager
def signals(app_name):
    """What a block of requests left behind: lines, spans, and series that grew."""
    found, before = {}, series(app_name)
    with captured_logs() as lines, captured_spans() as spans:
        yield found
    found["lines"] = [line for line in lines if line["event"] == "http.request"]
    found["others"] = [line for line in lines if line["event"] != "http.request"]
    found["spans"] = [span for span in spans if span.kind == "server"]
    after = series(app_name)
    found["series"] = {k: n - before.get(k, 0) for k, n in after.items() if n > before.get(k, 0)}


PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
HOST = {"Host": "api.example.org"}
REQUESTS = [
    ("GET", "/own/1", {}, "/own/{i}", 200),
    ("GET", "/own/x", {}, "/own/{i}", 422),
    ("GET", "/own/1/", {}, None, 307),
    ("POST", "/own/1", {}, "/own/{i}", 405),
    ("GET", "/api/r/in/1", {}, "/api/r/in/{i}", 200),
    ("GET", "/api/raw/1", {}, "/api/raw/{i}", 200),
    ("GET", "/raw/1", {}, "/raw/{i}", 200),
    ("GET", "/tenants/acme/items/1", {}, "/tenants/{tenant}/items/{i}", 200),
    ("GET", "/tenants/acme/docs", {}, "/tenants/{tenant}/docs", 200),
    ("GET", "/tenants/acme/broken", {}, "/tenants/{tenant}/broken", 500),
    ("GET", "/tenants/acme/none", {}, None, 404),
    ("GET", "/starlette/1", {}, "/starlette/{i}", 200),
    ("GET", "/starlette/1/2", {}, None, 404),
    ("GET", "/static/a.txt", {}, "/static/{path}", 200),
    ("GET", "/static/none", {}, "/static/{path}", 404),
    ("GET", "/hosted/1", HOST, "/hosted/{i}", 200),
    ("GET", "/fastapi/1", HOST, "/fastapi/{i}", 200),
    ("GET", "/docs", {}, "/docs", 200),
    ("GET", "/openapi.json", {}, "/openapi.json", 200),
    ("OPTIONS", "/own/1", PREFLIGHT, None, 200),
    ("GET", "/teapot", {}, "/teapot", 418),
    ("GET", "/unavailable", {}, "/unavailable", 503),
    ("GET", "/broken", {}, "/broken", 500),
    ("GET", "/stream", {}, "/stream", 200),
    ("GET", "/scan.php", {}, None, 404),
    ("PURGE", "/purged", {}, "/purged", 200),
    ("PURGE", "/own/1", {}, None, 405),
    ("FOO", "/nowhere", {}, None, 404),
]
if LIVE_ROUTERS:
    REQUESTS.append(("GET", "/api/deep/1", {}, "/api/deep/{i}", 200))


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "with a BaseHTTPMiddleware"])
async def test_line_metric_and_span_agree(tmp_path, wrapped):
    (tmp_path / "a.txt").write_text("a")
    app = make_app(tmp_path)

    async def passing(request, call_next):
        return await call_next(request)

    if wrapped:
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    observe(app, settings(service_name=f"matrix-{wrapped}"))
    async with client_of(app) as client:
        for method, path, headers, route, status in REQUESTS:
            what = f"{method} {path}"
            with signals(f"matrix-{wrapped}") as found:
                reply = await client.request(method, path, headers=headers)
            label = method if method in ("GET", "POST", "OPTIONS") else "_OTHER"
            assert reply.status_code == status, what
            assert found["series"] == {(label, route or "__unknown__", status): 1}, what
            (line,), (span,) = found["lines"], found["spans"]
            assert line["http_request_method"] == label, what
            assert line["http_route"] == (route or "__unknown__"), what
            assert line["http_response_status_code"] == status, what
            assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id), what
            assert line["request_id"] == reply.headers["X-Request-ID"], what
            assert span.attributes["request_id"] == line["request_id"], what
            assert span.attributes["http.request.method"] == label, what
            assert span.attributes.get("http.route") == route, what
            assert span.attributes["http.response.status_code"] == status, what
            word = "HTTP" if label == "_OTHER" else label
            assert span.name == (f"{word} {route}" if route else word), what
            assert span.status == ("error" if status >= 500 else "unset"), what
            failures = [line["event"] for line in found["others"] if "exception_type" in line]
            raised = path.endswith("broken")
            assert failures == (["http.request.failed"] if raised else []), what
            assert {line["trace_id"] for line in found["others"]} <= {span.trace_id}, what


async def test_routes_that_are_added_later_are_found():
    app, router = FastAPI(), APIRouter(prefix="/later")
    router.get("/first")(lambda: 1)
    app.include_router(router)
    observe(app, settings(service_name="later"))
    async with client_of(app) as client:
        await client.get("/openapi.json")
        (router if LIVE_ROUTERS else app).add_route("/raw/{i}", plain)
        app.mount("/sub", Starlette(routes=[Route("/{i}", plain)]))
        app.add_route("/own/{i}", plain)
        with signals("later") as found:
            for path in ("/raw/1", "/sub/1", "/own/1"):
                assert (await client.get(path)).status_code == 200
    routes = [line["http_route"] for line in found["lines"]]
    assert routes == ["/raw/{i}", "/sub/{i}", "/own/{i}"]


async def test_one_endpoint_at_several_paths():
    app = FastAPI()
    app.add_route("/a/{i}", plain)
    app.add_route("/b/{i}", plain)
    observe(app, settings(service_name="several"))
    async with client_of(app) as client:
        with signals("several") as found:
            for path in ("/b/1", "/a/1"):
                await client.get(path)
    assert [line["http_route"] for line in found["lines"]] == ["/b/{i}", "/a/{i}"]


@pytest.mark.parametrize("root_path", ["/svc", "/svc/"])
async def test_a_root_path_of_the_server_changes_no_route(tmp_path, root_path):
    app = make_app(tmp_path)
    observe(app, settings(service_name="rooted"))
    async with client_of(app, root_path=root_path.rstrip("/")) as client:
        with signals("rooted") as found:
            for path in ("/svc/own/1", "/svc/tenants/a/items/1", "/own/1"):
                assert (await client.get(path)).status_code == 200
            assert (await client.get("/svc/health/live")).status_code == 200
    wanted = ["/own/{i}", "/tenants/{tenant}/items/{i}", "/own/{i}"]
    assert [line["http_route"] for line in found["lines"]] == wanted


async def test_an_observed_app_inside_of_another_is_one_request():
    outer, inner = FastAPI(), FastAPI()
    inner.get("/items/{i}")(lambda i: i)
    observe(inner, settings(service_name="inner"))
    outer.mount("/sub", inner)
    observe(outer, settings(service_name="outer"))
    async with client_of(outer) as client:
        with signals("outer") as found:
            reply = await client.get("/sub/items/1")
            assert (await client.get("/sub/health/live")).status_code == 200
    assert [line["http_route"] for line in found["lines"]] == ["/sub/items/{i}"]
    assert found["lines"][0]["request_id"] == reply.headers["X-Request-ID"]
    assert len(found["spans"]) == 1
    assert ("GET", "/sub/items/{i}", 200) not in series("inner")


async def test_what_was_sent_counts_not_what_failed_afterwards():
    app = FastAPI()

    @app.get("/background")
    async def background(tasks: BackgroundTasks):
        async def fail():
            raise LookupError("late")

        tasks.add_task(fail)
        return 1

    @app.get("/midstream")
    async def midstream():
        async def parts():
            yield "a"
            raise LookupError("in the middle")

        return StreamingResponse(parts())

    observe(app, settings(service_name="late"))
    async with client_of(app) as client:
        with (
            signals("late") as found,
            metric_delta("http_late_failures_total", phase="background", path="/background") as one,
            metric_delta("http_late_failures_total", phase="body", path="/midstream") as other,
            metric_delta("http_late_failures_total") as both,
        ):
            assert (await client.get("/background")).status_code == 200
            await client.get("/midstream")
    assert (one.value, other.value, both.value) == (1, 1, 2)
    assert found["series"] == {("GET", "/background", 200): 1, ("GET", "/midstream", 200): 1}
    assert [line["http_response_status_code"] for line in found["lines"]] == [200, 200]
    assert [line.get("error_type") for line in found["lines"]] == [None, "LookupError"]
    assert [span.status for span in found["spans"]] == ["unset", "error"]
    assert [line["event"] for line in found["others"]] == ["http.request.failed"] * 2


async def test_a_client_that_left_has_line_metric_and_trace():
    app, entered = FastAPI(), asyncio.Event()

    @app.get("/slow")
    async def slow():
        entered.set()
        await asyncio.sleep(60)

    observe(app, settings(service_name="gone"))
    async with client_of(app) as client:
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
    observe(app, settings(service_name="rebuilt"))
    async with client_of(app) as client:
        with signals("rebuilt") as found:
            await client.get("/a")
            app.middleware_stack = None
            await client.get("/a")
    assert found["series"] == {("GET", "/a", 200): 2}
    assert len(found["lines"]) == len(found["spans"]) == 2


# --- WebSockets ---


def test_a_websocket_has_one_line_one_span_and_its_metrics():
    app, sub = FastAPI(), APIRouter(prefix="/chat")

    @sub.websocket("/{room}")
    async def room(socket: WebSocket, room: str):
        await socket.accept()
        get_logger().info("joined")
        if await socket.receive_text() == "fail":
            raise LookupError("password=hunter2")
        await socket.close(4001)

    app.include_router(sub, prefix="/api")
    observe(app, settings(service_name="sockets"))
    name, route = "websocket_connections_closed_total", "/api/chat/{room}"

    def counted(code):
        return metric_delta(name, path=route, close_code=code, app_name="sockets")

    def talk(client, text=None, **headers):
        with client.websocket_connect("/api/chat/a", headers=headers) as socket:
            if text is None:
                socket.close(1001)
                return None, still_open.value
            socket.send_text(text)
            said = socket.receive()
            return dict(socket.extra_headers or ()), said["code"]

    traced = {"X-Request-ID": "socket-1", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    with (
        TestClient(app) as client,
        signals("sockets") as found,
        counted(4001) as own,
        counted(1001) as gone,
        counted(1011) as failed,
        metric_delta("websocket_connections", app_name="sockets") as still_open,
    ):
        accepted, code = talk(client, "bye", **traced)
        assert code == 4001
        with pytest.raises(WebSocketDisconnect):
            talk(client)
        with pytest.raises(LookupError):
            talk(client, "fail")
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/nowhere"):
            pass
    assert accepted[b"x-request-id"] == b"socket-1"
    assert (own.value, gone.value, failed.value, still_open.value) == (1, 1, 1, 0)
    closed = [line for line in found["others"] if line["event"] == "websocket.closed"]
    codes = [line.get("websocket_close_code") for line in closed]
    assert codes == [4001, 1001, 1011, None]
    assert [line["http_route"] for line in closed] == [route, route, route, "__unknown__"]
    assert [line["http_response_status_code"] for line in closed] == [101, 101, 101, 403]
    assert [span.name for span in found["spans"]] == [f"WS {route}"] * 3 + ["WS"]
    assert [span.status for span in found["spans"]] == ["unset", "unset", "error", "unset"]
    for line, span in zip(closed, found["spans"], strict=True):
        assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
        assert line["request_id"] == span.attributes["request_id"]
    assert closed[0]["trace_id"] == TRACE
    mine = [line for line in found["others"] if line.get("request_id") == "socket-1"]
    assert {line["trace_id"] for line in mine} == {TRACE}
    (failure,) = [line for line in found["others"] if line["event"] == "http.request.failed"]
    assert failure["request_id"] == closed[2]["request_id"]
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("word", ["bye", "fail"])
def test_a_websocket_of_the_stock_way_has_its_trace_too(word):
    app = FastAPI()

    @app.websocket("/chat")
    async def chat(socket: WebSocket):
        await socket.accept()
        if await socket.receive_text() == "fail":
            raise LookupError("failed")
        await socket.close()

    observe(app, settings(service_name="stock-sockets", spans_by="stock"))
    with (
        signals("stock-sockets") as found,
        contextlib.suppress(LookupError),
        TestClient(app) as client,
        client.websocket_connect("/chat") as socket,
    ):
        socket.send_text(word)
        socket.receive()
    (span,) = found["spans"]
    lines = [line for line in found["others"] if line.get("request_id")]
    events = ["websocket.closed", *(["http.request.failed"] if word == "fail" else [])]
    assert [line["event"] for line in lines] == events
    assert {line.get("trace_id") for line in lines} == {span.trace_id}


# --- sampling ---


def forwarding():
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

    return app


async def test_an_unsampled_request_has_a_trace_and_says_so_to_others():
    app = forwarding()
    observe(app, settings(service_name="unsampled-path"))
    async with client_of(app) as client:
        with signals("unsampled-path") as found:
            headers = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
            reply = await client.get("/status/200", headers=headers)
    assert found["spans"] == []
    (line,) = found["lines"]
    assert reply.text == f"00-{TRACE}-{line['span_id']}-00"
    assert {line["trace_id"] for line in found["lines"] + found["others"]} == {TRACE}


@pytest.mark.parametrize(("path", "status"), [("/status/503", 503), ("/raises", 500)])
async def test_a_server_span_that_ends_in_5xx_is_exported_though_not_chosen(path, status):
    app = forwarding()
    observe(app, settings(service_name="failing-path"))
    async with client_of(app) as client:
        with signals("failing-path") as found:
            headers = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
            assert (await client.get(path, headers=headers)).status_code == status
            await client.get("/status/404", headers=headers)
    (span,) = found["spans"]
    assert (span.trace_id, span.parent_id, span.status) == (TRACE, SPAN, "error")
    assert span.span_id == found["lines"][0]["span_id"]
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["error.type"] == str(status)
    assert span.duration_s >= 0
    if path == "/raises":
        ((name, attributes),) = span.events
        assert (name, attributes["exception.type"]) == ("exception", "LookupError")
        assert "hunter2" not in repr(span)


async def test_the_sampler_is_asked_before_attributes_are_made(monkeypatch):
    app = forwarding()
    observe(app, settings(service_name="asked"))

    def unasked(self, record, scope):
        raise AssertionError("attributes of a span that is not sampled")

    monkeypatch.setattr("plainview.server_spans.ServerSpans._attributes", unasked)
    async with client_of(app) as client:
        reply = await client.get("/status/200", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert reply.status_code == 200


# --- the two ways ---

ORDINARY = [
    ("GET", "/own/1", {}),
    ("GET", "/own/x", {}),
    ("GET", "/api/r/in/1", {"traceparent": f"00-{TRACE}-{SPAN}-01"}),
    ("GET", "/api/r/in/1?q=secret", {"User-Agent": "secret"}),
    ("GET", "/teapot", {}),
    ("GET", "/unavailable", {}),
    ("GET", "/broken", {}),
    ("GET", "/stream", {}),
    ("GET", "/scan.php", {}),
]
# The stock way writes host and port into the address. What it counts of a 405 has no route.
DIFFERENT = {"server.address", "request_id"}


async def test_both_ways_give_equal_spans_and_series_on_ordinary_routes(tmp_path):
    seen = {}
    for way in WAYS:
        app = make_app(tmp_path)
        name = f"way-{way}"
        observe(app, settings(service_name=name, spans_by=way, metrics_by=way))
        async with client_of(app) as client:
            with signals(name) as found:
                for method, path, headers in ORDINARY:
                    await client.request(method, path, headers=headers)
        spans = [
            (
                *(span.name, span.kind, span.status, span.status_description),
                span.parent_id,
                {k: v for k, v in span.attributes.items() if k not in DIFFERENT},
                [(event, attributes["exception.type"]) for event, attributes in span.events],
            )
            for span in found["spans"]
        ]
        durations = sorted(
            (
                *(s.labels[n] for n in ("method", "path", "status_code")),
                s.labels.get("le", ""),
                s.name,
            )
            for family in REGISTRY.collect()
            for s in family.samples
            if s.name.startswith("http_request_duration_seconds") and s.labels["app_name"] == name
        )
        lines = [
            {k: line[k] for k in ("http_request_method", "http_route", "http_response_status_code")}
            for line in found["lines"]
        ]
        seen[way] = spans, found["series"], lines, {d for d in durations if "_OTHER" not in d}
    own, stock = (seen[way] for way in WAYS)
    for mine, theirs in zip(own[0], stock[0], strict=True):
        assert mine == theirs
    assert own[1] == stock[1]
    assert own[2] == stock[2]
    unused = {("POST", "__unknown__", "404")}  # made beforehand, so that a scan adds no series
    assert {d for d in own[3] if d[:3] not in unused} == stock[3]


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_alone(tmp_path, way):
    other = WAYS[1 - WAYS.index(way)]
    app = make_app(tmp_path)
    observe(app, settings(service_name=f"alone-{way}", spans_by=way, metrics_by=other))
    async with client_of(app) as client:
        with signals(f"alone-{way}") as found:
            assert (await client.get("/own/1")).status_code == 200
            assert (await client.request("PURGE", "/own/1")).status_code == 405
            page = await client.get(
                "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
            )
    assert len(found["spans"]) == 2
    assert found["series"]["GET", "/own/{i}", 200] == 1
    assert f'trace_id="{found["spans"][0].trace_id}"' in page.text
