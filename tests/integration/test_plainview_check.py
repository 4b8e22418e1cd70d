"""`plainview check` against servers that are right, and wrong in each way that it tells of."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

from plainview.command import main
from tests.support.servers import free_port, ready
from tests.support.waiting import until

PLAIN, OPENMETRICS = "text/plain; version=1.0.0", "application/openmetrics-text; version=1.0.0"
HEALTH, PROBLEM = "application/health+json", "application/problem+json"
EARLIER = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Answer:
    status: int
    kind: str
    body: str | bytes


OF_HEALTH = Answer(200, HEALTH, '{"status": "pass"}')
PROCESS = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.7e9\n"


@dataclass
class Service:
    """One that does everything right; a test changes one thing of it."""

    ids: Callable[[str, int], list[str]] = lambda sent, number: [sent]
    page: Answer = Answer(200, "application/json", "{}")
    unknown: Answer = Answer(404, PROBLEM, '{"title": "Not Found", "status": 404}')
    live: Answer = OF_HEALTH
    ready: Answer = OF_HEALTH
    metrics: Answer | None = None  # instead of its page
    openmetrics: bool = True
    exemplars: bool = True
    of_other_traces: bool = False
    counts: bool = True
    process: str = PROCESS
    spans: int = 12
    more: str = ""  # samples
    by_path: bool = False  # whether each path becomes a label
    hangs: threading.Event | None = None  # until then, on its own pages
    paths: list[str] = field(default_factory=list)
    trace: str = EARLIER

    def answer(self, path: str, headers: Any) -> tuple[Answer, list[str]]:
        """The reply to a GET, and its request IDs."""
        own = {"/health/live": self.live, "/health/ready": self.ready}
        if self.hangs and path in (*own, "/metrics"):
            self.hangs.wait(30)
        if path == "/metrics":
            return self.metrics or self.samples(headers.get("Accept", "")), []
        if path in own:
            return own[path], []
        self.paths.append(path)
        self.trace = headers["traceparent"].split("-")[1]
        ids = self.ids(headers["X-Request-ID"], len(self.paths))
        return self.page if path == "/" else self.unknown, ids

    def samples(self, accept: str) -> Answer:
        plain = accept == "text/plain" or not self.openmetrics
        trace = EARLIER[::-1] if self.of_other_traces else self.trace
        exemplar = f' # {{trace_id="{trace}"}} 0.1' if self.exemplars and not plain else ""
        end, name = ("_total", "") if plain else ("", "# EOF\n"), 'app_name="shop"'
        requests = len(self.paths) if self.counts else 0
        more = "".join(f'by_path{{path="{path}"}} 1\n' for path in self.paths * self.by_path)
        text = f"""# TYPE http_requests{end[0]} counter
http_requests_total{{{name}}} {requests}
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{{{name},le="+Inf"}} {requests}{exemplar}
http_request_duration_seconds_count{{{name}}} {requests}
http_request_duration_seconds_sum{{{name}}} 1.0
# TYPE service_ready gauge
service_ready 1
{self.process}# TYPE telemetry_spans_exported{end[0]} counter
telemetry_spans_exported_total{{outcome="success"}} {self.spans}
{self.more}{more}{end[1]}"""
        return Answer(200, PLAIN if plain else OPENMETRICS, text)


@contextmanager
def running(server: ThreadingTCPServer) -> Iterator[str]:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def serving(service: Service) -> AbstractContextManager[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer, ids = service.answer(self.path, self.headers)
            body = answer.body.encode() if isinstance(answer.body, str) else answer.body
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(body)))
            for each in ids:
                self.send_header("X-Request-ID", each)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return running(ThreadingHTTPServer(("127.0.0.1", 0), Handler))


Capture = pytest.CaptureFixture[str]


def checked(url: str, capsys: Capture, *more: str) -> tuple[int, dict[str, Any]]:
    status = main(["check", url, "--json", *more])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, document


def test_a_right_service_is_right_in_everything(capsys: Capture) -> None:
    with serving(Service()) as url:
        status, document = checked(url, capsys, "--strict")
    assert (status, document["verdict"]) == (0, "ok"), document
    assert {each["level"] for each in document["findings"]} == {"ok"}
    assert [each["what"] for each in document["findings"]] == [
        "answer", "request ID", "unknown path", "/health/live", "/health/ready", "/metrics",
        "requests", "trace", "spans",
    ]  # fmt: skip


FAILS = '{"status": "fail", "checks": {"mongo": [{"status": "fail", "output": "refused"}]}}'
WARNS = '{"status": "warn", "checks": {"cache": [{"status": "warn", "output": "timeout"}]}}'
STARTING = '{"status": "fail", "output": "starting", "checks": {}}'
ODD = '{"status": "fail", "checks": {"a": 7, "b": ["c"]}}'
OF_ANOTHER = '{"title": "x", "status": 400}'
MANY = "".join(f'orders{{id="{n}"}} 1\n' for n in range(10_001))
APART = "# TYPE telemetry_workers_apart gauge\ntelemetry_workers_apart 1\n"
DROPPED = "# TYPE telemetry_log_lines_dropped counter\ntelemetry_log_lines_dropped_total 2\n"
ERRORS = "# TYPE telemetry_errors counter\ntelemetry_errors_total 1\n"
# name: what is changed, what it is found under, how bad, words of it
WRONG: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "fails": ({"page": Answer(500, "text/plain", "")}, "answer", "wrong", "gave 500"),
    "no ID": ({"ids": lambda sent, n: []}, "request ID", "wrong", "has no X-Request-ID"),
    "other ID": ({"ids": lambda sent, n: ["x"]}, "request ID", "wrong", "has another"),
    "two IDs": ({"ids": lambda sent, n: [sent, sent]}, "request ID", "wrong", "has 2 X-R"),
    "no ID of an unknown path": (
        {"ids": lambda sent, n: [sent] * (n < 3)}, "request ID", "wrong", "GET /plainview-check-",
    ),
    "every path": (
        {"unknown": Answer(200, "text/html", "x")}, "unknown path", "advice", "200 instead",
    ),
    "plain 404": (
        {"unknown": Answer(404, "application/json", "{}")},
        "unknown path", "advice", "as application/json",
    ),
    "wrong problem": (
        {"unknown": Answer(404, PROBLEM, "[]")}, "unknown path", "wrong", "no problem",
    ),
    "problem of another status": (
        {"unknown": Answer(404, PROBLEM, OF_ANOTHER)}, "unknown path", "wrong", "no problem doc",
    ),
    "no health": ({"live": Answer(404, HEALTH, "{}")}, "/health/live", "wrong", "404"),
    "health of others": (
        {"ready": Answer(200, "text/html", "<p>")}, "/health/ready", "wrong", "not ap",
    ),
    "not ready": (
        {"ready": Answer(503, HEALTH, FAILS)}, "/health/ready", "wrong", "mongo (refused)",
    ),
    "starting": (
        {"ready": Answer(503, HEALTH, STARTING)}, "/health/ready", "wrong", "not ready: starting",
    ),
    "odd checks": (
        {"ready": Answer(503, HEALTH, ODD)}, "/health/ready", "wrong", "no reason given",
    ),
    "optional fails": (
        {"ready": Answer(200, HEALTH, WARNS)}, "/health/ready", "advice", "cache (timeout)",
    ),
    "no metrics": ({"metrics": Answer(404, PLAIN, "")}, "/metrics", "wrong", "404"),
    "metrics are HTML": (
        {"metrics": Answer(200, "text/html", "<p>")}, "/metrics", "wrong", "does not read",
    ),
    "no page": (
        {"metrics": Answer(200, PLAIN, "up{ 1\n")}, "/metrics", "wrong", "cannot be parsed",
    ),
    "not UTF-8": (
        {"metrics": Answer(200, PLAIN, b"\xff{")}, "/metrics", "wrong", "cannot be parsed",
    ),
    "no OpenMetrics": ({"openmetrics": False}, "/metrics", "wrong", "not given as OpenMetrics"),
    "another exporter": (
        {"metrics": Answer(200, PLAIN, "# TYPE up gauge\nup 1\n")},
        "metrics", "wrong", "there is no http_requests_total",
    ),
    "path as label": ({"by_path": True}, "series", "wrong", "a label of by_path"),
    "many series": ({"more": MANY}, "series", "wrong", "orders has 10,001"),
    "no name": (
        {"more": '# TYPE a gauge\na{app_name="service"} 1\n'}, "service name", "advice", "default",
    ),
    "not counted": ({"counts": False}, "requests", "wrong", "not counted"),
    "workers apart": ({"more": APART}, "workers", "wrong", "counts of its own"),
    "no exemplars": ({"exemplars": False}, "trace", "wrong", "no exemplar"),
    "several workers": (
        {"exemplars": False, "process": ""}, "trace", "advice", "several workers",
    ),
    "other traces": ({"of_other_traces": True}, "trace", "wrong", "other traces"),
    "no spans": ({"spans": 0}, "spans", "advice", "none was exported"),
    "spans fail": (
        {"more": 'telemetry_spans_exported_total{outcome="failure"} 3\n'},
        "spans", "advice", "3 could not",
    ),
    "lines dropped": ({"more": DROPPED}, "telemetry", "advice", "2 log lines were dropped"),
    "errors inside": ({"more": ERRORS}, "telemetry", "advice", "errors inside"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, capsys: Capture) -> None:
    change, what, level, words = WRONG[name]
    with serving(Service(**change)) as url:
        status, document = checked(url, capsys)
    found = [each for each in document["findings"] if each["what"] == what]
    assert level in {each["level"] for each in found}, document["findings"]
    (first, *_) = [each for each in found if each["level"] == level]
    assert words in first["says"]
    assert first["do"] or name == "no page"
    assert status == (1 if level == "wrong" else 0)
    with serving(Service(**change)) as url:
        assert main(["check", url, "--strict"]) == 1
    text = capsys.readouterr().out
    assert first["do"].partition("check-")[0] in text  # an ID is of one request
    assert "Traceback" not in text


def raw(speak: Callable[[socket.socket], object]) -> AbstractContextManager[str]:
    """A server that is none: what it does with each connection."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65536)
                speak(self.request)

    return running(ThreadingTCPServer(("127.0.0.1", 0), Handler))


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        connection.sendall(b"a")
        time.sleep(0.05)


HOSTILE: dict[str, tuple[Callable[[socket.socket], object], str]] = {
    "hangs": (lambda to: to.recv(1), "within 1 s"),
    "trickles": (trickle, "within 1 s"),
    "hangs up": (lambda to: None, "not HTTP"),
    "other protocol": (lambda to: to.sendall(b"SSH-2.0-x\r\n"), "not HTTP"),
    "cut": (lambda to: to.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), "not HTTP"),
    "huge": (lambda to: to.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(33 * 1024 * 1024)), ""),
}


def test_pages_that_hang_are_said_to(capsys: Capture) -> None:
    """The service itself answers."""
    over = threading.Event()
    with serving(Service(hangs=over)) as url:
        status, document = checked(url, capsys, "--timeout", "1")
        over.set()
    assert status == 1
    found = {each["what"] for each in document["findings"] if each["level"] == "wrong"}
    assert found == {"/health/live", "/health/ready", "/metrics"}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_asked_ends_in_time(name: str, capsys: Capture) -> None:
    speak, words = HOSTILE[name]
    with raw(speak) as url:
        began = time.monotonic()
        assert main(["check", url, "--timeout", "3"]) == 2
        assert time.monotonic() - began < 15
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["ftp://127.0.0.1"], ["127.0.0.1:8000"], ["http://"], ["http://127.0.0.1:port"],
        ["http://127.0.0.1:1", "--skip", "everything"], ["http://127.0.0.1:1", "--path", "x"],
        ["http://127.0.0.1:1", "--path", "/a b"], ["http://127.0.0.1:1", "--timeout", "0"],
        ["http://127.0.0.1:1"], ["http://no.such.host.invalid"],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_question_is_an_error_of_one_line(words: list[str], capsys: Capture) -> None:
    assert main(["check", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("plainview: ")
    assert said.count("\n") == 1


CODE = """
from fastapi import FastAPI
from plainview import Check, ObservabilitySettings, observe

app = FastAPI()
bare = FastAPI()
failing = FastAPI()

@app.get("/")
async def root(): return {}

async def ping(): raise ConnectionRefusedError

observe(app, ObservabilitySettings(service_name="shop"))
observe(failing, ObservabilitySettings(service_name="shop"), checks=lambda: {"mongo": Check(ping)})
"""


@contextmanager
def uvicorn(folder: Path, name: str, workers: int = 1, **variables: str) -> Iterator[str]:
    (folder / "service.py").write_text(CODE)
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "uvicorn", f"service:{name}", "--port", str(port)]
    if workers > 1:
        command += ["--workers", str(workers)]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PLAINVIEW_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**plain, **variables}, stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{port}"
    try:
        started = "startup complete"
        until(lambda: log.read_text().count(started) == workers, what=f"a start, see {log}")
        if name == "app" and not variables:
            until(lambda: ready(url), what="readiness")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wrong(document: dict[str, Any]) -> set[str]:
    return {each["what"] for each in document["findings"] if each["level"] == "wrong"}


def test_a_service_of_the_library(tmp_path: Path, capsys: Capture) -> None:
    with uvicorn(tmp_path, "app") as url:
        assert checked(url, capsys)[0] == 0
    with uvicorn(tmp_path, "app", PLAINVIEW_TRACES="false") as url:
        status, document = checked(url, capsys)
        assert (status, wrong(document)) == (1, {"trace"})
        assert checked(url, capsys, "--skip", "traces")[0] == 0
    pages = {"/metrics", "/health/live", "/health/ready"}
    with uvicorn(tmp_path, "app", PLAINVIEW_ALLOW="10.9.8.7") as url:
        assert wrong(checked(url, capsys)[1]) == pages
    with uvicorn(tmp_path, "failing") as url:
        status, document = checked(url, capsys)
        assert (status, wrong(document)) == (1, {"/health/ready"})
        assert "mongo (refused)" in str(document["findings"])
    with uvicorn(tmp_path, "bare") as url:
        assert wrong(checked(url, capsys)[1]) == pages | {"request ID"}


def test_workers_that_count_apart_are_wrong_every_time(tmp_path: Path, capsys: Capture) -> None:
    with uvicorn(tmp_path, "app", workers=2) as url:
        runs = [checked(url, capsys) for _ in range(8)]
    for status, document in runs:
        assert (status, wrong(document)) == (1, {"workers"}), document
        assert "PROMETHEUS_MULTIPROC_DIR" in str(document["findings"])


def test_workers_that_count_together_are_right(tmp_path: Path, capsys: Capture) -> None:
    shared = str(tmp_path / "shared")
    with uvicorn(tmp_path, "app", workers=2, PROMETHEUS_MULTIPROC_DIR=shared) as url:
        runs = [checked(url, capsys) for _ in range(3)]
    for status, document in runs:
        assert status == 0, document
        (trace,) = [each for each in document["findings"] if each["what"] == "trace"]
        assert (trace["level"], "several workers" in trace["says"]) == ("advice", True)


def test_pages_on_a_port_of_their_own(tmp_path: Path, capsys: Capture) -> None:
    ops = free_port()
    variables = {"PLAINVIEW_OPS_PORT": str(ops), "PLAINVIEW_OPS_HOST": "127.0.0.1"}
    with uvicorn(tmp_path, "app", **variables) as url:
        until(lambda: ready(f"http://127.0.0.1:{ops}"), what="readiness there")
        status, document = checked(url, capsys, "--ops", f"http://127.0.0.1:{ops}")
        assert status == 0, document
        status, document = checked(url, capsys)
    assert status == 1
    assert any("--ops URL" in each["do"] for each in document["findings"])
