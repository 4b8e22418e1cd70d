"""The library's own metrics, all of them; `observe()` exposes them."""

from collections.abc import Mapping

from .catalogue import Bounded, Catalogue, Kind, LabelValues, Metric
from .settings import LATENCY_BUCKETS

LIBRARY_METRICS = Catalogue("plainview")


def _foreign(kind: Kind, labels: Mapping[str, LabelValues], **helps: str) -> list[Metric]:
    """Metrics that starlette-exporter and prometheus_client make, by name."""
    found = []
    for name, text in helps.items():
        unit = next((unit for unit in ("seconds", "bytes") if unit in name), "")
        buckets = LATENCY_BUCKETS if kind == "histogram" else ()
        found.append(LIBRARY_METRICS.external(Metric(name, kind, text, unit, labels, buckets)))
    return found


_CALLER = {"method": Bounded(10), "app_name": Bounded(10)}
_HTTP = {**_CALLER, "path": Bounded(1000), "status_code": Bounded(60)}
(HTTP_REQUESTS,) = _foreign("counter", _HTTP, http_requests_total="Total HTTP requests")
(HTTP_REQUEST_DURATION,) = _foreign(
    "histogram", _HTTP, http_request_duration_seconds="HTTP request duration, in seconds"
)
(HTTP_REQUESTS_IN_PROGRESS,) = _foreign(
    "gauge", _CALLER, http_requests_in_progress="Total HTTP requests currently in progress"
)
# The bound of a metric with several open labels is the lowest of them, for all combinations.
_ROUTE = {"path": Bounded(1000), "app_name": Bounded(1000)}
HTTP_LATE_FAILURES = LIBRARY_METRICS.counter(
    "http_late_failures_total",
    "Exceptions after the reply had begun: its status does not tell of them",
    labels={**_ROUTE, "phase": ("body", "background")},
)
WEBSOCKET_CONNECTIONS = LIBRARY_METRICS.gauge(
    "websocket_connections", "WebSockets that are open", labels={"app_name": Bounded(10)}
)
WEBSOCKET_CLOSED = LIBRARY_METRICS.counter(
    "websocket_connections_closed_total",
    "WebSockets that were closed, by the code of whoever closed first",
    labels={**_ROUTE, "close_code": Bounded(1000)},
)
WEBSOCKET_DURATION = LIBRARY_METRICS.histogram(
    "websocket_connection_duration_seconds",
    "How long WebSockets were open",
    buckets=(0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0),
    labels=_ROUTE,
)
_foreign("counter", {}, process_cpu_seconds_total="User and system CPU time")
_foreign(
    "gauge",
    {},
    process_resident_memory_bytes="Resident memory",
    process_virtual_memory_bytes="Virtual memory (Linux)",
    process_open_fds="Open file descriptors",
    process_max_fds="Most open file descriptors",
    process_start_time_seconds="Start, Unix time",
)
_foreign(
    "counter",
    {"generation": ("0", "1", "2")},
    python_gc_collections_total="Collections of garbage",
    python_gc_objects_collected_total="Objects freed",
    python_gc_objects_uncollectable_total="Objects not freed",
)
_VERSION = ("implementation", "major", "minor", "patchlevel", "version")
_foreign("gauge", {name: Bounded(1) for name in _VERSION}, python_info="1, with Python's version")

SERVICE_INFO = LIBRARY_METRICS.gauge(
    "service_info",
    "1, with the version and environment that run",
    labels={"version": Bounded(10), "environment": Bounded(10)},
    multiprocess_mode="max",
)
_DEPENDENCY = {"dependency": Bounded(20)}
SERVICE_READY = LIBRARY_METRICS.gauge(
    "service_ready", "1 if the service takes requests", multiprocess_mode="min"
)
DEPENDENCY_UP = LIBRARY_METRICS.gauge(
    "dependency_up", "1 if the last check passed", labels=_DEPENDENCY, multiprocess_mode="min"
)
DEPENDENCY_LATENCY = LIBRARY_METRICS.gauge(
    "dependency_latency_seconds",
    "Duration of the last check",
    unit="seconds",
    labels=_DEPENDENCY,
    multiprocess_mode="max",
)

CPU_LIMIT = LIBRARY_METRICS.gauge(
    "container_cpu_limit_cores",
    "CPU limit of the container, else of the machine",
    unit="cores",
    multiprocess_mode="max",
)
MEMORY_LIMIT = LIBRARY_METRICS.gauge(
    "container_memory_limit_bytes",
    "Memory limit of the container, else of the machine",
    unit="bytes",
    multiprocess_mode="max",
)
EVENT_LOOP_LAG = LIBRARY_METRICS.histogram(
    "event_loop_lag_seconds",
    "How much later than asked the event loop came back, sampled",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

# Each instrument makes the series of its database exist at zero.
_DB = {"db_system_name": Bounded(10)}
DB_ERRORS = ("timeout", "unavailable", "duplicate_key", "rejected", "other")
DB_SYSTEMS = (
    *("mongodb", "redis", "postgresql", "mysql", "mariadb", "sqlite", "cockroachdb"),
    *("microsoft.sql_server", "oracle.db", "other_sql"),
)
DB_OPERATION_DURATION = LIBRARY_METRICS.histogram(
    "db_client_operation_duration_seconds",
    "Duration of database commands, failed ones too",
    buckets=(0.001, 0.0025, *LATENCY_BUCKETS),
    labels={"db_system_name": DB_SYSTEMS, "db_operation_name": Bounded(80)},
)
DB_OPERATION_FAILURES = LIBRARY_METRICS.counter(
    "db_client_operation_failures_total",
    "Database commands that failed",
    labels={**_DB, "error_type": DB_ERRORS},
)
DB_CONNECTIONS = LIBRARY_METRICS.gauge(
    "db_client_connections", "Connections of the pool", labels={**_DB, "state": ("idle", "used")}
)
DB_CONNECTIONS_MAX = LIBRARY_METRICS.gauge(
    "db_client_connections_max", "Most connections the pool may open", labels=_DB
)
DB_CONNECTIONS_IDLE_MAX = LIBRARY_METRICS.gauge(
    "db_client_connections_idle_max",
    "Connections that the pool keeps open (SQLAlchemy's pool_size)",
    labels=_DB,
)
DB_CONNECTIONS_OVERFLOW = LIBRARY_METRICS.gauge(
    "db_client_connections_overflow",
    "Connections open beyond those that the pool keeps (SQLAlchemy)",
    labels=_DB,
)
DB_CONNECTION_FAILURES = LIBRARY_METRICS.counter(
    "db_client_connection_failures_total",
    "Connections that could not be made or had from the pool",
    labels=_DB,
)

_UPSTREAM = {"upstream": Bounded(20)}
CLIENT_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CLIENT_ERRORS = ("connect", "timeout", "protocol", "cancelled", "other")
HTTP_CLIENT_DURATION = LIBRARY_METRICS.histogram(
    "http_client_request_duration_seconds",
    "Duration of outgoing requests until the headers of the reply",
    buckets=LATENCY_BUCKETS,
    labels={
        **_UPSTREAM,
        "method": CLIENT_METHODS,
        "status_class": ("1xx", "2xx", "3xx", "4xx", "5xx", "error"),
    },
)
HTTP_CLIENT_FAILURES = LIBRARY_METRICS.counter(
    "http_client_request_failures_total",
    "Outgoing requests without a reply; of httpx clients also those whose reply broke off",
    labels={**_UPSTREAM, "error_type": CLIENT_ERRORS},
)

LOG_TYPES = ("general", "error", "security")
LOG_LINES = LIBRARY_METRICS.counter(
    "telemetry_log_lines_total",
    "Log lines written",
    labels={"level": ("debug", "info", "warning", "error", "critical"), "log_type": LOG_TYPES},
)
LOG_LINES_DROPPED = LIBRARY_METRICS.counter(
    "telemetry_log_lines_dropped_total",
    "Log lines dropped because the queue was full",
    labels={"log_type": LOG_TYPES},
)
LOG_QUEUE_DEPTH = LIBRARY_METRICS.gauge("telemetry_log_queue_depth", "Log lines waiting")
SPANS_EXPORTED = LIBRARY_METRICS.counter(
    "telemetry_spans_exported_total",
    "Spans handed to the exporter",
    labels={"outcome": ("success", "failure")},
)
SPANS_DROPPED = LIBRARY_METRICS.counter(
    "telemetry_spans_dropped_total", "Spans dropped because the queue was full"
)
SPAN_QUEUE_DEPTH = LIBRARY_METRICS.gauge("telemetry_span_queue_depth", "Spans waiting")
WORKERS_APART = LIBRARY_METRICS.gauge(
    "telemetry_workers_apart",
    "1 if other workers of this server have counts of their own (Linux)",
    multiprocess_mode="max",
)
PARTS = (
    *("execution", "http_client", "logs", "metrics", "middleware", "mongo"),
    *("redis", "shutdown", "sqlalchemy", "traces", "other"),
)
TELEMETRY_ERRORS = LIBRARY_METRICS.counter(
    "telemetry_errors_total", "Errors inside the telemetry, swallowed", labels={"part": PARTS}
)
