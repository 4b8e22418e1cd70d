"""`make follow` and the console's reader of lines against the real Loki and Jaeger."""

import asyncio
import sys
from typing import Any

import httpx
import pytest

from console.logs import LokiFollower
from console.store import Line
from tests.stack.loki import Loki
from tests.stack.stack import ANSWER_S, Stack, until
from tests.support.processes import ended

pytestmark = pytest.mark.timeout(500)  # the first test of a session starts everything


def refused(stack: Stack) -> list[dict[str, Any]]:
    """Requests without a token: problem documents name request and trace."""
    url = f"http://127.0.0.1:{stack.trio.gateway.port}/api/v1/events"
    return [httpx.get(url, timeout=ANSWER_S).json() for _ in range(30)]


def follow(stack: Stack, wanted: str) -> str:
    command = [sys.executable, "-m", "demo.follow", wanted, "--wait", "100"]
    where = ["--jaeger", stack.jaeger_url]
    if stack.loki:
        where += ["--loki", stack.loki.url]
    done = ended([*command, *where], 200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kept(stack: Stack) -> dict[str, Any]:
    """The problem of a request whose trace Jaeger has."""
    problems = refused(stack)
    return until(
        lambda: next((p for p in problems if stack.trace(p["trace_id"])), {}), what="a trace kept"
    )


def test_a_request_is_followed_in_jaeger(stack: Stack, kept: dict[str, Any]) -> None:
    shown = follow(stack, kept["trace_id"])
    assert "GET /api/v1/events" in shown
    assert "spans of gateway" in shown


@pytest.mark.usefixtures("loki")
def test_a_request_is_followed_in_loki_and_jaeger(stack: Stack, kept: dict[str, Any]) -> None:
    for wanted in (kept["request_id"], kept["trace_id"]):
        shown = follow(stack, wanted)
        assert "GET /api/v1/events" in shown
        assert "http_response_status_code=401" in shown
        assert "spans of gateway" in shown


def test_the_console_reads_lines_from_loki_once(stack: Stack, loki: Loki) -> None:
    wanted = {problem["request_id"] for problem in refused(stack)}
    lines: list[Line] = []

    async def read() -> set[str]:
        async with httpx.AsyncClient(timeout=ANSWER_S) as http:
            follower = LokiFollower(http, loki.url, lines.append)
            for _ in range(40):
                await follower.poll()
                if wanted <= {line.request_id for line in lines}:
                    break
                await asyncio.sleep(1)
        return {line.request_id for line in lines}

    assert wanted <= asyncio.run(read())
    texts = [line.text for line in lines if line.request_id in wanted]
    assert len(texts) == len(set(texts))
    assert {line.service for line in lines if line.request_id in wanted} == {"gateway"}
