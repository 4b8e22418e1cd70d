"""The first dashboard to look at: is it well, what fires, failed and slow requests."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from plainview.catalogue import Alert

from . import state
from .board import Dashboard, Row
from .config import Kit
from .panels import BAD, WIDTH, Panel, Query, by, coloured, lines, logs, number
from .promql import SERVER_ERRORS, rate, where
from .system import errors, latency, limits

LEVELS = 'level=~"warning|error|critical"'
TROUBLE = where(LEVELS)
SECURITY = "Newest security warnings"


def _requests() -> Panel:
    every = rate("http_requests_total", "service")
    failed = f"{rate('http_requests_total', labels=SERVER_ERRORS)} or sum({every}) * 0"
    return lines(
        "Requests and errors per second",
        "Requests by service, and those of all that ended with a status of 500 or above; probes "
        "and scrapes left out.",
        by("service", every),
        Query(failed, "errors"),
        overrides=[coloured("errors", BAD)],
        unit="reqps",
    )


def newest(kit: Kit) -> Panel:
    """Lines that say that something is wrong with a service."""
    variables = "${__url_time_range}&${environment:queryparam}&${service:queryparam}"
    url = f"/d/{kit.uid('logs')}?viewPanel={number(SECURITY)}&{variables}"
    return logs(
        "Newest warnings and errors",
        "The newest 100 lines, without those of the kind security: wrong passwords of users would "
        "hide the rest. A click shows all fields, and leads to the trace.",
        where(LEVELS, 'log_type!="security"'),
        limit=100,
        links=[{"title": SECURITY, "url": url, "targetBlank": False}],
        no_data="no warning and no error in this time",
    )


def security() -> Panel:
    """Lines that say what somebody was refused, or tried."""
    return logs(
        SECURITY,
        "The newest 100 lines of the kind security: failed sign-ins, refused tokens, changed "
        "rights. Some are usual; many of one kind in a short time are an attack.",
        where(LEVELS, 'log_type="security"'),
        limit=100,
        no_data="no security warning in this time",
    )


def overview(
    kit: Kit,
    alerts: Sequence[Alert],
    tiles: Iterable[Panel] = (),
    beside: Sequence[Panel] = (),
    more: Iterable[Row] = (),
) -> Dashboard:
    """The dashboard: `tiles` come after those of the services, `beside` beside the alerts.

    `more` are further rows. Panels of `beside` have a size.
    """
    t = kit.thresholds
    services = [state.readiness(service) for service in kit.services]
    left = WIDTH - sum(panel.size[0] for panel in beside if panel.size)
    return Dashboard(
        kit,
        "overview",
        title="Overview",
        why="Is everything well, and what is going on right now?",
        refresh="5s",
        since="now-15m",
        first=[
            state.verdict(kit),
            *services,
            state.dependencies(),
            *tiles,
            state.firing(kit, alerts, left),
            *beside,
            *(replace(panel, size=(8, 8)) for panel in (_requests(), errors(t), latency(t))),
        ],
        rows=[
            *more,
            *(
                [Row("Warnings and errors", [newest(kit), security()])]
                if "loki" in kit.parts
                else []
            ),
            Row("Replicas", [state.restarts(kit), *limits(t)], (8, 8)),
        ],
    )
