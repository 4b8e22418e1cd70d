"""The helpers that tests of services rely on."""

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from opentelemetry import trace

from plainview import Catalogue, ObservabilitySettings, get_logger, observe
from plainview.signals import HTTP_REQUESTS
from plainview.testing import captured_logs, captured_spans, metric_delta

CATALOGUE = Catalogue("testing")
PICKS = CATALOGUE.counter("picks_total", "Picks", labels={"colour": ("red", "blue")})
WAIT = CATALOGUE.histogram("wait_seconds", "Wait", buckets=(1, 2))


def test_delta_of_a_counter_by_label_and_in_all() -> None:
    PICKS.inc(5, colour="red")
    with metric_delta(PICKS, colour="red") as red, metric_delta(PICKS) as both:
        PICKS.inc(2, colour="red")
        assert red.value == 2
        PICKS.inc(colour="blue")
    PICKS.inc(colour="red")
    assert (red.value, both.value) == (2, 3)


async def test_delta_counts_observations_and_may_be_used_again() -> None:
    delta = metric_delta(WAIT)
    async with delta:
        WAIT.observe(0.5)
    assert delta.value == 1
    async with delta:
        assert delta.value == 0


async def test_deltas_of_an_app_by_declaration_and_by_name() -> None:
    app = FastAPI()

    @app.get("/pv-testing/{item}")
    async def show(item: str) -> None:
        get_logger().info("item.shown", item=item, password="hunter2hunter2")

    observe(app, ObservabilitySettings(service_name="test"))
    labels = {"path": "/pv-testing/{item}", "status_code": "200"}
    with (
        metric_delta(HTTP_REQUESTS, **labels) as declared,
        metric_delta("http_requests_total", **labels) as named,
        captured_spans() as spans,
        captured_logs() as lines,
    ):
        async with AsyncClient(transport=ASGITransport(app), base_url="http://svc") as client:
            reply = await client.get("/pv-testing/1")
    assert (declared.value, named.value) == (1, 1)
    assert [span.name for span in spans] == ["GET /pv-testing/{item}"]
    shown, access = lines
    assert shown["event"] == "item.shown"
    assert "hunter2" not in str(lines)
    assert access["event"] == "http.request"
    assert shown["trace_id"] == access["trace_id"] == spans[0].trace_id
    assert spans[0].attributes["request_id"] == reply.headers["x-request-id"]
    assert shown["request_id"] == access["request_id"] == reply.headers["x-request-id"]


def test_nothing_is_captured_after_the_block() -> None:
    with captured_spans() as spans, captured_logs() as lines:
        pass
    trace.get_tracer("t").start_span("later").end()
    get_logger().error("later.happened")
    assert (spans, lines) == ([], [])


def test_a_failing_block_still_ends_the_capture() -> None:
    with pytest.raises(ValueError, match="x"), captured_logs() as lines:
        raise ValueError("x")
    get_logger().error("later.happened")
    assert lines == []
