"""`make follow` and the console's reader of lines against the real Loki and Jaeger."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest

from console.logs import LokiFollower
from console.store import Line
from tests.stack.conftest import ANSWER_S, Stack, until

pytestmark = pytest.mark.timeout(500)  # the first test of a session starts everything


def refused(stack: Stack) -> list[dict[str, Any]]:
    """Requests without a token: problem documents name request and trace."""
    url = f"http://127.0.0.1:{stack.trio.gateway.port}/api/v1/events"
    return [httpx.get(url, timeout=ANSWER_S).json() for _ in range(30)]


def follow(stack: Stack, wanted: str) -> str:
    command = [sys.executable, "-m", "demo.follow", wanted, "--wait", "100"]
    where = ["--loki", stack.loki_url, "--jaeger", stack.jaeger_url]
    done = subprocess.run(
        [*command, *where], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_request_is_followed_in_loki_and_jaeger(stack: Stack) -> None:
    problems = refused(stack)
    kept = until(
        lambda: next((p for p in problems if stack.trace(p["trace_id"])), None), what="a trace kept"
    )
    for wanted in (kept["request_id"], kept["trace_id"]):
        shown = follow(stack, wanted)
        assert "GET /api/v1/events" in shown
        assert "http_response_status_code=401" in shown
        assert "spans of gateway" in shown


def test_the_console_reads_lines_from_loki_once(stack: Stack) -> None:
    wanted = {problem["request_id"] for problem in refused(stack)}
    lines: list[Line] = []

    async def read() -> set[str]:
        async with httpx.AsyncClient(timeout=ANSWER_S) as http:
            loki = LokiFollower(http, stack.loki_url, lines.append)
            for _ in range(40):
                await loki.poll()
                if wanted <= {line.request_id for line in lines}:
                    break
                await asyncio.sleep(1)
        return {line.request_id for line in lines}

    assert wanted <= asyncio.run(read())
    texts = [line.text for line in lines if line.request_id in wanted]
    assert len(texts) == len(set(texts))
    assert {line.service for line in lines if line.request_id in wanted} == {"gateway"}
