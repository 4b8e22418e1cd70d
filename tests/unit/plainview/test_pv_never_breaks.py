"""Whatever it is given, the library does not break the service; what does not work is said."""

import asyncio
import functools
import json
import logging
import uuid
from types import ModuleType

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

import plainview
from plainview import Catalogue, ObservabilitySettings, observe, stdlib_logs, tracing
from plainview.testing import captured_logs, captured_spans
from tests.support.processes import python


class Hostile:
    """Raises at whatever is asked of it."""

    def __str__(self):
        raise RuntimeError("str")

    __repr__ = __str__


CIRCLE: dict[str, object] = {}
CIRCLE["self"] = CIRCLE
VALUES = [
    *(None, 0, -1, 2**70, 1.5, float("nan"), "", "\ud800", "a\x00b", "%d %s", b"\xff", [], {}),
    *(CIRCLE, uuid.uuid4(), ValueError("x"), Hostile(), object(), Hostile, lambda: 1),
]


def _enter(manager):
    with manager:
        pass


def _log(value):
    log = plainview.get_logger()
    log.info(value)
    log.info("text %d", value)
    log.info("text", value, value)  # noqa: PLE1205
    log.info("text", event=value, level=value, component=value, exc_info=value, self=value)
    log.bind(event=value).warning("text", user_id=value)
    log.exception(value)
    log.log(30, value, x=value)
    asyncio.run(log.ainfo(value, event=value))
    structlog.get_logger().error(value, event=value)
    for fields in ({"msg": value, "args": (value,)}, {"event": value, "component": value}):
        stdlib_logs.HANDLER.handle(logging.makeLogRecord({"name": "x", "levelno": 30, **fields}))


def _metrics(value):
    own = Catalogue("hostile")
    counter = own.counter("a_total", "a", labels={"kind": ("a", "b")})
    bounded = own.gauge("b", "b", labels={"name": plainview.Bounded(2)})
    timed = own.histogram("c_seconds", "c", buckets=(1.0,))
    counter.inc(value, kind="a")
    counter.inc(kind=value)
    counter.inc(other=value)
    bounded.set(value, name=value)
    bounded.replace({(value,): value} if isinstance(value, str) else value)
    timed.observe(value)
    _enter(timed.time(other=value))


def _executed(value):
    @plainview.log_execution(arguments=True, span=True)
    def function(argument):
        return argument

    assert function(value) is value
    plainview.log_execution(functools.partial(function, value))()


# What is called while requests are served; the value goes wherever one can be given.
CALLS = {
    "batch_span": lambda value: _enter(plainview.batch_span(value, [value], system=value)),
    "bind_user": plainview.bind_user,
    "consume_span": lambda value: _enter(plainview.consume_span(value, value, message_id=value)),
    "flush_logs": lambda value: plainview.flush_logs(0.1),
    "get_logger": _log,
    "guarded": lambda value: _enter(plainview.guarded(value)),
    "inject_context": lambda value: plainview.inject_context(),
    "log_execution": _executed,
    "mask": plainview.mask,
    "mask_text": plainview.mask_text,
    "new_request_id": lambda value: plainview.new_request_id(),
    "produce_span": lambda value: _enter(plainview.produce_span(value)),
    "request_context": lambda value: _enter(plainview.request_context(value)),
    "request_id": lambda value: plainview.request_id(),
    "trace_id": lambda value: plainview.trace_id(),
    "user_pseudonym": plainview.user_pseudonym,
    "Catalogue": _metrics,
}
# What is called while the service is built: a wrong argument is an error there, at once.
BUILDS = {
    *("Alert", "Bounded", "Check", "CheckFailed", "CounterSpec", "GaugeSpec", "HistogramSpec"),
    *("Metric", "Observability", "ObservabilitySettings", "Slo", "configure_logging", "observe"),
    *("observe_httpx", "observe_mongo", "observe_redis", "observe_sqlalchemy", "set_log_level"),
}


def test_every_public_function_is_called_here():
    public = {name for name in plainview.__all__ if callable(getattr(plainview, name))}
    assert public - {"LabelValues"} == CALLS.keys() | BUILDS


def test_what_can_be_imported_is_named():
    modules = (name for name, value in vars(plainview).items() if isinstance(value, ModuleType))
    found = {name for name in vars(plainview) if not name.startswith("_")} - {*modules}
    assert set(plainview.__all__) == found


@pytest.mark.parametrize("name", CALLS)
def test_hostile_arguments_do_not_raise(name, monkeypatch):
    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    for value in VALUES:
        with plainview.request_context():
            CALLS[name](value)


def test_nor_in_a_request(monkeypatch):
    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    app = FastAPI()

    @app.get("/{number}")
    def everything(number: int):
        for call in CALLS.values():
            call(VALUES[number])

    observe(app, ObservabilitySettings(service_name="hostile"))
    with TestClient(app) as client:
        replies = [client.get(f"/{number}").status_code for number in range(len(VALUES))]
    assert set(replies) == {200}


def test_what_a_line_says_of_odd_arguments():
    log = plainview.get_logger()
    with captured_logs() as lines:
        log.info("discount %d for %s", "ten")  # noqa: PLE1206
        log.info("100% done", n=1)
        log.info("event", event="other")
        with plainview.request_context():
            structlog.contextvars.bind_contextvars(tenant="acme")
            plainview.bind_user(42)
            log.info("bound")
            structlog.contextvars.clear_contextvars()
        plainview.get_logger().bind(a=1).info("warned", b=2)
    assert [line["event"] for line in lines] == [
        *("discount %d for %s ('ten',)", "100% done", "event", "bound", "warned")
    ]
    assert lines[2]["event_"] == "other"
    assert lines[3]["tenant"] == "acme"
    assert lines[3]["user_id"] == plainview.user_pseudonym("42")
    assert (lines[4]["a"], lines[4]["b"]) == (1, 2)


# --- the environment ---


UNDERSTOOD = [
    # as compose and people write them
    ("LOG_LEVEL", "WARN", "log_level", "warning"),
    ("PLAINVIEW_LOG_LEVEL", "Fatal", "log_level", "critical"),
    ("LOG_FORMAT", "JSON", "log_format", "json"),
    ("METRICS_ALLOW", "", "allow", None),
    ("PLAINVIEW_ALLOW", "", "allow", None),
    ("ENVIRONMENT", "", "environment", "development"),
    ("OTEL_SERVICE_NAME", "", "service_name", "service"),
    ("OTEL_TRACES_SAMPLER_ARG", "", "trace_sample_ratio", 1.0),
    ("USER_HASH_KEY", "", "user_hash_key", None),
    ("PLAINVIEW_TRACES", "", "traces", True),
    ("PLAINVIEW_TRACES", "false", "traces", False),
    ("PLAINVIEW_CHECK_INTERVAL_S", "7", "check_interval_s", 7),
]
REFUSED = [
    ("LOG_LEVEL", "loud", "log_level", "info"),
    ("LOG_FORMAT", "xml", "log_format", "auto"),
    ("OTEL_TRACES_SAMPLER_ARG", "often", "trace_sample_ratio", 1.0),
    ("PLAINVIEW_TRACE_SAMPLE_RATIO", "7", "trace_sample_ratio", 1.0),
    ("PLAINVIEW_LOG_QUEUE_SIZE", "-5", "log_queue_size", 10_000),
    ("PLAINVIEW_METRICS", "perhaps", "metrics", True),
    ("METRICS_ALLOW", "everybody", "allow", ()),  # nobody, rather than anybody
    ("PLAINVIEW_TRACE", "false", "traces", True),
    ("PLAINVIEW_SPANS_BY", "magic", "spans_by", "plainview"),
]


@pytest.mark.parametrize("row", [*UNDERSTOOD, *REFUSED], ids=lambda row: f"{row[0]}={row[1]}")
def test_variables_that_do_not_fit_are_told_and_not_used(monkeypatch, row):
    variable, text, name, value = row
    monkeypatch.setenv(variable, text)
    settings = ObservabilitySettings()
    assert getattr(settings, name) == value
    assert [variable in sentence for sentence in settings.told] == [True] * (row in REFUSED)
    app = FastAPI()
    with captured_logs() as lines:
        observe(app, settings)
    told = [line["reason"] for line in lines if line["event"] == "telemetry.degraded"]
    assert told == settings.told
    with TestClient(app) as client:
        assert client.get("/docs").status_code == 200


def test_a_misspelled_variable_names_the_right_one(monkeypatch):
    monkeypatch.setenv("PLAINVIEW_TRACE_SAMPLE_RATE", "0.1")
    (sentence,) = ObservabilitySettings().told
    assert sentence.endswith("PLAINVIEW_TRACE_SAMPLE_RATIO is")


@pytest.mark.parametrize("values", [{"trace": False}, {"trace_sample_ratio": 7}, {"allow": "x"}])
def test_a_wrong_argument_is_an_error_at_once(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        ObservabilitySettings(service_name="x", **values)


def test_the_operators_names_are_everywhere(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-gateway")
    words = "deployment.environment.name=production,service.version=2.3.4,service.instance.id=pod-7"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{words},team=rewards")
    given = ObservabilitySettings(service_name="gateway", environment="qa", metrics=False)
    settings = given.identified()
    resource = tracing._resource(given).attributes
    assert resource["service.name"] == settings.service_name == "shop-gateway"
    assert resource["deployment.environment.name"] == settings.environment == "production"
    assert resource["service.version"] == settings.service_version == "2.3.4"
    assert (resource["service.instance.id"], resource["team"]) == ("pod-7", "rewards")
    app = FastAPI()
    observability = observe(app, given)
    assert observability.settings == settings
    with captured_logs() as lines:
        plainview.get_logger().info("named")
    assert (lines[0]["service"], lines[0]["environment"]) == ("shop-gateway", "production")


PROGRAM = """
import sys
if "taken" in sys.argv:
    from prometheus_client import Counter, Gauge
    Counter("http_requests_total", "mine", ["x"])
    Gauge("service_ready", "mine")
from plainview import Catalogue, ObservabilitySettings, flush_logs, observe
from fastapi import FastAPI
from fastapi.testclient import TestClient

app = FastAPI()
app.get("/items/{item}")(lambda item: item)
own = Catalogue("mine")
if "taken" in sys.argv:
    own.gauge("process_open_fds", "x")
observe(app, ObservabilitySettings(service_name="told", log_format="json"), catalogue=own)
for _ in range(2):
    with TestClient(app) as client:
        assert client.get("/items/1").status_code == 200
        assert client.get("/health/ready").status_code == 200
        assert client.get("/metrics").status_code == 200
"""


COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"
TAKEN = ["http_requests_total", "service_ready", "process_open_fds"]


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        (["OTEL_PROPAGATORS=b3,baggage"], [], ["OTEL_PROPAGATORS=b3,baggage"]),
        (
            ["OTEL_BSP_MAX_QUEUE_SIZE=-1", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=many"],
            [],
            ["OTEL_BSP_MAX_QUEUE_SIZE=-1", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=many"],
        ),
        (["OTEL_BSP_SCHEDULE_DELAY=0"], [], ["OTEL_BSP_SCHEDULE_DELAY=0"]),
        (["TRACE_SAMPLE_RATIO=abc"], [], ["TRACE_SAMPLE_RATIO is not used"]),
        (["log_level=loud"], [], ["log_level is not used"]),
        (
            ["OTEL_EXPORTER_OTLP_PROTOCOL=grpc", COLLECTOR],
            [],
            ["opentelemetry-exporter-otlp-proto-grpc"],
        ),
        (["OTEL_TRACES_EXPORTER=zipkin", COLLECTOR], [], ["OTEL_TRACES_EXPORTER=zipkin"]),
        ([], ["taken"], TAKEN),
        (["LOG_LEVEL=WARN", "METRICS_ALLOW=", "OTEL_PROPAGATORS="], [], []),
    ],
)
def test_a_start_with_odd_settings_works_and_says_so(variables, arguments, words):
    done = python(PROGRAM, *arguments, **dict(each.split("=", 1) for each in variables))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = [line["reason"] for line in lines if line["event"] == "telemetry.degraded"]
    for word in words:
        assert len([sentence for sentence in told if word in sentence]) == 1, told
    assert len(told) == len(words)
    assert "Traceback" not in done.stdout + done.stderr


def test_spans_are_exported_in_a_second_lifespan_too(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    app = FastAPI()
    observe(app, ObservabilitySettings(service_name="again", shutdown_timeout_s=0.2))
    for _ in range(2):
        with TestClient(app) as client, captured_spans() as spans:
            client.get("/docs")
            assert tracing.PIPELINE.batch is not None
        assert len(spans) == 1
        assert tracing.PIPELINE.batch is None
