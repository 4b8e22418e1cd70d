"""One record per request: line, metric and span agree, whatever the application is made of."""

import asyncio
import contextlib
from contextlib import contextmanager

import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, WebSocket
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from plainview import ObservabilitySettings, configure_logging, get_logger, observe, tracing
from plainview.otel_environment import propagate
from plainview.testing import captured_logs, captured_spans, metric_delta
from tests.support import situations
from tests.support.in_process import client_of
from tests.support.many_routes import LIVE_ROUTERS, SECRET, make_app, plain
from tests.support.situations import Asked

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
WAYS = ("plainview", "stock")


def settings(**values):
    return ObservabilitySettings(**{"service_name": "path", **values})


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    # the process has one provider, perhaps that of another test with a decision of its own
    monkeypatch.setattr(tracing.install(settings()), "sampler", tracing._sampler(settings()))
    yield
    configure_logging(settings())


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


async def in_process(app, name, *middleware):
    async with client_of(app) as client:
        for number, each in enumerate(situations.possible("httpx in process", *middleware)):
            headers = {**each.headers, "X-Request-ID": f"{name}-{number}"}
            reply = await client.request(each.method, each.path, headers=headers)
            replied = reply.headers.get("X-Request-ID")
            yield Asked(each, f"{name}-{number}", reply.status_code, replied)


async def by_test_client(app, name, *middleware):
    """Blocks the test's own event loop: the client runs the application in another thread."""
    options = {"raise_server_exceptions": False, "follow_redirects": False}
    with TestClient(app, **options) as client:
        for number, each in enumerate(situations.possible("TestClient", *middleware)):
            way = connected if each.method == "WS" else situations.ask
            yield way(client, each, f"{name}-{number}")


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


@pytest.mark.parametrize("way", [in_process, by_test_client])
@pytest.mark.parametrize("middleware", [(), ("BaseHTTPMiddleware",)], ids=["as it is", "wrapped"])
async def test_line_metric_and_span_agree(way, middleware):
    """The full list; behind servers it is asked in test_plainview_servers.py."""
    app, name = make_app(), f"{way.__name__}-{len(middleware)}"

    async def passing(request, call_next):
        return await call_next(request)

    if middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    observe(app, settings(service_name=name))

    def counts():
        samples = (sample for family in REGISTRY.collect() for sample in family.samples)
        return situations.counts(samples, name, "twin")

    before = counts()
    with captured_logs() as lines, captured_spans() as spans:
        asked = [each async for each in way(app, name, *middleware)]
    assert situations.disagreements(asked, lines, spans, counts() - before) == []
    assert SECRET not in repr((lines, spans))


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
async def test_a_root_path_of_the_server_changes_no_route(root_path):
    app = make_app()
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


def test_each_of_many_routes_has_its_own_series():
    """An open label that bounds the combinations of all may not be one of few values."""
    app, many = FastAPI(), 30

    async def chat(socket: WebSocket):
        await socket.accept()
        await socket.close(1000)

    async def fails_late(tasks: BackgroundTasks):
        tasks.add_task(int, "no number")

    for number in range(many):
        app.websocket(f"/chat-{number}")(chat)
        app.get(f"/late-{number}")(fails_late)
    observe(app, settings(service_name="many"))
    with TestClient(app, raise_server_exceptions=False) as client:
        for number in range(many):
            with client.websocket_connect(f"/chat-{number}") as socket:
                socket.receive()
            assert client.get(f"/late-{number}").status_code == 200
    for name, path in (
        ("websocket_connections_closed_total", "/chat-"),
        ("websocket_connection_duration_seconds_count", "/chat-"),
        ("http_late_failures_total", "/late-"),
    ):
        found = {
            sample.labels["path"]
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name == name and sample.labels["app_name"] == "many" and sample.value == 1
        }
        assert found == {f"{path}{number}" for number in range(many)}, name


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


async def test_both_ways_give_equal_spans_and_series_on_ordinary_routes():
    seen = {}
    for way in WAYS:
        app = make_app()
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
async def test_each_way_alone(way):
    other = WAYS[1 - WAYS.index(way)]
    app = make_app()
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
