"""System performance of any observed service: latency, errors, resources, databases, calls."""

from __future__ import annotations

from collections.abc import Iterable

from .board import Dashboard, Row
from .config import Kit, Thresholds
from .panels import BAD, WARN, Column, Panel, Query, by, heatmap, lines, merged, steps
from .promql import (
    SERVER_ERRORS,
    SERVICE,
    error_ratio,
    highest,
    quantile,
    rate,
    total,
    where,
)

DURATION = "http_request_duration_seconds"
ENDPOINT = "service, method, path"


def latency(t: Thresholds) -> Panel:
    """The 95th percentile of each service."""
    return lines(
        "Latency by service, 95 of 100",
        "95 of 100 requests were faster. A service that waits for others is never faster than "
        "they are. A dot is one request: click it to open its trace. Above the line for five "
        "minutes there is a message.",
        by("service", quantile(0.95, DURATION, "service"), exemplars=True),
        unit="s",
        thresholds=steps((t.latency_s, BAD)),
        no_data="no request in this time",
    )


def errors(t: Thresholds) -> Panel:
    """The share of failed requests of each service."""
    return lines(
        "Error ratio by service",
        "Share of requests that ended with a status of 500 or above. Above the line for a "
        "minute somebody is called.",
        by("service", error_ratio()),
        unit="percentunit",
        thresholds=steps((t.error_ratio, BAD)),
        no_data="no request in this time",
    )


def _latency(t: Thresholds) -> list[Panel]:
    return [
        heatmap(
            "Latency of all requests",
            "How many requests took how long. A second band above the first is a group of slow "
            "ones: a dot is one request, click it to open its trace.",
            Query(
                total(f"increase({DURATION}_bucket{SERVICE}[$__rate_interval])", "le"),
                "{{le}}",
                exemplars=True,
                format="heatmap",
            ),
            size=(12, 9),
        ),
        lines(
            "Latency: median, 95 and 99 of 100",
            f"Over the chosen services. The alert ApiLatencyP95 looks at {t.latency_s} s "
            "for the second line of each service. A dot is one request: click it.",
            *(
                Query(quantile(part, DURATION), f"P{part * 100:.0f}", exemplars=part == 0.99)
                for part in (0.5, 0.95, 0.99)
            ),
            unit="s",
            thresholds=steps((t.latency_s, BAD)),
            size=(12, 9),
        ),
        latency(t),
        merged(
            "Endpoints, slowest first",
            "P95, requests a second and share of errors of each endpoint; the slowest 20.",
            {"service": "Service", "method": "Method", "path": "Endpoint"},
            {
                "P95": Column(f"topk(20, {quantile(0.95, DURATION, ENDPOINT)})", {"unit": "s"}),
                "Requests": Column(
                    f"{rate('http_requests_total', ENDPOINT)} > 0", {"unit": "reqps"}
                ),
                "Errors": Column(error_ratio(ENDPOINT), {"unit": "percentunit"}),
            },
            no_data="no request in this time",
        ),
    ]


def _errors(t: Thresholds) -> list[Panel]:
    failed = rate("http_requests_total", "service, path", SERVER_ERRORS)
    every = rate("http_requests_total", "service, path")
    return [
        errors(t),
        lines(
            "Errors by endpoint",
            "Requests that ended with a status of 500 or above; the ten endpoints with most.",
            by("service, path", f"topk(10, {failed} or {every} * 0)"),
            unit="reqps",
        ),
        lines(
            "Requests by status",
            "All replies. 401, 403, 409 and 429 are refusals and no errors; 503 and 504 are.",
            by("status_code", rate("http_requests_total", "status_code")),
            unit="reqps",
            stacked=True,
        ),
    ]


def _replicas(title: str, why: str, used: str, limit: str, line: float) -> Panel:
    """The share of its limit that each replica uses; the 20 highest."""
    of_limit = f"{used} / on (service, instance) ({limit}{SERVICE} > 0)"
    return lines(
        title,
        why,
        by("service, instance", f"topk(20, max by (service, instance) ({of_limit}))"),
        unit="percentunit",
        thresholds=steps((line, WARN)),
    )


def limits(t: Thresholds) -> list[Panel]:
    """CPU and memory of each replica as a share of its limit."""
    return [
        _replicas(
            "CPU of each replica, of its limit",
            "Processor time used, as a share of what the container or machine allows. One process "
            "uses one core at most: more needs more replicas.",
            f"rate(process_cpu_seconds_total{SERVICE}[$__rate_interval])",
            "container_cpu_limit_cores",
            t.cpu_ratio,
        ),
        _replicas(
            "Memory of each replica, of its limit",
            "Resident memory as a share of what the container or machine allows. At the limit the "
            "kernel ends the process.",
            f"process_resident_memory_bytes{SERVICE}",
            "container_memory_limit_bytes",
            t.memory_ratio,
        ),
    ]


def _resources(t: Thresholds) -> list[Panel]:
    return [
        *limits(t),
        lines(
            "Event-loop lag, 99 of 100",
            "How late the event loop came back. Beyond some ms something blocks it: work on the "
            "CPU, or a call that does not await.",
            by("service", quantile(0.99, "event_loop_lag_seconds", "service")),
            unit="s",
        ),
        lines(
            "Requests in progress",
            "Requests begun and not answered. A line that only rises: a stuck upstream.",
            by("service", total(f"http_requests_in_progress{SERVICE}", "service")),
        ),
        lines(
            "Open files, of the most",
            "Sockets are files too. At 100 % no connection can be made or taken.",
            by(
                "service",
                highest("process_open_fds", "service", f"{SERVICE} / process_max_fds{SERVICE}"),
            ),
            unit="percentunit",
        ),
    ]


def _duration_of_commands(system: str) -> Query:
    # without commands that wait for new data (_BLOCK), which are slow on purpose
    which = where(f'db_system_name="{system}"', 'db_operation_name!~".*_BLOCK"')
    duration = quantile(0.95, "db_client_operation_duration_seconds", "service", which)
    return by("service", duration, exemplars=True)


def _databases(kit: Kit) -> list[Panel]:
    t = kit.thresholds
    each = "service, db_system_name"
    in_use = where('state="used"')
    used = (
        f"(db_client_connections{in_use} / ignoring (state)"
        f" (db_client_connections_max{SERVICE} > 0))"
    )
    kinds = "db_system_name, error_type"
    durations = {
        "mongodb": lines(
            "MongoDB, 95 of 100",
            "Duration of commands as the service sees it, by service. Above the line MongoSlow.",
            _duration_of_commands("mongodb"),
            unit="s",
            thresholds=steps((t.db_slow_s, WARN)),
        ),
        "redis": lines(
            "Redis, 95 of 100",
            "Duration of commands as the service sees it. Redis gets 300 ms, then it goes without.",
            _duration_of_commands("redis"),
            unit="s",
        ),
    }
    return [
        *(panel for part, panel in durations.items() if part in kit.parts),
        lines(
            "Connections used, of the pool",
            "A full pool makes requests wait, then fail with 503. Above the line MongoSlow.",
            by(each, f"max by ({each}) {used}"),
            unit="percentunit",
            thresholds=steps((t.pool_ratio, WARN)),
        ),
        lines(
            "Failed commands",
            "Commands of a database that failed, by kind. duplicate_key and rejected are answers, "
            "the others are failures.",
            by(kinds, f"topk(10, {rate('db_client_operation_failures_total', kinds)})"),
            unit="ops",
        ),
        lines(
            "Failed connections",
            "Connections that could not be made or had from the pool. Above the line "
            "MongoFailures or RedisDown.",
            by(each, rate("db_client_connection_failures_total", each)),
            unit="cps",
            thresholds=steps((t.connection_failures, BAD)),
        ),
        lines(
            "Commands",
            "Commands a second, by service and database.",
            by(each, rate("db_client_operation_duration_seconds_count", each)),
            unit="ops",
        ),
    ]


def _calls() -> list[Panel]:
    duration = quantile(0.95, "http_client_request_duration_seconds", "service, upstream")
    kinds = "upstream, error_type"
    return [
        lines(
            "Calls of other services, 95 of 100",
            "Duration of outgoing requests until the headers of the reply, by upstream.",
            Query(duration, "{{service}} to {{upstream}}"),
            unit="s",
        ),
        lines(
            "Calls without a reply",
            "Outgoing requests that got none, by upstream and reason.",
            by(kinds, f"topk(10, {rate('http_client_request_failures_total', kinds)})"),
            unit="reqps",
        ),
    ]


def system(kit: Kit, more: Iterable[Row] = ()) -> Dashboard:
    """The dashboard of where time and errors come from; `more` are further rows."""
    t, databases = kit.thresholds, {"mongodb", "redis"}
    return Dashboard(
        kit,
        "system",
        title="System performance",
        why="Which endpoint is slow or fails, and which resource or dependency is the reason.",
        rows=[
            Row("Latency", _latency(t)),
            Row("Errors", _errors(t), (8, 8)),
            Row("Resources", _resources(t), (8, 8)),
            *([Row("Databases", _databases(kit), (8, 8))] if databases & kit.parts else []),
            *([Row("Calls of other services", _calls())] if "http_client" in kit.parts else []),
            *more,
        ],
    )
