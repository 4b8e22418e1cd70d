"""Overview, real time: is it well, and what is going on."""

from __future__ import annotations

from monitoring import alerts
from monitoring.dashboards.board import SERVICES, Dashboard
from monitoring.dashboards.panels import (
    BAD,
    WARN,
    Panel,
    Query,
    coloured,
    lines,
    logs,
    steps,
)
from monitoring.dashboards.right_now import business
from monitoring.dashboards.state import firing, health

SERVICE = f"{{{SERVICES}}}"
ERRORS = f'{{{SERVICES},status_code=~"5.."}}'


def _requests() -> list[Panel]:
    rate = f"sum by (service) (rate(http_requests_total{SERVICE}[$__rate_interval]))"
    failed = (
        f"(sum by (service) (rate(http_requests_total{ERRORS}[$__rate_interval])) or {rate} * 0)"
    )
    return [
        lines(
            "Requests and errors per second",
            "Requests by service, and those that ended with a status of 500 or above; probes "
            "and scrapes left out.",
            Query(rate, "{{service}}"),
            Query(failed, "{{service}} errors"),
            overrides=[coloured("/ errors$/", BAD)],
            unit="reqps",
            size=(8, 8),
        ),
        lines(
            "Error ratio",
            "Share of requests that ended with a status of 500 or above. Above "
            f"{alerts.ERROR_RATIO:.0%} over five minutes somebody is called.",
            Query(f"{failed} / ({rate} > 0)", "{{service}}"),
            unit="percentunit",
            thresholds=steps((alerts.ERROR_RATIO, BAD)),
            no_data="no requests",
            size=(8, 8),
        ),
        lines(
            "Latency, 95th percentile",
            "95 of 100 requests were faster. A dot is one real request: click it to open its "
            f"trace. Above {alerts.LATENCY_S} s for five minutes there is a message.",
            Query(
                "histogram_quantile(0.95, sum by (le, service) "
                f"(rate(http_request_duration_seconds_bucket{SERVICE}[$__rate_interval]))) >= 0",
                "{{service}}",
                exemplars=True,
            ),
            unit="s",
            thresholds=steps((alerts.LATENCY_S, BAD)),
            no_data="no requests",
            size=(8, 8),
        ),
    ]  # fmt: skip


def _resources() -> list[Panel]:
    return [
        lines(
            "CPU, of its limit",
            "Processor time used, as a share of what the container or machine allows. Above "
            f"{alerts.CPU_RATIO:.0%} for ten minutes there is a message: add a replica.",
            Query(
                f"max by (service) (rate(process_cpu_seconds_total{SERVICE}[$__rate_interval])"
                f" / on (service, instance) container_cpu_limit_cores{SERVICE})",
                "{{service}}",
            ),
            unit="percentunit",
            thresholds=steps((alerts.CPU_RATIO, WARN)),
        ),
        lines(
            "Memory, of its limit",
            "Resident memory as a share of what the container or machine allows. Above "
            f"{alerts.MEMORY_RATIO:.0%} for five minutes there is a message.",
            Query(
                f"max by (service) (process_resident_memory_bytes{SERVICE}"
                f" / on (service, instance) container_memory_limit_bytes{SERVICE})",
                "{{service}}",
            ),
            unit="percentunit",
            thresholds=steps((alerts.MEMORY_RATIO, WARN)),
        ),
    ]


def overview() -> Dashboard:
    """What a person wants to know first: does it work, and what is going on."""
    return Dashboard(
        uid="er-overview",
        title="Overview",
        why="Is the platform well, and what is going on right now?",
        refresh="5s",
        since="now-15m",
        rows=[
            ("Is it well?", health()),
            ("Alerts and restarts", firing()),
            ("Requests", _requests()),
            ("Business, right now", business()),
            ("Resources", _resources()),
            (
                "Newest errors",
                [
                    logs(
                        "Errors and refusals",
                        "Lines of kind error and security. Open one for its trace.",
                        f'{{log_type=~"error|security", {SERVICES}}}',
                        no_data="no line in this time",
                    )
                ],
            ),
        ],
    )
