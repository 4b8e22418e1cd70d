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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from plainview import context, logs, stdlib_logs
from plainview.context import bind_user, request_context
from plainview.log_sink import LogSink
from plainview.record import Record
from plainview.settings import ObservabilitySettings
from plainview.signals import LOG_LINES
from plainview.testing import metric_delta

FIRST = ["timestamp", "level", "event", "service", "environment", "component", "log_type"]
ROOT = Path(__file__).parents[3]


def configure(stream: Any = None, **options: Any) -> None:
    given = {"service_name": "event", "environment": "test", "log_format": "json", **options}
    logs.configure_logging(ObservabilitySettings(**given), stream)


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The lines, of a process configured as the service `event`."""
    seen: list[bytes] = []
    root = logging.getLogger()
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


def only(raw: list[bytes]) -> dict[str, Any]:
    assert len(raw) == 1
    line = raw.pop()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return cast(dict[str, Any], orjson.loads(line))


def test_a_line_has_its_fields_in_order(raw: list[bytes]) -> None:
    configure(io.StringIO(), user_hash_key="k" * 16)
    with (
        request_context("request-1"),
        TracerProvider().get_tracer("t").start_as_current_span("s") as span,
    ):
        bind_user("u1")
        logs.get_logger("db").info("reward.claimed", event_id="e1", n=3)
    line = only(raw)
    ids = ["request_id", "trace_id", "span_id", "user_id"]
    assert list(line) == [*FIRST, *ids, "event_id", "n"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "reward.claimed",
        "service": "event",
        "environment": "test",
        "component": "db",
        "log_type": "general",
        "request_id": "request-1",
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "span_id": f"{span.get_span_context().span_id:016x}",
        "user_id": context.user_pseudonym("u1"),
        "event_id": "e1",
        "n": 3,
    }


def test_log_types(raw: list[bytes]) -> None:
    logs.get_logger("security").error("auth.denied")
    logs.get_logger("job").critical("job.failed")
    logs.get_logger().warning("low")
    assert [orjson.loads(line)["log_type"] for line in raw] == ["security", "error", "general"]
    assert [orjson.loads(line)["level"] for line in raw] == ["error", "critical", "warning"]


def record(status: int, route: str | None = "/", duration_s: float = 0) -> Record:
    return Record("request-1", None, route, method="GET", status=status, duration_s=duration_s)


def test_the_access_line(raw: list[bytes]) -> None:
    with request_context("request-1"):
        logs.access(record(200, "/api/v1/events/{id}", 0.0123456789), {})
    line = only(raw)
    assert line["event"] == "http.request"
    assert (line["level"], line["component"], line["log_type"]) == ("info", "http", "general")
    assert line["request_id"] == "request-1"
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


def test_fields_cannot_pose_as_others(raw: list[bytes]) -> None:
    logs.get_logger().info("e", service="other", level="debug", timestamp="x", user_id="u1")
    line = only(raw)
    assert (line["service"], line["level"]) == ("event", "info")
    assert (line["service_"], line["level_"], line["timestamp_"]) == ("other", "debug", "x")
    assert line["user_id"] == context.user_pseudonym("u1")


def test_everything_is_masked(raw: list[bytes]) -> None:
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
    assert len(raw) == 4
    for line in raw:
        assert secret.encode() not in line
        assert b"***" in line
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
def test_any_text_is_one_valid_line(raw: list[bytes], event: str, value: str) -> None:
    raw.clear()
    logs.get_logger().info(event, value=value, **{value: event})
    logging.getLogger("lib").warning("%s", value)
    assert len(raw) == 2
    for line in raw:
        assert line.count(b"\n") == 1
        assert not re.search(rb"[\x00-\x09\x0b-\x1f]", line)
        assert orjson.loads(line)["level"] in {"info", "warning"}


class Broken(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def test_odd_values_do_not_lose_the_line(raw: list[bytes]) -> None:
    logs.get_logger().error("e", value=Broken(), big=2**80, nan=float("nan"), exc_info=Broken())
    line = only(raw)
    assert line["value"] == "<Broken>"
    assert line["big"] == str(2**80)
    assert line["exception_type"].endswith("Broken")
    # not through a logger: pytest has a handler that raises
    stdlib_logs.HANDLER.handle(logging.LogRecord("lib", 40, "", 0, "%d", ("text",), None))
    assert only(raw)["message"] == "%d ('text',)"


def test_a_line_stays_below_16_kb(raw: list[bytes]) -> None:
    log = logs.get_logger()
    log.info("e", a="x" * 10**6)
    assert only(raw)["a"].startswith("xxx")
    log.info("e" * 10**5, **{f"f{i}": "\0" * 4096 for i in range(60)})
    assert len(raw[0]) < 16_000
    line = only(raw)
    assert line["truncated"] is True
    assert list(line)[:7] == FIRST
    log.info("e", deep=[[["é" * 4000] * 50] * 50] * 50)
    assert len(raw[0]) < 16_000
    assert only(raw)["truncated"] is True


def test_stdlib_records_go_the_same_way(raw: list[bytes]) -> None:
    logging.getLogger("uvicorn.error").info("Started %s", "x")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("pymongo.command").debug("statement")
    logging.getLogger("pymongo.pool").warning("slow", extra={"pool": 3})
    started, slow = (orjson.loads(line) for line in raw)
    assert (started["event"], started["logger"]) == ("log.message", "uvicorn.error")
    assert (started["message"], started["component"]) == ("Started x", "http")
    assert (slow["component"], slow["pool"]) == ("db", 3)


def test_uvicorn_is_taken_over_again_after_its_own_configuration(raw: list[bytes]) -> None:
    from uvicorn import Config

    Config(app=lambda: None)  # sets handlers to stderr
    stdlib_logs.take_over()
    logging.getLogger("uvicorn").info("x")
    logging.getLogger("uvicorn.access").info("GET /")
    assert only(raw)["message"] == "x"
    assert logging.getLogger("uvicorn").handlers == []


def test_levels_change_while_it_runs(raw: list[bytes]) -> None:
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


def test_a_signal_toggles_debug(raw: list[bytes]) -> None:
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
    assert [orjson.loads(line)["event"] for line in raw] == [
        *("log.level_changed", "details", "log.level_changed")
    ]
    assert not any(b"interrupted" in line for line in raw)
    refused: list[bool] = []
    thread = threading.Thread(target=lambda: refused.append(logs.toggle_debug_on_signal()))
    thread.start()
    thread.join()
    assert refused == [False]


def test_a_terminal_gets_it_pretty_and_harmless() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    configure(out, log_format="auto")
    logs.get_logger().error("e\x1b[2J", value="a\nb\x1b]0;x", exc_info=ValueError("v\x1b[2J"))
    assert logs.flush_logs(30)
    configure()
    text = out.getvalue()
    assert "value=a\\nb\\x1b]0;x" in text
    assert "ValueError: v\\x1b[2J" in text
    assert text.count("\x1b") == 2  # the colour of the level
    assert "{" not in text


def test_lines_are_counted(raw: list[bytes]) -> None:
    with metric_delta(LOG_LINES, level="error", log_type="error") as errors:
        for _ in range(3):
            logs.get_logger().error("e")
        assert logs.flush_logs(30)
    assert errors.value == 3


def test_switched_off_nothing_is_written(raw: list[bytes]) -> None:
    configure(logs=False)
    logs.get_logger().error("e")
    logs.access(record(500), {})
    assert raw == []


# The sink alone, on real pipes.


def pipe() -> tuple[int, Any]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "wb", buffering=0)


def full_pipe() -> tuple[int, Any]:
    """One that takes nothing until it is read; `drain` reads what was in it."""
    reader, writer = pipe()
    os.set_blocking(writer.fileno(), False)
    while writer.write(b"-" * 65536):
        pass
    os.set_blocking(writer.fileno(), True)
    os.set_blocking(reader, False)
    return reader, writer


def drain(reader: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(reader, 10**7).lstrip(b"-")
    return b""


LINE = b"x" * 99 + b"\n"


def test_a_stuck_pipe_drops_and_recovers() -> None:
    reader, writer = full_pipe()
    sink = LogSink(writer, size=500, security_wait_s=0.05)
    start = time.perf_counter()
    assert sum(sink.put(LINE, "info", "general") for _ in range(5000)) == 500
    assert time.perf_counter() - start < 10  # 4500 that waited 5 ms each would take 22 s
    # what is left of the queue is for security lines
    assert all(sink.put(LINE, "warning", "security") for _ in range(50))
    assert not sink.put(LINE, "error", "error")
    assert sink.dropped == {"general": 4500, "error": 1, "security": 0}
    assert not sink.flush(0.05)
    got = b""
    while not sink.flush(0.01):
        got += drain(reader)
    assert got + drain(reader) == LINE * 550
    assert (sink.written, sink.depth) == (550, 0)
    assert sink.put(LINE, "info", "general")
    assert sink.flush(30)
    assert drain(reader) == LINE
    os.close(reader)
    writer.close()


def test_security_lines_wait_but_not_for_ever() -> None:
    reader, writer = full_pipe()
    sink = LogSink(writer, size=10, security_wait_s=0.2)
    start = time.perf_counter()
    assert sum(sink.put(LINE, "warning", "security") for _ in range(300)) == 110
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
    os.close(reader)
    writer.close()


async def test_security_lines_do_not_stop_the_event_loop() -> None:
    reader, writer = full_pipe()
    sink = LogSink(writer, size=10, security_wait_s=10)
    while sink.put(LINE, "info", "general"):
        pass
    start = time.perf_counter()
    results = [sink.put(LINE, "warning", "security") for _ in range(105)]
    assert (sum(results), sink.dropped["security"]) == (100, 5)
    assert 0.09 <= time.perf_counter() - start < 5  # 20 ms for each of the 5, and not 10 s
    os.close(reader)
    assert sink.flush(30)
    writer.close()


def test_memory_is_bounded_by_bytes_too() -> None:
    reader, writer = full_pipe()
    sink = LogSink(writer, size=1000)
    assert sum(sink.put(b"x" * 15_000, "info", "general") for _ in range(1000)) == 68  # 1 MB
    os.close(reader)
    assert sink.flush(30)
    assert sink.put(LINE, "info", "general")
    writer.close()


def test_a_closed_pipe_drops_and_a_new_stream_works(tmp_path: Path) -> None:
    reader, writer = pipe()
    os.close(reader)
    sink = LogSink(writer, size=100)
    assert sink.put(LINE, "error", "error")
    assert sink.flush(30)
    assert sink.dropped["error"] == 1
    with (tmp_path / "log").open("wb", buffering=0) as file:
        sink.configure(file, 100, 0.5)
        sink.put(LINE, "info", "general")
        assert sink.flush(30)
    assert (tmp_path / "log").read_bytes() == LINE


def test_after_a_torn_line_the_next_one_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe()
    sink = LogSink(writer)
    real, calls = os.write, []

    def full_disk(fd: int, data: bytes) -> int:
        if fd != writer.fileno():  # other threads write too
            return real(fd, data)
        calls.append(1)
        if len(calls) == 1:
            return real(fd, data[:10])
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full_disk)
    for text in (LINE, b"whole\n", b"again\n"):
        sink.put(text, "info", "general")
        sink.flush(30)
    assert os.read(reader, 1000) == b"x" * 10 + b"\nwhole\nagain\n"
    assert (sink.written, sink.dropped["general"]) == (2, 1)


def test_a_child_of_a_fork_writes_its_own_lines_once() -> None:
    code = """
import os, sys
from plainview import logs
from plainview.record import Record
from plainview.settings import ObservabilitySettings
logs.configure_logging(ObservabilitySettings(service_name="s", log_format="json"))
log = logs.get_logger()
log.info("parent.before")
child = os.fork()
if child == 0:
    log.info("child")
    logs.flush_logs(30)
    os._exit(0)
os.waitpid(child, 0)
log.info("parent.after")  # and no flush: the end of the process does it
"""
    out = run(code).stdout
    events = sorted(orjson.loads(line)["event"] for line in out.splitlines())
    assert events == ["child", "parent.after", "parent.before"]


def run(code: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "shared/observability")}
    environment.pop("PLAINVIEW_STRICT", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=environment,
        timeout=60,
        check=True,
        **options,
    )


def test_a_process_whose_stdout_nobody_reads_goes_on_and_ends() -> None:
    code = """
import sys, time
from plainview import logs
from plainview.record import Record
from plainview.settings import ObservabilitySettings
logs.configure_logging(
    ObservabilitySettings(service_name="s", log_format="json", log_queue_size=200)
)
log, slowest = logs.get_logger(), 0.0
for i in range(5000):
    start = time.perf_counter()
    log.info("e", text="x" * 200)
    logs.access(Record("request-1", method="GET", status=200), {})
    slowest = max(slowest, time.perf_counter() - start)
print(slowest, logs.SINK.dropped["general"], logs.SINK.depth, file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "shared/observability")}
    slowest: list[float] = []
    while len(slowest) < 3 and min(slowest, default=1.0) >= 0.5:
        # again, since the machine may pause for as long; a line that waits does so each time
        reader, writer = os.pipe()  # of 64 KB, never read
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, env=environment
        ) as process:
            os.close(writer)
            assert process.stderr is not None
            longest, dropped, depth = process.stderr.read().split()
            assert process.wait(30) == 0
        os.close(reader)
        slowest.append(float(longest))
        assert int(dropped) > 9000
        assert int(depth) <= 200
        assert time.perf_counter() - start < 30  # with the start of Python
    assert min(slowest) < 0.5
