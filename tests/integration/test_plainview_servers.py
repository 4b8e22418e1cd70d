"""Line, metric and span agree under each server, however it is started, and nothing is lost."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from plainview.decode import SpanRecord, parse_metrics
from tests.support import situations
from tests.support.many_routes import SECRET
from tests.support.otlp import OtlpReceiver
from tests.support.served import Served, serving
from tests.support.situations import ALL, FEW, Asked, Situation
from tests.support.waiting import until

# Starlette's TestClient has the full list too: tests/unit/plainview/test_pv_request_path.py.
# httptools answers methods that it does not know with 400 before the application is called.
BY_HTTPTOOLS = situations.possible("methods of one's own")
CASES = {
    **dict.fromkeys(("uvicorn", "uvicorn.run", "gunicorn and uvicorn"), BY_HTTPTOOLS),
    "gunicorn": ALL,
    **dict.fromkeys(("fastapi run", "hypercorn", "granian"), FEW),
}


# Servers close a connection whose application failed; a next request on it may come too late.
NO_KEEPALIVE = httpx.Limits(max_keepalive_connections=0)


@dataclass
class Outcome:
    """What a server was asked, and all that it left behind after its end."""

    server: str
    asked: list[Asked]
    served: Served
    spans: list[SpanRecord]
    page: str


def talk(served: Served, situation: Situation, request_id: str) -> Asked:
    """A WebSocket connection."""
    url = served.url.replace("http", "ws", 1) + situation.path
    try:
        with connect(url, additional_headers={"X-Request-ID": request_id}, proxy=None) as socket:
            assert socket.response is not None
            status, replied = 101, socket.response.headers.get("X-Request-ID")
            if situation.path.endswith("left"):
                socket.close(1001)
            else:
                with suppress(ConnectionClosed):
                    socket.send("x")
                    socket.recv(timeout=20)
    except InvalidStatus as refused:
        reply = refused.response
        status, replied = reply.status_code, reply.headers.get("X-Request-ID")
    return Asked(situation, request_id, status, replied)


@pytest.fixture(scope="module", params=CASES)
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """Each server is started once, asked everything, and ended."""
    server, directory = request.param, tmp_path_factory.mktemp("served")
    with OtlpReceiver() as otlp:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with (
            serving(server, directory, **variables) as served,
            httpx.Client(
                base_url=served.url, timeout=20, trust_env=False, limits=NO_KEEPALIVE
            ) as client,
        ):
            asked = [
                talk(served, each, f"request-{number}")
                if each.method == "WS"
                else situations.ask(client, each, f"request-{number}")
                for number, each in enumerate(CASES[server])
            ]
            page = ""

            def all_counted() -> bool:
                nonlocal page
                page = client.get("/metrics").text
                return situations.counts(parse_metrics(page)) >= situations.wanted(asked)

            with suppress(AssertionError):  # the test says what is missing
                until(all_counted, timeout_s=15)
        yield Outcome(server, asked, served, otlp.spans, page)


def test_the_three_agree(outcome: Outcome) -> None:
    counted = situations.counts(parse_metrics(outcome.page))
    lines = outcome.served.lines
    assert situations.disagreements(outcome.asked, lines, outcome.spans, counted) == []
    assert SECRET not in outcome.served.text
    failures = sum(each.situation.fails for each in outcome.asked)
    assert outcome.served.text.count("Traceback") == failures, outcome.served.text


def test_nothing_is_lost_at_the_end(outcome: Outcome) -> None:
    lines = outcome.served.lines
    assert [line["event"] for line in lines].count("app.stopped") == 1
    assert any(line.get("message") == "stdlib at the end" for line in lines)


@pytest.mark.parametrize("outcome", ["uvicorn", "uvicorn.run"], indirect=True)
def test_what_uvicorn_says_is_a_line_too(outcome: Outcome) -> None:
    served = outcome.served
    plain = [line for line in served.text.splitlines() if not line.startswith("{")]
    messages = [str(line.get("message")) for line in served.lines]
    assert any(text.startswith("Application startup complete") for text in messages)
    if outcome.server != "uvicorn":  # the application is imported before: all of it
        assert any(text.startswith("Started server process") for text in messages)
    # said after the lifespan, just before uvicorn raises its signal again
    assert messages[-1].startswith("Finished server process"), served.text
    assert plain == []
