"""Overview, real time: is it well, and what is going on."""

from __future__ import annotations

from monitoring.alerts import ALERTS
from monitoring.dashboards.right_now import business
from monitoring.settings import KIT
from plainview.kit import Dashboard, Row, state
from plainview.kit.panels import BAD, Panel, Query, by, coloured, lines, logs, stat
from plainview.kit.promql import SERVER_ERRORS, SERVICE_MATCHERS, highest, rate, where
from plainview.kit.system import errors, latency, limits


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
        errors(KIT.thresholds),
        latency(KIT.thresholds),
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
            Row("Resources", limits(KIT.thresholds)),
            Row(
                "Newest errors",
                [
                    logs(
                        "Errors and refusals",
                        "Lines of kind error and security. Open one for its trace.",
                        f'{{log_type=~"error|security", {SERVICE_MATCHERS}}}',
                        no_data="no line in this time",
                    )
                ],
            ),
        ],
    )
