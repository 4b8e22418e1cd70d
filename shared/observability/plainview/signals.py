"""The library's own metrics, all of them; `observe()` exposes them."""

from __future__ import annotations

from .catalogue import Bounded, Catalogue, Metric
from .settings import LATENCY_BUCKETS

PLATFORM = Catalogue("plainview")

_HTTP = {
    "method": Bounded(10),
    "path": Bounded(1000),
    "status_code": Bounded(60),
    "app_name": Bounded(10),
}
HTTP_REQUESTS = PLATFORM.external(
    Metric("http_requests_total", "counter", "Total HTTP requests", "", _HTTP)
)
HTTP_REQUEST_DURATION = PLATFORM.external(
    Metric(
        "http_request_duration_seconds",
        "histogram",
        "HTTP request duration, in seconds",
        "seconds",
        _HTTP,
        LATENCY_BUCKETS,
    )
)
HTTP_REQUESTS_IN_PROGRESS = PLATFORM.external(
    Metric(
        "http_requests_in_progress",
        "gauge",
        "Total HTTP requests currently in progress",
        "",
        {"method": Bounded(10), "app_name": Bounded(10)},
    )
)

SERVICE_INFO = PLATFORM.gauge(
    "service_info",
    "1, with the version and environment that run",
    labels={"version": Bounded(10), "environment": Bounded(10)},
)
SERVICE_READY = PLATFORM.gauge("service_ready", "1 if the service takes requests")
DEPENDENCY_UP = PLATFORM.gauge(
    "dependency_up", "1 if the last check passed", labels={"dependency": Bounded(20)}
)
DEPENDENCY_LATENCY = PLATFORM.gauge(
    "dependency_latency_seconds",
    "Duration of the last check",
    unit="seconds",
    labels={"dependency": Bounded(20)},
)

_PROCESS = (
    Metric("process_cpu_seconds_total", "counter", "User and system CPU time", "seconds"),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory", "bytes"),
    Metric("process_virtual_memory_bytes", "gauge", "Virtual memory (Linux)", "bytes"),
    Metric("process_open_fds", "gauge", "Open file descriptors"),
    Metric("process_max_fds", "gauge", "Most open file descriptors"),
    Metric("process_start_time_seconds", "gauge", "Start, Unix time", "seconds"),
)
for _metric in _PROCESS:
    PLATFORM.external(_metric)
_GENERATION = {"generation": ("0", "1", "2")}
PLATFORM.external(
    Metric("python_gc_collections_total", "counter", "Collections of garbage", "", _GENERATION)
)
PLATFORM.external(
    Metric("python_gc_objects_collected_total", "counter", "Objects freed", "", _GENERATION)
)
PLATFORM.external(
    Metric("python_gc_objects_uncollectable_total", "counter", "Objects not freed", "", _GENERATION)
)
PLATFORM.external(
    Metric(
        "python_info",
        "gauge",
        "1, with the version of Python",
        "",
        {
            name: Bounded(1)
            for name in ("implementation", "major", "minor", "patchlevel", "version")
        },
    )
)

CPU_LIMIT = PLATFORM.gauge(
    "container_cpu_limit_cores", "CPU limit of the container, else of the machine", unit="cores"
)
MEMORY_LIMIT = PLATFORM.gauge(
    "container_memory_limit_bytes",
    "Memory limit of the container, else of the machine",
    unit="bytes",
)
EVENT_LOOP_LAG = PLATFORM.histogram(
    "event_loop_lag_seconds",
    "How much later than asked the event loop came back, sampled",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

DB_SYSTEMS = ("mongodb", "redis")
DB_OPERATION_DURATION = PLATFORM.histogram(
    "db_client_operation_duration_seconds",
    "Duration of database commands, failed ones too",
    buckets=(0.001, 0.0025, *LATENCY_BUCKETS),
    labels={"db_system_name": DB_SYSTEMS, "db_operation_name": Bounded(60)},
)
DB_OPERATION_FAILURES = PLATFORM.counter(
    "db_client_operation_failures_total",
    "Database commands that failed",
    labels={
        "db_system_name": DB_SYSTEMS,
        "error_type": ("timeout", "unavailable", "duplicate_key", "rejected", "other"),
    },
)
DB_CONNECTIONS = PLATFORM.gauge(
    "db_client_connections",
    "Connections of the pool",
    labels={"db_system_name": DB_SYSTEMS, "state": ("idle", "used")},
)
DB_CONNECTIONS_MAX = PLATFORM.gauge(
    "db_client_connections_max",
    "Most connections the pool may open",
    labels={"db_system_name": DB_SYSTEMS},
)
DB_CONNECTION_FAILURES = PLATFORM.counter(
    "db_client_connection_failures_total",
    "Connections that could not be made or had from the pool",
    labels={"db_system_name": DB_SYSTEMS},
)

HTTP_CLIENT_DURATION = PLATFORM.histogram(
    "http_client_request_duration_seconds",
    "Duration of outgoing requests until the headers of the reply",
    buckets=LATENCY_BUCKETS,
    labels={
        "upstream": Bounded(20),
        "method": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
        "status_class": ("1xx", "2xx", "3xx", "4xx", "5xx", "error"),
    },
)
HTTP_CLIENT_FAILURES = PLATFORM.counter(
    "http_client_request_failures_total",
    "Outgoing requests without a reply",
    labels={
        "upstream": Bounded(20),
        "error_type": ("connect", "timeout", "protocol", "cancelled", "other"),
    },
)

LOG_TYPES = ("general", "error", "security")
LOG_LINES = PLATFORM.counter(
    "telemetry_log_lines_total",
    "Log lines written",
    labels={"level": ("debug", "info", "warning", "error", "critical"), "log_type": LOG_TYPES},
)
LOG_LINES_DROPPED = PLATFORM.counter(
    "telemetry_log_lines_dropped_total",
    "Log lines dropped because the queue was full",
    labels={"log_type": LOG_TYPES},
)
LOG_QUEUE_DEPTH = PLATFORM.gauge("telemetry_log_queue_depth", "Log lines waiting")
SPANS_EXPORTED = PLATFORM.counter(
    "telemetry_spans_exported_total",
    "Spans handed to the exporter",
    labels={"outcome": ("success", "failure")},
)
SPANS_DROPPED = PLATFORM.counter(
    "telemetry_spans_dropped_total", "Spans dropped because the queue was full"
)
SPAN_QUEUE_DEPTH = PLATFORM.gauge("telemetry_span_queue_depth", "Spans waiting")
PARTS = (
    *("execution", "http_client", "logs", "metrics", "middleware", "mongo"),
    *("redis", "shutdown", "traces", "other"),
)
TELEMETRY_ERRORS = PLATFORM.counter(
    "telemetry_errors_total",
    "Errors inside the telemetry, swallowed",
    labels={"part": PARTS},
)
