"""Log lines: their fields, what is masked and bounded; and the sink that writes them, on pipes."""

import contextlib
import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from plainview import ObservabilitySettings, context, logs, stdlib_logs
from plainview.context import bind_user, request_context
from plainview.log_sink import LogSink
from plainview.record import Record
from plainview.signals import LOG_LINES
from plainview.testing import metric_delta
from tests.support.processes import ROOT, python
from tests.support.timing import in_time_blocking

FIRST = ["timestamp", "level", "event", "service", "environment", "component", "log_type"]


def configure(stream=None, **options):
    given = {"service_name": "event", "environment": "test", "log_format": "json", **options}
    logs.configure_logging(ObservabilitySettings(**given), stream)


@pytest.fixture
def raw(monkeypatch):
    """The lines, of a process configured as the service `event`."""
    seen, root = [], logging.getLogger()
    level = root.level
    logging.captureWarnings(False)  # pytest's own hook is in place again in each test
    monkeypatch.setattr(logs, "listeners", [seen.append])
    monkeypatch.setattr(context, "_key", b"")
    configure(io.StringIO())
    yield seen
    logs.flush_logs(30)
    configure(user_hash_key=None)
    root.setLevel(level)
    root.removeHandler(stdlib_logs.HANDLER)
    logging.captureWarnings(False)


def only(raw):
    (line,) = raw
    raw.clear()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return orjson.loads(line)


def test_a_line_has_its_fields_in_order(raw):
    configure(io.StringIO(), user_hash_key="k" * 16)
    tracer = TracerProvider().get_tracer("t")
    with request_context("request-1"), tracer.start_as_current_span("s") as span:
        bind_user("u1")
        logs.get_logger("db").info("reward.claimed", event_id="e1", n=3)
    line = only(raw)
    ids = ["request_id", "trace_id", "span_id", "user_id"]
    assert list(line) == [*FIRST, *ids, "event_id", "n"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        **{"level": "info", "event": "reward.claimed", "log_type": "general"},
        **{"service": "event", "environment": "test", "component": "db"},
        **{"request_id": "request-1", "user_id": context.user_pseudonym("u1")},
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "span_id": f"{span.get_span_context().span_id:016x}",
        **{"event_id": "e1", "n": 3},
    }


def record(status, route="/", duration_s=0.0):
    return Record("request-1", None, route, method="GET", status=status, duration_s=duration_s)


def test_the_access_line(raw):
    with request_context("request-1"):
        logs.access(record(200, "/api/v1/events/{id}", 0.0123456789), {})
    line = only(raw)
    kind = [line[name] for name in ("event", "level", "component", "log_type", "request_id")]
    assert kind == ["http.request", "info", "http", "general", "request-1"]
    assert dict([*line.items()][-5:]) == {
        "http_request_method": "GET",
        "http_route": "/api/v1/events/{id}",
        "http_response_status_code": 200,
        "http_response_body_size": 0,
        "duration_s": 0.012346,
    }
    logs.access(record(503, None, 1), {})
    line = only(raw)
    assert (line["level"], line["log_type"], line["error_type"]) == ("error", "error", "503")
    assert line["http_route"] == "__unknown__"


def test_client_and_path_are_in_the_access_line_if_asked_for(raw):
    headers = [(b"x-forwarded-for", b"192.0.2.7")]
    scope = {"client": ("10.0.0.1", 1), "headers": headers, "path": "/items/password=hunter2"}
    closed = Record("request-1", method="GET", status=101, websocket=True)
    logs.access(record(200), scope)
    assert not {"client_address", "url_path"} & only(raw).keys()
    asked = {"access_log_client": True, "access_log_path": True, "trusted_proxies": "10.0.0.1"}
    configure(io.StringIO(), **asked)
    for one, event in ((record(200), "http.request"), (closed, "websocket.closed")):
        logs.access(one, scope)
        line = only(raw)
        assert line["event"] == event
        assert (line["client_address"], line["url_path"]) == ("192.0.2.7", "/items/password=***")


def test_fields_cannot_pose_as_others(raw):
    logs.get_logger().info("e", service="other", level="debug", timestamp="x", user_id="u1")
    line = only(raw)
    assert (line["service"], line["level"]) == ("event", "info")
    assert (line["service_"], line["level_"], line["timestamp_"]) == ("other", "debug", "x")
    assert line["user_id"] == context.user_pseudonym("u1")


def test_everything_is_masked(raw):
    secret = "hUnter2-secret"
    log = logs.get_logger()
    try:
        try:
            raise KeyError(f"token={secret}")
        except KeyError as error:
            raise ValueError(f"password: {secret}") from error
    except ValueError:
        log.exception(f"Authorization: Bearer {secret}", password=secret, deep=[{"otp": secret}])
        logging.getLogger("lib").exception("secret=%s", secret, extra={"cookie": secret})
    log.error("e", exc_info=ValueError(f"api_key={secret}"))
    warnings.warn(f"https://user:{secret}@host/", stacklevel=1)
    assert [(secret.encode() in line, b"***" in line) for line in raw] == [(False, True)] * 4
    first = orjson.loads(raw[0])
    assert first["exception_type"] == "ValueError"
    assert first["exception_message"] == "password: ***"
    assert "direct cause" in first["exception_stacktrace"]
    configure(io.StringIO(), masking=False)
    log.info("e", password=secret)
    assert secret.encode() in raw[-1]


# as the name of a field Python refuses what the call names already; hypothesis tries such words
NAMED = {"self", "event", "value"}


@given(st.text(), st.text().filter(lambda text: text not in NAMED))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example("a\r\nb", '{"level":"critical"}\x1b[31m\x00\ud800')
def test_any_text_is_one_valid_line(raw, event, value):
    raw.clear()
    logs.get_logger().info(event, value=value, **{value: event})
    logging.getLogger("lib").warning("%s", value)
    assert len(raw) == 2
    for line in raw:
        assert line.count(b"\n") == 1
        assert not re.search(rb"[\x00-\x09\x0b-\x1f]", line)
        assert orjson.loads(line)["level"] in {"info", "warning"}


class Broken(Exception):
    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__


def test_odd_values_do_not_lose_the_line(raw):
    logs.get_logger().error("e", value=Broken(), big=2**80, nan=float("nan"), exc_info=Broken())
    line = only(raw)
    assert (line["value"], line["big"]) == ("<Broken>", str(2**80))
    assert line["exception_type"].endswith("Broken")
    # not through a logger: pytest has a handler that raises
    stdlib_logs.HANDLER.handle(logging.LogRecord("lib", 40, "", 0, "%d", ("text",), None))
    assert only(raw)["message"] == "%d ('text',)"


def test_a_line_stays_below_16_kb(raw):
    log = logs.get_logger()
    log.info("e", a="x" * 10**6)
    assert only(raw)["a"].startswith("xxx")
    log.info("e" * 10**5, **{f"f{i}": "\0" * 4096 for i in range(60)})
    log.info("e", deep=[[["é" * 4000] * 50] * 50] * 50)
    assert max(map(len, raw)) < 16_000
    lines = [orjson.loads(line) for line in raw]
    assert [line["truncated"] for line in lines] == [True, True]
    assert list(lines[0])[:7] == FIRST


def test_stdlib_records_go_the_same_way(raw):
    logging.getLogger("uvicorn.error").info("Started %s", "x")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("pymongo.command").debug("statement")
    logging.getLogger("pymongo.pool").warning("slow", extra={"pool": 3})
    started, slow = (orjson.loads(line) for line in raw)
    assert (started["event"], started["logger"]) == ("log.message", "uvicorn.error")
    assert (started["message"], started["component"]) == ("Started x", "http")
    assert (slow["component"], slow["pool"]) == ("db", 3)


def test_levels_change_while_it_runs(raw):
    log = logs.get_logger()
    log.debug("no")
    logs.set_log_level("debug")
    log.debug("yes")
    logging.getLogger("lib").debug("never of libraries")
    logs.set_log_level("warning")
    logs.access(record(200), {})
    log.info("no")
    assert only(raw)["event"] == "yes"
    with pytest.raises(ValueError, match="loud"):
        logs.set_log_level("loud")


def test_a_signal_toggles_debug(raw):
    before = signal.getsignal(signal.SIGUSR1)
    log = logs.get_logger()
    try:
        assert logs.toggle_debug_on_signal()
        for _ in range(2):
            with request_context("interrupted"):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.01)
            log.debug("details")
    finally:
        signal.signal(signal.SIGUSR1, before)
    changed = "log.level_changed"
    assert [orjson.loads(line)["event"] for line in raw] == [changed, "details", changed]
    assert not any(b"interrupted" in line for line in raw)
    refused = []
    thread = threading.Thread(target=lambda: refused.append(logs.toggle_debug_on_signal()))
    thread.start()
    thread.join()
    assert refused == [False]


def test_a_terminal_gets_it_pretty_and_harmless():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    configure(out, log_format="auto")
    logs.get_logger().error("e\x1b[2J", value="a\nb\x1b]0;x", exc_info=ValueError("v\x1b[2J"))
    assert logs.flush_logs(30)
    text = out.getvalue()
    assert "value=a\\nb\\x1b]0;x" in text
    assert "ValueError: v\\x1b[2J" in text
    assert text.count("\x1b") == 2  # the colour of the level
    assert "{" not in text


def test_lines_are_counted_by_level_and_type(raw):
    counts = {}
    logged = [
        ("security", "error", "security"),
        ("job", "critical", "error"),
        ("db", "warning", "general"),
    ]
    for component, level, kind in logged:
        with metric_delta(LOG_LINES, level=level, log_type=kind) as counts[kind]:
            getattr(logs.get_logger(component), level)("e")
            assert logs.flush_logs(30)
    assert [count.value for count in counts.values()] == [1, 1, 1]
    assert [orjson.loads(line)["log_type"] for line in raw] == [kind for *_, kind in logged]


def test_switched_off_nothing_is_written(raw):
    configure(logs=False)
    logs.get_logger().error("e")
    logs.access(record(500), {})
    assert raw == []


# --- the sink alone, on real pipes ---

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "wb", buffering=0)
    yield reader, stream
    with contextlib.suppress(OSError):  # a test may have closed it
        os.close(reader)
    stream.close()


@pytest.fixture
def full_pipe(pipe):
    """One that takes nothing until it is read; `drain` reads what was in it."""
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    while writer.write(b"-" * 65536):
        pass
    os.set_blocking(writer.fileno(), True)
    os.set_blocking(reader, False)
    return reader, writer


def drain(reader):
    with contextlib.suppress(BlockingIOError):
        return os.read(reader, 10**7).lstrip(b"-")
    return b""


def put(sink, count, level="info", kind="general", line=LINE):
    """How many of so many lines it takes."""
    return sum(sink.put(line, level, kind) for _ in range(count))


def test_a_stuck_pipe_drops_and_recovers(full_pipe):
    reader, writer = full_pipe
    sink = LogSink(writer, size=500, security_wait_s=0.05)
    start = time.perf_counter()
    assert put(sink, 5000) == 500
    assert time.perf_counter() - start < 10  # 4500 that waited 5 ms each would take 22 s
    # what is left of the queue is for security lines
    assert put(sink, 50, "warning", "security") == 50
    assert not sink.put(LINE, "error", "error")
    assert sink.dropped == {"general": 4500, "error": 1, "security": 0}
    assert not sink.flush(0.05)
    got = b""
    while not sink.flush(0.01):
        got += drain(reader)
    assert got + drain(reader) == LINE * 550
    assert (sink.written, sink.depth) == (550, 0)
    assert put(sink, 1)
    assert sink.flush(30)
    assert drain(reader) == LINE


def test_security_lines_wait_but_not_for_ever(full_pipe):
    reader, writer = full_pipe
    sink = LogSink(writer, size=10, security_wait_s=0.2)
    start = time.perf_counter()
    assert put(sink, 300, "warning", "security") == 110
    assert sink.dropped["security"] == 190
    assert 0.15 < time.perf_counter() - start < 10  # in all, not each: that were 38 s
    sink._patience = 30  # room in time: nothing is dropped
    thread = threading.Timer(0.05, lambda: drain(reader))
    thread.start()
    assert sink.put(LINE, "warning", "security")
    thread.join()
    while not sink.flush(0.01):
        drain(reader)
    assert sink.dropped["security"] == 190


async def test_security_lines_do_not_stop_the_event_loop(full_pipe):
    reader, writer = full_pipe
    sink = LogSink(writer, size=10, security_wait_s=10)
    assert put(sink, 11) == 10
    start = time.perf_counter()
    assert put(sink, 105, "warning", "security") == 100
    assert sink.dropped["security"] == 5
    assert 0.09 <= time.perf_counter() - start < 5  # 20 ms for each of the 5, and not 10 s
    os.close(reader)
    assert sink.flush(30)


def test_memory_is_bounded_by_bytes_too(full_pipe):
    reader, writer = full_pipe
    sink = LogSink(writer, size=1000)
    assert put(sink, 1000, line=b"x" * 15_000) == 68  # 1 MB
    os.close(reader)
    assert sink.flush(30)
    assert put(sink, 1)


def test_a_closed_pipe_drops_and_a_new_stream_works(pipe, tmp_path):
    reader, writer = pipe
    os.close(reader)
    sink = LogSink(writer, size=100)
    assert sink.put(LINE, "error", "error")
    assert sink.flush(30)
    assert sink.dropped["error"] == 1
    with (tmp_path / "log").open("wb", buffering=0) as file:
        sink.configure(file, 100, 0.5)
        put(sink, 1)
        assert sink.flush(30)
    assert (tmp_path / "log").read_bytes() == LINE


def test_after_a_torn_line_the_next_one_is_whole(pipe, monkeypatch):
    reader, writer = pipe
    sink = LogSink(writer)
    real, calls = os.write, []

    def full_disk(fd, data):
        if fd != writer.fileno():  # other threads write too
            return real(fd, data)
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(fd, data[:10] if len(calls) == 1 else data)

    monkeypatch.setattr(os, "write", full_disk)
    for line in (LINE, b"whole\n", b"again\n"):
        put(sink, 1, line=line)
        sink.flush(30)
    assert os.read(reader, 1000) == b"x" * 10 + b"\nwhole\nagain\n"
    assert (sink.written, sink.dropped["general"]) == (2, 1)


CONFIGURED = """
import os, sys, time
from plainview import logs
from plainview.record import Record
from plainview.settings import ObservabilitySettings
logs.configure_logging(
    ObservabilitySettings(service_name="s", log_format="json", log_queue_size=200)
)
log = logs.get_logger()
"""


def test_a_child_of_a_fork_writes_its_own_lines_once():
    code = """
log.info("parent.before")
child = os.fork()
if child == 0:
    log.info("child")
    logs.flush_logs(30)
    os._exit(0)
os.waitpid(child, 0)
log.info("parent.after")  # and no flush: the end of the process does it
"""
    done = python(CONFIGURED + code)
    events = sorted(orjson.loads(line)["event"] for line in done.stdout.splitlines())
    assert events == ["child", "parent.after", "parent.before"], done.stderr


def test_a_process_whose_stdout_nobody_reads_goes_on_and_ends():
    code = """
slowest = 0.0
for i in range(5000):
    start = time.perf_counter()
    log.info("e", text="x" * 200)
    logs.access(Record("request-1", method="GET", status=200), {})
    slowest = max(slowest, time.perf_counter() - start)
print(slowest, logs.SINK.dropped["general"], logs.SINK.depth, file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "shared/observability")}

    def slowest() -> float:
        reader, writer = os.pipe()  # of 64 KB, never read
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", CONFIGURED + code],
            **{"stdout": writer, "stderr": subprocess.PIPE, "env": environment},
        ) as process:
            os.close(writer)
            longest, dropped, depth = process.stderr.read().split()
            assert process.wait(30) == 0
        os.close(reader)
        assert int(dropped) > 9000
        assert int(depth) <= 200
        assert time.perf_counter() - start < 30  # with the start of Python
        return float(longest)

    in_time_blocking(slowest, 0.5)
