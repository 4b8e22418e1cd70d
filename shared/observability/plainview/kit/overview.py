"""The first dashboard to look at: state, firing alerts, failed and slow requests, resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plainview.catalogue import Alert

from . import state
from .board import Dashboard, Row
from .config import Kit
from .panels import BAD, Panel, by, coloured, lines, logs
from .promql import SERVER_ERRORS, SERVICE_MATCHERS, rate
from .system import errors, latency, limits


def _requests() -> Panel:
    every = rate("http_requests_total", "service")
    failed = f"({rate('http_requests_total', 'service', SERVER_ERRORS)} or {every} * 0)"
    return lines(
        "Requests and errors per second",
        "Requests by service, and those that ended with a status of 500 or above; probes "
        "and scrapes left out.",
        by("service", every),
        by("service", failed, "errors"),
        overrides=[coloured("/ errors$/", BAD)],
        unit="reqps",
    )


def _newest() -> Panel:
    return logs(
        "Errors and refusals",
        "Lines of kind error and security. Open one for its trace.",
        f'{{log_type=~"error|security", {SERVICE_MATCHERS}}}',
        no_data="no line in this time",
    )


def overview(
    kit: Kit, alerts: Sequence[Alert], tiles: Iterable[Panel] = (), more: Iterable[Row] = ()
) -> Dashboard:
    """The dashboard; `tiles` are put beside those of the services, `more` are further rows."""
    t = kit.thresholds
    services = [state.readiness(service) for service in kit.services]
    return Dashboard(
        kit,
        "overview",
        title="Overview",
        why="Is the platform well, and what is going on right now?",
        refresh="5s",
        since="now-15m",
        rows=[
            Row("Is it well?", [state.verdict(kit), *services, *tiles, state.dependencies()]),
            Row("Alerts and restarts", [state.firing(kit, alerts), state.restarts(kit)]),
            Row("Requests", [_requests(), errors(t), latency(t)], (8, 8)),
            *more,
            Row("Resources", limits(t)),
            *([Row("Newest errors", [_newest()])] if "loki" in kit.parts else []),
        ],
    )
