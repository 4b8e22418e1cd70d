"""`follow` over a real console process: spans by OTLP, lines from files; and how both refuse."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tests.support.processes import ended
from tests.support.servers import free_port, ready
from tests.support.waiting import until

EVENT, REWARD = "01a1d189e91bea9ff30f3f6b", "01a1d189e91ba9f6aa228107"
TOKEN = "a-token-of-some-length"


def start(folder: Path, **more: str) -> SimpleNamespace:
    port, otlp = free_port(), free_port()
    ports = {"CONSOLE_PORT": str(port), "OTLP_PORT": str(otlp), "LOG_FORMAT": "json"}
    services = {"SERVICES": f"gateway=http://127.0.0.1:{free_port()}"}
    (folder / "logs").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "console"],
        env={**os.environ, **ports, **services, "LOG_DIR": str(folder / "logs"), **more},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return SimpleNamespace(process=process, url=f"http://127.0.0.1:{port}", otlp=otlp)


def log(folder: Path, service: str, **fields: object) -> None:
    with (folder / "logs" / f"{service}.log").open("a") as file:
        file.write(json.dumps({"service": service, **fields}) + "\n")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("console")
    registry = CollectorRegistry()  # what the event service exposes of one running event
    titles = {"event_id": EVENT, "title": "Autumn"}
    Gauge("event_info", "x", titles, registry=registry).labels(**titles).set(1)
    titles = {"event_id": EVENT, "reward_id": REWARD, "title": "Gold badge"}
    Gauge("reward_info", "x", titles, registry=registry).labels(**titles).set(1)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    running = start(folder, SERVICES=f"event=http://127.0.0.1:{server.server_port}")
    until(lambda: ready(running.url), 60, "console")
    demo = {"services": {"console": running.url}}
    (folder / "demo.json").write_text(json.dumps(demo))
    yield SimpleNamespace(folder=folder, **vars(running))
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0
    server.shutdown()
    server.server_close()
    thread.join()


def follow(wanted: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo.follow", wanted, "--demo", str(folder), *more]
    return ended(command)


def send_spans(otlp: int) -> str:
    """gateway > event, each by an exporter of its own; the trace ID."""
    tracers, providers = {}, []
    for service in ("gateway", "event"):
        provider = TracerProvider(resource=Resource({"service.name": service}))
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{otlp}/v1/traces")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracers[service] = provider.get_tracer("test")
        providers.append(provider)
    with (
        tracers["gateway"].start_as_current_span("GET /events", kind=SpanKind.SERVER) as outer,
        tracers["event"].start_as_current_span("find events", kind=SpanKind.SERVER),
    ):
        trace = f"{outer.get_span_context().trace_id:032x}"
    for provider in providers:
        provider.shutdown()
    return trace


def write_lines(folder: Path, request: str, trace: str) -> None:
    for service in ("gateway", "event"):
        log(
            folder, service, timestamp="2026-11-20T10:00:00Z", level="info", event="http.request",
            request_id=request, trace_id=trace,
        )  # fmt: skip


@pytest.mark.parametrize("by", ["request", "trace"])
def test_one_request_is_shown_with_lines_and_spans_of_both_services(
    console: SimpleNamespace, by: str
) -> None:
    request = f"req-by-{by}"
    trace = send_spans(console.otlp)
    write_lines(console.folder, request, trace)
    done = follow(request if by == "request" else trace, console.folder)
    assert done.returncode == 0, done.stderr
    assert "2 log lines" in done.stdout
    assert "2 spans of event, gateway" in done.stdout
    assert "└─ event    find events" in done.stdout
    assert "\x1b" not in done.stdout


def claimed(folder: Path, request: str) -> None:
    ids = {"event_id": EVENT, "reward_id": REWARD, "user_id": "024b5de4d06ae299"}
    log(folder, "event", event="reward.claimed", request_id=request, **ids)


def test_events_and_rewards_are_named_and_users_are_not(console: SimpleNamespace) -> None:
    claimed(console.folder, "req-with-names")
    done = follow("req-with-names", console.folder, "--wait", "3")
    assert done.returncode == 0, done.stderr
    assert f"event    Autumn  {EVENT}\n" in done.stdout
    assert f"reward   Gold badge  {REWARD}\n" in done.stdout
    assert "user     024b5de4d06ae299\n" in done.stdout
    assert f"event_id={EVENT} (Autumn)  reward_id={REWARD} (Gold badge)" in done.stdout


def test_requests_are_listed_newest_first_by_kind(console: SimpleNamespace) -> None:
    for number, (status, seconds) in enumerate([(200, 0.1), (503, 0.1), (200, 0.9)]):
        log(
            console.folder, "gateway", event="http.request", http_request_method="GET",
            request_id=f"req-listed-{number}", trace_id=f"{number:032x}", span_id=f"{number:016x}",
            http_response_status_code=status, duration_s=seconds,
        )  # fmt: skip

    def listed(kind: str) -> list[str]:
        reply = httpx.get(f"{console.url}/api/requests", params={"kind": kind, "limit": 2})
        return [item["request_id"] for item in reply.json()["items"]]

    until(lambda: listed("slow") == ["req-listed-2"], what="the lines")
    assert listed("recent") == ["req-listed-2", "req-listed-1"]
    assert listed("failed") == ["req-listed-1"]
    assert httpx.get(f"{console.url}/api/requests?kind=other").status_code == 422


def test_spans_that_are_late_are_waited_for(console: SimpleNamespace) -> None:
    write_lines(console.folder, "req-never-traced", "ab" * 16)
    began = time.monotonic()
    done = follow("req-never-traced", console.folder, "--wait", "2")
    assert done.returncode == 0
    assert "0 spans" in done.stdout
    assert time.monotonic() - began > 2


def test_what_is_not_known_is_said(console: SimpleNamespace) -> None:
    done = follow("req-unknown-1", console.folder, "--wait", "0")
    assert done.returncode == 1
    assert "Nothing known of req-unknown-1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_console_that_is_away_is_said(tmp_path: Path) -> None:
    demo = {"services": {"console": f"http://127.0.0.1:{free_port()}"}}
    (tmp_path / "demo.json").write_text(json.dumps(demo))
    done = follow("req-whatever", tmp_path, "--wait", "0")
    assert done.returncode == 1
    assert "Could not ask the demo's console" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_does_not_listen_wider_without_a_token(tmp_path: Path) -> None:
    refused = start(tmp_path, HOST="0.0.0.0", CONSOLE_TOKEN="too-short")
    output = refused.process.communicate(timeout=20)[0]
    assert refused.process.returncode == 2
    assert "CONSOLE_TOKEN" in output
    assert "Traceback" not in output
    assert "too-short" not in output


async def test_the_page_of_a_wide_console_wants_the_token(tmp_path: Path) -> None:
    wide = start(tmp_path, HOST="0.0.0.0", CONSOLE_TOKEN=TOKEN)
    try:
        await asyncio.to_thread(until, lambda: ready(wide.url), 60, "console")
        async with httpx.AsyncClient(base_url=wide.url) as http:
            for path in ("/", "/follow", "/api/requests", "/metrics"):
                assert (await http.get(path)).status_code == 401, path
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert (await http.get("/", headers=headers)).status_code == 200
        # as `make follow` asks compose's
        claimed(tmp_path, "req-with-token")
        environment = {**os.environ, "CONSOLE_URL": wide.url, "CONSOLE_TOKEN": TOKEN}
        command = [sys.executable, "-m", "demo.follow", "req-with-token", "--wait", "3"]
        elsewhere = ["--demo", str(tmp_path / "none")]
        done = await asyncio.to_thread(ended, [*command, *elsewhere], env=environment)
        assert done.returncode == 0, done.stderr
        assert "reward.claimed" in done.stdout
    finally:
        wide.process.terminate()
        wide.process.wait(10)
