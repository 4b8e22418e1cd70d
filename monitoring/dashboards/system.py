"""System performance of any observed service: latency, errors, resources, databases, calls."""

from __future__ import annotations

from monitoring import alerts
from monitoring.dashboards.board import SERVICES, Dashboard
from monitoring.dashboards.panels import (
    BAD,
    WARN,
    Panel,
    Query,
    column,
    heatmap,
    lines,
    organize,
    steps,
    table,
)
from monitoring.dashboards.protection import protection

SERVICE = f"{{{SERVICES}}}"
BUCKETS = f"http_request_duration_seconds_bucket{SERVICE}"
RATE = "[$__rate_interval]"
REQUESTS = f"rate(http_requests_total{SERVICE}{RATE})"
ERRORS = f'rate(http_requests_total{{{SERVICES},status_code=~"5.."}}{RATE})'
ENDPOINT = "service, method, path"


def share_of_errors(by: str) -> str:
    """Errors of all requests; 0 where there are only good ones."""
    total = f"sum by ({by}) ({REQUESTS})"
    return f"(sum by ({by}) ({ERRORS}) or {total} * 0) / ({total} > 0)"


def quantile(part: float, bucket: str, by: str) -> str:
    """A quantile of a histogram; without observations there is none."""
    return f"histogram_quantile({part}, sum by (le, {by}) (rate({bucket}{RATE}))) >= 0"


def _latency() -> list[Panel]:
    return [
        heatmap(
            "Latency of all requests",
            "How many requests took how long. A second band above the first is a group of slow "
            "ones: a dot is one request, click it to open its trace.",
            Query(
                f"sum by (le) (increase({BUCKETS}{RATE}))", "{{le}}",
                exemplars=True, format="heatmap",
            ),
            size=(12, 9),
        ),
        lines(
            "Latency: median, 95 and 99 of 100",
            f"Over the chosen services. The alert ApiLatencyP95 looks at {alerts.LATENCY_S} s "
            "for the second line of each service. A dot is one request: click it.",
            *(
                Query(
                    f"histogram_quantile({part}, sum by (le) (rate({BUCKETS}{RATE}))) >= 0",
                    name, exemplars=part == 0.99,
                )
                for part, name in ((0.5, "P50"), (0.95, "P95"), (0.99, "P99"))
            ),
            unit="s",
            thresholds=steps((alerts.LATENCY_S, BAD)),
            size=(12, 9),
        ),
        lines(
            "Latency by service, 95 of 100",
            "Which service is slow. The gateway waits for the others, so it is never faster.",
            Query(quantile(0.95, BUCKETS, "service"), "{{service}}", exemplars=True),
            unit="s",
            thresholds=steps((alerts.LATENCY_S, BAD)),
            size=(12, 8),
        ),
        table(
            "Endpoints, slowest first",
            "P95, requests a second and share of errors of each endpoint; the slowest 20.",
            *(
                Query(expr, instant=True, format="table")
                for expr in (
                    f"topk(20, {quantile(0.95, BUCKETS, ENDPOINT)})",
                    f"sum by ({ENDPOINT}) ({REQUESTS}) > 0",
                    share_of_errors(ENDPOINT),
                )
            ),
            transformations=[
                {"id": "merge", "options": {}},
                organize(
                    {
                        "service": "Service", "method": "Method", "path": "Endpoint",
                        "Value #A": "P95", "Value #B": "Requests", "Value #C": "Errors",
                    }
                ),
            ],
            overrides=[
                column("P95", unit="s"),
                column("Requests", unit="reqps"),
                column("Errors", unit="percentunit"),
            ],
            no_data="no request in this time",
            size=(12, 8),
        ),
    ]  # fmt: skip


def _errors() -> list[Panel]:
    return [
        lines(
            "Error ratio by service",
            "Share of requests that ended with a status of 500 or above. Above the line for a "
            "minute somebody is called.",
            Query(share_of_errors("service"), "{{service}}"),
            unit="percentunit",
            thresholds=steps((alerts.ERROR_RATIO, BAD)),
            size=(8, 8),
        ),
        lines(
            "Errors by endpoint",
            "Requests that ended with a status of 500 or above; the ten endpoints with most.",
            Query(
                f"topk(10, sum by (service, path) ({ERRORS})"
                f" or sum by (service, path) ({REQUESTS}) * 0)",
                "{{service}} {{path}}",
            ),
            unit="reqps",
            size=(8, 8),
        ),
        lines(
            "Requests by status",
            "All replies. 401, 403, 409 and 429 are refusals and no errors; 503 and 504 are.",
            Query(f"sum by (status_code) ({REQUESTS})", "{{status_code}}"),
            unit="reqps",
            stacked=True,
            size=(8, 8),
        ),
    ]


def _resources() -> list[Panel]:
    def used(expr: str, limit: str) -> str:
        return (
            f"max by (service, instance) ({expr} / on (service, instance) ({limit}{SERVICE} > 0))"
        )

    return [
        lines(
            "CPU of each replica, of its limit",
            "Processor time used, as a share of what the container or machine allows. One process "
            "uses one core at most: more needs more replicas.",
            Query(
                "topk(20, "
                + used(
                    f"rate(process_cpu_seconds_total{SERVICE}{RATE})", "container_cpu_limit_cores"
                )
                + ")",
                "{{service}} {{instance}}",
            ),
            unit="percentunit",
            thresholds=steps((alerts.CPU_RATIO, WARN)),
            size=(8, 8),
        ),
        lines(
            "Memory of each replica, of its limit",
            "Resident memory as a share of what the container or machine allows. At the limit the "
            "kernel ends the process.",
            Query(
                "topk(20, "
                + used(f"process_resident_memory_bytes{SERVICE}", "container_memory_limit_bytes")
                + ")",
                "{{service}} {{instance}}",
            ),
            unit="percentunit",
            thresholds=steps((alerts.MEMORY_RATIO, WARN)),
            size=(8, 8),
        ),
        lines(
            "Event-loop lag, 99 of 100",
            "How late the event loop came back. Beyond some ms something blocks it: work on the "
            "CPU, or a call that does not await.",
            Query(
                quantile(0.99, f"event_loop_lag_seconds_bucket{SERVICE}", "service"), "{{service}}"
            ),
            unit="s",
            size=(8, 8),
        ),
        lines(
            "Requests in progress",
            "Requests begun and not answered. A line that only rises: a stuck upstream.",
            Query(f"sum by (service) (http_requests_in_progress{SERVICE})", "{{service}}"),
            size=(12, 7),
        ),
        lines(
            "Open files, of the most",
            "Sockets are files too. At 100 % no connection can be made or taken.",
            Query(
                f"max by (service) (process_open_fds{SERVICE} / process_max_fds{SERVICE})",
                "{{service}}",
            ),
            unit="percentunit",
            size=(12, 7),
        ),
    ]


def _databases() -> list[Panel]:
    def durations(system: str) -> str:
        # reads that wait for new data are slow on purpose
        which = f'{SERVICES},db_system_name="{system}",db_operation_name!~".*_BLOCK"'
        return f"db_client_operation_duration_seconds_bucket{{{which}}}"

    return [
        lines(
            "MongoDB, 95 of 100",
            "Duration of commands as the service sees it, by service. Above the line MongoSlow.",
            Query(quantile(0.95, durations("mongodb"), "service"), "{{service}}", exemplars=True),
            unit="s",
            thresholds=steps((alerts.DB_SLOW_S, WARN)),
            size=(8, 8),
        ),
        lines(
            "Redis, 95 of 100",
            "Duration of commands as the service sees it. Redis gets 300 ms, then it goes without.",
            Query(quantile(0.95, durations("redis"), "service"), "{{service}}", exemplars=True),
            unit="s",
            size=(8, 8),
        ),
        lines(
            "Connections used, of the pool",
            "A full pool makes requests wait, then fail with 503. Above the line MongoSlow.",
            Query(
                "max by (service, db_system_name) (db_client_connections"
                f'{{{SERVICES},state="used"}} / ignoring (state)'
                f" (db_client_connections_max{SERVICE} > 0))",
                "{{service}} {{db_system_name}}",
            ),
            unit="percentunit",
            thresholds=steps((alerts.POOL_RATIO, WARN)),
            size=(8, 8),
        ),
        lines(
            "Failed commands",
            "Commands of a database that failed, by kind. duplicate_key and rejected are answers, "
            "the others are failures.",
            Query(
                "topk(10, sum by (db_system_name, error_type)"
                f" (rate(db_client_operation_failures_total{SERVICE}{RATE})))",
                "{{db_system_name}} {{error_type}}",
            ),
            unit="ops",
            size=(8, 8),
        ),
        lines(
            "Failed connections",
            "Connections that could not be made or had from the pool. Above the line "
            "MongoFailures or RedisDown.",
            Query(
                "sum by (service, db_system_name)"
                f" (rate(db_client_connection_failures_total{SERVICE}{RATE}))",
                "{{service}} {{db_system_name}}",
            ),
            unit="cps",
            thresholds=steps((alerts.CONNECTION_FAILURES, BAD)),
            size=(8, 8),
        ),
        lines(
            "Commands",
            "Commands a second, by service and database.",
            Query(
                "sum by (service, db_system_name)"
                f" (rate(db_client_operation_duration_seconds_count{SERVICE}{RATE}))",
                "{{service}} {{db_system_name}}",
            ),
            unit="ops",
            size=(8, 8),
        ),
    ]


def _calls() -> list[Panel]:
    return [
        lines(
            "Calls of other services, 95 of 100",
            "Duration of outgoing requests until the headers of the reply, by upstream.",
            Query(
                quantile(
                    0.95, f"http_client_request_duration_seconds_bucket{SERVICE}",
                    "service, upstream",
                ),
                "{{service}} to {{upstream}}",
            ),
            unit="s",
            size=(12, 8),
        ),
        lines(
            "Calls without a reply",
            "Outgoing requests that got none, by upstream and reason.",
            Query(
                "topk(10, sum by (upstream, error_type)"
                f" (rate(http_client_request_failures_total{SERVICE}{RATE})))",
                "{{upstream}} {{error_type}}",
            ),
            unit="reqps",
            size=(12, 8),
        ),
    ]  # fmt: skip


def system() -> Dashboard:
    """Where time and errors come from, for any service that plainview observes."""
    return Dashboard(
        uid="er-system",
        title="System performance",
        why="Which endpoint is slow or fails, and which resource or dependency is the reason.",
        rows=[
            ("Latency", _latency()),
            ("Errors", _errors()),
            ("Resources", _resources()),
            ("Databases", _databases()),
            ("Calls of other services", _calls()),
            ("Event rewards: what protects the platform", protection()),
        ],
    )
