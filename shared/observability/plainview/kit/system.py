"""System performance of any observed service: latency, errors, resources, databases, calls."""

from collections.abc import Iterable
from dataclasses import replace

from . import databases
from .board import Dashboard, Row, endpoint_links
from .config import Kit, Thresholds
from .panels import (
    BAD,
    BAR,
    PLAIN,
    WARN,
    Panel,
    Query,
    bars,
    by,
    column,
    heatmap,
    lines,
    merged,
    sorted_by,
    steps,
    text_by_steps,
)
from .promql import SERVER_ERRORS, SERVICE, error_ratio, highest, quantile, rate, total

DURATION = "http_request_duration_seconds"
ENDPOINT = "service, method, path"
REPLICA = "on (service, instance)"
CPU = f"rate(process_cpu_seconds_total{SERVICE}[$__rate_interval])"
CPU_LIMIT = f"(container_cpu_limit_cores{SERVICE} > 0)"
MEMORY = f"process_resident_memory_bytes{SERVICE}"
MEMORY_LIMIT = f"(container_memory_limit_bytes{SERVICE} > 0)"


def latency(t: Thresholds) -> Panel:
    """The 95th percentile of each service."""
    return lines(
        "Latency by service, 95 of 100",
        "95 of 100 requests were faster. A service that waits for others is never faster than "
        "they are. A dot is one request: click it to open its trace. Above the line for five "
        "minutes there is a message.",
        by("service", quantile(0.95, DURATION, "service"), exemplars=True),
        unit="s", bad=t.latency_s, no_data="no request in this time",
    )  # fmt: skip


def errors(t: Thresholds) -> Panel:
    """The share of failed requests of each service."""
    return lines(
        "Error ratio by service",
        "Share of requests that ended with a status of 500 or above. Above the line for a "
        "minute somebody is called.",
        by("service", error_ratio()),
        unit="percentunit", bad=t.error_ratio, no_data="no request in this time",
    )  # fmt: skip


def _endpoints(kit: Kit) -> Panel:
    failed = text_by_steps((kit.thresholds.error_ratio, BAD), base=PLAIN)
    return merged(
        "Endpoints, slowest first",
        "P95 (95 of 100 requests were faster), requests a second and share of errors; the 20 "
        "slowest. A click on an endpoint leads to its log lines and to its traces.",
        {"service": "Service", "method": "Method", "path": "Endpoint"},
        {
            "P95": (f"topk(20, {quantile(0.95, DURATION, ENDPOINT)})", {"unit": "s", "width": 90}),
            "Requests": (
                f"{rate('http_requests_total', ENDPOINT)} > 0", {"unit": "reqps", "width": 110},
            ),
            "Errors": (
                error_ratio(ENDPOINT),
                {"unit": "percentunit", "decimals": 1, **failed, "width": 80},
            ),
        },
        transformations=[sorted_by("P95", descending=True)],
        overrides=[
            column("Service", width=100),
            column("Method", width=90),
            column("Endpoint", links=endpoint_links(kit)),
        ],
        size=(16, 11),
    )  # fmt: skip


def _nearest_limit(kit: Kit) -> Panel:
    """What runs out first: shares of limits, of the worst replica."""
    shares = {
        "CPU": f"max({CPU} / {REPLICA} {CPU_LIMIT})",
        "memory": f"max({MEMORY} / {REPLICA} {MEMORY_LIMIT})",
        "open files": highest("process_open_fds", "", f"{SERVICE} / process_max_fds{SERVICE}"),
    }
    if any(each.pooled for each in databases.systems(kit)):
        shares["database connections"] = f"max{databases.POOL}"
    return bars(
        "How near the limit",
        "Of the worst replica, the share in use. Orange: look at it today. At 100 % requests wait, "
        "then fail; memory at 100 % ends the process. Rows below show each replica.",
        *(Query(expr, name) for name, expr in shares.items()),
        unit="percentunit", maximum=1, decimals=0,
        thresholds=steps((kit.thresholds.cpu_ratio, WARN), (0.95, BAD), base=BAR),
        no_data="not scraped", size=(8, 11),
    )  # fmt: skip


def _statuses() -> Panel:
    return lines(
        "Requests by status",
        "All replies. 401, 403, 409 and 429 are refusals and no errors; 503 and 504 are.",
        by("status_code", rate("http_requests_total", "status_code")),
        unit="reqps", stacked=True,
    )  # fmt: skip


def _more(t: Thresholds) -> list[Panel]:
    each = "service, path"
    failed = rate("http_requests_total", each, SERVER_ERRORS)
    return [
        heatmap(
            "Latency of all requests",
            "How many requests took how long. A second band above the first is a group of slow "
            "ones.",
            f"{DURATION}_bucket{SERVICE}",
        ),
        lines(
            "Latency: median, 95 and 99 of 100",
            f"Over the chosen services. The alert ApiLatencyP95 looks at {t.latency_s} s "
            "for the second line of each service. A dot is one request: click it.",
            *(
                Query(quantile(part, DURATION), f"P{part * 100:.0f}", exemplars=part == 0.99)
                for part in (0.5, 0.95, 0.99)
            ),
            unit="s", bad=t.latency_s,
        ),
        lines(
            "Errors by endpoint",
            "Requests that ended with a status of 500 or above; the ten endpoints with most.",
            by(each, f"topk(10, {failed} or {rate('http_requests_total', each)} * 0)"),
            unit="reqps", values=True, size=(24, 8),
        ),
    ]  # fmt: skip


def limits(t: Thresholds) -> list[Panel]:
    """CPU and memory of each replica as a share of its limit, the 20 highest."""

    def share(used: str, limit: str) -> Query:
        highest_first = f"topk(20, max by (service, instance) ({used} / {REPLICA} {limit}))"
        return by("service, instance", highest_first)

    return [
        lines(
            "CPU of each replica, of its limit",
            "Processor time used, as a share of what the container or machine allows. One process "
            "uses one core at most: more needs more replicas.",
            share(CPU, CPU_LIMIT), unit="percentunit", warn=t.cpu_ratio,
        ),
        lines(
            "Memory of each replica, of its limit",
            "Resident memory as a share of what the container or machine allows. At the limit the "
            "kernel ends the process.",
            share(MEMORY, MEMORY_LIMIT), unit="percentunit", warn=t.memory_ratio,
        ),
    ]  # fmt: skip


def _event_loop() -> list[Panel]:
    return [
        lines(
            "Event-loop lag, 99 of 100",
            "How late the event loop came back. Beyond some ms something blocks it: work on the "
            "CPU, or a call that does not await.",
            by("service", quantile(0.99, "event_loop_lag_seconds", "service")), unit="s",
        ),
        lines(
            "Requests in progress",
            "Requests begun and not answered. A line that only rises: a stuck upstream.",
            by("service", total(f"http_requests_in_progress{SERVICE}", "service")),
        ),
    ]  # fmt: skip


def _calls() -> list[Panel]:
    duration = quantile(0.95, "http_client_request_duration_seconds", "service, upstream")
    kinds = "upstream, error_type"
    return [
        lines(
            "Calls of other services, 95 of 100",
            "Duration of outgoing requests until the headers of the reply, by upstream.",
            Query(duration, "{{service}} to {{upstream}}"), unit="s",
        ),
        lines(
            "Calls without a reply",
            "Outgoing requests to other services that got none, by upstream and reason.",
            by(kinds, f"topk(10, {rate('http_client_request_failures_total', kinds)})"),
            unit="reqps",
        ),
    ]  # fmt: skip


def system(kit: Kit, more: Iterable[Row] = ()) -> Dashboard:
    """The dashboard of where time and errors come from; `more` are further rows."""
    t, panels = kit.thresholds, databases.panels(kit)
    return Dashboard(
        kit,
        "system",
        title="System performance",
        why="Which endpoint is slow or fails, and which resource or dependency is the reason.",
        first=[
            *(replace(panel, size=(8, 8)) for panel in (latency(t), errors(t), _statuses())),
            _endpoints(kit),
            _nearest_limit(kit),
        ],
        rows=[
            *([Row("Databases", panels)] if panels else []),
            *([Row("Calls of other services", _calls())] if "http_client" in kit.parts else []),
            Row("Replicas", [*limits(t), *_event_loop()]),
            Row("More of latency and errors", _more(t)),
            *more,
        ],
    )
