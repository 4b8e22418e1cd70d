"""Line, metric and span agree under each server, however it is started, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from plainview.decode import parse_metrics
from tests.support.otlp import OtlpReceiver
from tests.support.served import Served, serving

FEW = [
    ("GET", "/items/1?token=hunter2", "/items/{item}", 200),
    ("GET", "/sub/items/1", "/sub/items/{item}", 200),
    ("GET", "/broken", "/broken", 500),
    ("GET", "/background", "/background", 200),
    ("GET", "/scan.php?password=hunter2", None, 404),
]
ALL = [
    *FEW,
    ("GET", "/raw/1", "/raw/{item}", 200),
    ("GET", "/stream", "/stream", 200),
    ("GET", "/docs", "/docs", 200),
    ("HEAD", "/docs", "/docs", 200),
    ("POST", "/items/1", "/items/{item}", 405),
    ("GET", "/sub/none", None, 404),
    ("GET", "/items/1/", None, 307),
]
CASES = {
    "uvicorn": ALL,
    "uvicorn.run": ALL,
    "fastapi run": FEW,
    "gunicorn": ALL,
    "gunicorn and uvicorn": FEW,
    "hypercorn": FEW,
    "granian": FEW,
}


def ask(served: Served, method: str, path: str, request_id: str) -> httpx.Response:
    return httpx.request(method, served.url + path, headers={"X-Request-ID": request_id})


@pytest.mark.parametrize("server", CASES)
def test_the_three_agree(server: str, tmp_path: Path) -> None:
    with OtlpReceiver() as otlp:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with serving(server, tmp_path, **variables) as served:
            for number, (method, path, _, status) in enumerate(CASES[server]):
                reply = ask(served, method, path, f"request-{number}")
                assert reply.status_code == status, path
                assert reply.headers["X-Request-ID"] == f"request-{number}"
            page = httpx.get(f"{served.url}/metrics").text
        counts = {
            (s.labels["method"], s.labels["path"], s.labels["status_code"]): s.value
            for s in parse_metrics(page)
            if s.name == "http_requests_total" and s.value
        }
        wanted: dict[tuple[str, str, str], int] = {}
        for method, _, route, status in CASES[server]:
            key = (method, route or "__unknown__", str(status))
            wanted[key] = wanted.get(key, 0) + 1
        assert counts == wanted
        spans = {s.attributes["request_id"]: s for s in otlp.spans if s.kind == "server"}
    lines = served.lines
    for number, (method, path, route, status) in enumerate(CASES[server]):
        mine = [line for line in lines if line.get("request_id") == f"request-{number}"]
        (access,) = [line for line in mine if line["event"] == "http.request"]
        span = spans[f"request-{number}"]
        assert access["http_request_method"] == span.attributes["http.request.method"] == method
        assert access["http_route"] == (route or "__unknown__"), path
        assert span.attributes.get("http.route") == route, path
        assert access["http_response_status_code"] == status, path
        assert span.attributes["http.response.status_code"] == status, path
        assert access["span_id"] == span.span_id
        assert {line["trace_id"] for line in mine} == {span.trace_id}, path
        failures = [line["event"] for line in mine if "exception_type" in line]
        failed = path in ("/broken", "/background")
        assert failures == (["http.request.failed"] if failed else []), path
    assert "hunter2" not in served.text
    assert served.text.count("Traceback") == 2, served.text  # one for each failure
    assert [line["event"] for line in lines].count("app.stopped") == 1
    assert any(line.get("message") == "stdlib at the end" for line in lines)


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn.run"])
def test_what_uvicorn_says_is_a_line_too(server: str, tmp_path: Path) -> None:
    with serving(server, tmp_path) as served:
        ask(served, "GET", "/items/1?token=hunter2", "request-1")
    plain = [line for line in served.text.splitlines() if not line.startswith("{")]
    messages = [str(line.get("message")) for line in served.lines]
    assert any(text.startswith("Application startup complete") for text in messages)
    if server != "uvicorn":  # the application is imported before: all of it
        assert any(text.startswith("Started server process") for text in messages)
    # said after the lifespan, just before uvicorn raises its signal again
    assert messages[-1].startswith("Finished server process"), served.text
    assert plain == []
    assert "hunter2" not in served.text
