"""Overview, real time: is it well, and what is going on."""

from __future__ import annotations

from monitoring.alerts import ALERTS
from monitoring.dashboards.right_now import business
from monitoring.settings import KIT
from plainview.kit import Dashboard, Row, state
from plainview.kit.panels import BAD, WARN, Panel, Query, by, coloured, lines, logs, stat, steps
from plainview.kit.promql import SERVER_ERRORS, SERVICE, SERVICES, highest, quantile, rate, where

T = KIT.thresholds


def _health() -> list[Panel]:
    users = stat(
        "Active users today",
        "Users with an authenticated request today in the business time zone; counted "
        "with a HyperLogLog, standard error 0.81 %.",
        Query(highest("active_users", labels=where('window="day"')), "today"),
        no_data="none yet",
        size=(6, 4),
    )
    services = [state.readiness(service) for service in KIT.services]
    return [state.verdict(KIT), *services, users, state.dependencies()]


def _requests() -> list[Panel]:
    every = rate("http_requests_total", "service")
    failed = f"({rate('http_requests_total', 'service', SERVER_ERRORS)} or {every} * 0)"
    return [
        lines(
            "Requests and errors per second",
            "Requests by service, and those that ended with a status of 500 or above; probes "
            "and scrapes left out.",
            by("service", every),
            by("service", failed, "errors"),
            overrides=[coloured("/ errors$/", BAD)],
            unit="reqps",
        ),
        lines(
            "Error ratio",
            "Share of requests that ended with a status of 500 or above. Above "
            f"{T.error_ratio:.0%} over five minutes somebody is called.",
            by("service", f"{failed} / ({every} > 0)"),
            unit="percentunit",
            thresholds=steps((T.error_ratio, BAD)),
            no_data="no requests",
        ),
        lines(
            "Latency, 95th percentile",
            "95 of 100 requests were faster. A dot is one real request: click it to open its "
            f"trace. Above {T.latency_s} s for five minutes there is a message.",
            by(
                "service",
                quantile(0.95, "http_request_duration_seconds", "service"),
                exemplars=True,
            ),
            unit="s",
            thresholds=steps((T.latency_s, BAD)),
            no_data="no requests",
        ),
    ]


def _resources() -> list[Panel]:
    return [
        lines(
            "CPU, of its limit",
            "Processor time used, as a share of what the container or machine allows. Above "
            f"{T.cpu_ratio:.0%} for ten minutes there is a message: add a replica.",
            by(
                "service",
                f"max by (service) (rate(process_cpu_seconds_total{SERVICE}[$__rate_interval])"
                f" / on (service, instance) container_cpu_limit_cores{SERVICE})",
            ),
            unit="percentunit",
            thresholds=steps((T.cpu_ratio, WARN)),
        ),
        lines(
            "Memory, of its limit",
            "Resident memory as a share of what the container or machine allows. Above "
            f"{T.memory_ratio:.0%} for five minutes there is a message.",
            by(
                "service",
                f"max by (service) (process_resident_memory_bytes{SERVICE}"
                f" / on (service, instance) container_memory_limit_bytes{SERVICE})",
            ),
            unit="percentunit",
            thresholds=steps((T.memory_ratio, WARN)),
        ),
    ]


def overview() -> Dashboard:
    """What a person wants to know first: does it work, and what is going on."""
    return Dashboard(
        KIT,
        "overview",
        title="Overview",
        why="Is the platform well, and what is going on right now?",
        refresh="5s",
        since="now-15m",
        rows=[
            Row("Is it well?", _health()),
            Row("Alerts and restarts", [state.firing(KIT, ALERTS), state.restarts(KIT)]),
            Row("Requests", _requests(), (8, 8)),
            Row("Business, right now", business()),
            Row("Resources", _resources()),
            Row(
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
