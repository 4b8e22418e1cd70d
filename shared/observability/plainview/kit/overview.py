"""The first dashboard to look at: is it well, what fires, failed and slow requests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from plainview.catalogue import Alert

from .board import Dashboard, Row, link
from .config import Kit
from .panels import (
    BAD,
    COLOURED_TEXT,
    GOOD,
    ONE_IS_GOOD,
    PLAIN,
    READY,
    UP,
    WARN,
    WIDTH,
    Json,
    Panel,
    Query,
    by,
    coloured,
    column,
    lines,
    logs,
    merged,
    number,
    sorted_by,
    stat,
    steps,
    timed,
)
from .promql import ENVIRONMENT, SERVER_ERRORS, SERVICE_MATCHERS, rate, where
from .system import errors, latency, limits

LEVELS = 'level=~"warning|error|critical"'
TROUBLE = where(LEVELS)
SECURITY = "Newest security warnings"


def _verdict(kit: Kit) -> Panel:
    """2: all well, 1: a replica or a dependency is down, 0: a service is, or a critical alert."""
    ours = f'{{{ENVIRONMENT},service=~"{"|".join(kit.services)}"}}'
    present = f"count(count by (service) (up{ours} == 1)) == bool {len(kit.services)}"
    calm = 'scalar(absent(ALERTS{alertstate="firing",severity="critical"}) or on () vector(0))'
    ready = f"min(service_ready{ours}) * (1 + min(dependency_up{ours}))"
    return stat(
        "Verdict",
        "All well: every replica is there and ready, all that they need is up, no critical "
        "alert fires. A part is missing: a replica or a dependency. Else a service is gone or "
        "somebody was called: look at the tiles beside it, then at the alerts.",
        Query(f"({present}) * {ready} * {calm}", "system"),
        mappings=[
            timed("2", "all well", GOOD),
            timed("1", "a part is missing", WARN),
            timed("0", "look below", BAD),
        ],
        fill=True, thresholds=steps((1, WARN), (2, GOOD), base=BAD),
        no_data="nothing scraped", text="value", size=(4, 4),
    )  # fmt: skip


def _readiness(service: str) -> Panel:
    """Not ready also if no replica answers; no data if Prometheus has no replica as a target."""
    ours = f'{{{ENVIRONMENT},service="{service}"}}'
    return stat(
        service.capitalize(),
        f"Readiness of {service} over all its replicas, as its own /health/ready says.",
        Query(f"min(service_ready{ours}) or min(up{ours}) * 0", service),
        mappings=READY, thresholds=ONE_IS_GOOD, no_data="not scraped", text="value", size=(3, 4),
    )  # fmt: skip


def _dependencies() -> Panel:
    return stat(
        "Dependencies",
        "What the services need, as they say, checked every two seconds: down if one of them "
        "cannot use it. The service's line dependency.failed says why.",
        by("dependency", f"min by (dependency) (dependency_up{{{SERVICE_MATCHERS}}})"),
        mappings=UP, thresholds=ONE_IS_GOOD, no_data="not scraped", size=(7, 4),
    )  # fmt: skip


def _since(severity: str) -> str:
    """When the alerts of a severity that fire began, in s since 1970."""
    which = f'alertname!="Watchdog",severity=~"{severity}"'
    expr = f'(ALERTS_FOR_STATE{{{which}}} and ignoring (alertstate) ALERTS{{alertstate="firing"}})'
    # alerts of other programs have no `service`, only `job`
    for label, source in (("service", "job"), ("graph", "alertname"), ("runbook", "alertname")):
        expr = f'label_replace({expr}, "{label}", "$1", "{source}", "(.+)")'
    return f"min by (severity, alertname, service, graph, runbook) ({expr})"


def _shown_as(texts: Mapping[str, str]) -> list[Json]:
    """Show these values as other texts."""
    return [{"type": "value", "options": {value: {"text": texts[value]} for value in texts}}]


def _firing(kit: Kit, alerts: Sequence[Alert], width: int) -> Panel:
    """The alerts that fire, the worst first, each with its graph and its runbook."""

    def graph(alert: Alert) -> str:
        if not alert.dashboards:
            return kit.uid("overview")
        view = f"?viewPanel={number(alert.panel)}" if alert.panel else ""
        return f"{kit.uid(alert.dashboards[0])}{view}"

    book = kit.runbook("${__value.text}")
    links = [{**link("Open the runbook", book), "targetBlank": True}] if book else []
    # A table is sorted by one column: severity and time in one number.
    order = f"{_since('critical')} + 4e10 or {_since('critical|warning')} + 2e10 or {_since('.+')}"
    colours = {"critical": BAD, "warning": WARN, "ticket": PLAIN}
    severities = [timed(name, name, colour) for name, colour in colours.items()]
    graphs = _shown_as({alert.name: graph(alert) for alert in alerts})
    books = _shown_as({alert.name: alert.runbook for alert in alerts})
    to_graph = {"title": "Open the graph", "url": "/d/${__data.fields.graph.text}"}
    return merged(
        "Firing alerts",
        "What fires, the worst first; an empty table is good. The runbook says what to do, the "
        "alert's name leads to the graph that shows the fault. Who was told: Alerts, above.",
        {"severity": "Severity", "alertname": "Alert", "service": "Where", "runbook": "Runbook"},
        {
            "Since": (f"{_since('.+')} * 1000", {"unit": "dateTimeFromNow"}),
            "order": (order, {"hidden": True}),
        },
        transformations=[sorted_by("order", descending=True)],
        overrides=[
            column("Severity", mappings=severities, cellOptions=COLOURED_TEXT, width=90),
            column("Alert", links=[to_graph]),
            column("graph", mappings=graphs, hidden=True),
            column("Runbook", mappings=books, links=links),
            column("Since", width=130),
        ],
        size=(width, 7),
    )


def _requests() -> Panel:
    every = rate("http_requests_total", "service")
    failed = f"{rate('http_requests_total', labels=SERVER_ERRORS)} or sum({every}) * 0"
    return lines(
        "Requests and errors per second",
        "Requests by service, and those of all that ended with a status of 500 or above; probes "
        "and scrapes left out.",
        by("service", every), Query(failed, "errors"),
        overrides=[coloured("errors", BAD)], unit="reqps",
    )  # fmt: skip


def _restarts(kit: Kit) -> Panel:
    started = f"process_start_time_seconds{{{kit.selector},{SERVICE_MATCHERS}}}"
    seen = f"count by (service) (count_over_time({started}[1h]))"
    gone = f"(count by (service) ({started}) or {seen} * 0)"
    return stat(
        "Restarts, last hour",
        "Processes that began anew or went away in the last hour, by service. More than "
        f"{kit.thresholds.restarts} per replica in 15 minutes: RestartLoop. A roll-out is one "
        "each.",
        by("service", f"sum by (service) (changes({started}[1h])) + {seen} - {gone}"),
        no_data="not scraped", size=(8, 8),
    )  # fmt: skip


def newest(kit: Kit) -> Panel:
    """Lines that say that something is wrong with a service."""
    variables = "${__url_time_range}&${environment:queryparam}&${service:queryparam}"
    url = f"/d/{kit.uid('logs')}?viewPanel={number(SECURITY)}&{variables}"
    return logs(
        "Newest warnings and errors",
        "The newest 100 lines, without those of the kind security: wrong passwords of users would "
        "hide the rest. A click shows all fields, and leads to the trace.",
        where(LEVELS, 'log_type!="security"'), limit=100, links=[link(SECURITY, url)],
        no_data="no warning and no error in this time",
    )  # fmt: skip


def security() -> Panel:
    """Lines that say what somebody was refused, or tried."""
    return logs(
        SECURITY,
        "The newest 100 lines of the kind security: failed sign-ins, refused tokens, changed "
        "rights. Some are usual; many of one kind in a short time are an attack.",
        where(LEVELS, 'log_type="security"'), limit=100,
        no_data="no security warning in this time",
    )  # fmt: skip


def overview(
    kit: Kit, alerts: Sequence[Alert],
    tiles: Iterable[Panel] = (), beside: Sequence[Panel] = (), more: Iterable[Row] = (),
) -> Dashboard:  # fmt: skip
    """The dashboard: `tiles` come after those of the services, `beside` beside the alerts.

    `more` are further rows. Panels of `beside` have a size.
    """
    t = kit.thresholds
    left = WIDTH - sum(panel.size[0] for panel in beside if panel.size)
    of_logs = [Row("Warnings and errors", [newest(kit), security()])] if "loki" in kit.parts else []
    return Dashboard(
        kit,
        "overview",
        title="Overview",
        why="Is everything well, and what is going on right now?",
        refresh="5s",
        since="now-15m",
        first=[
            _verdict(kit),
            *(_readiness(service) for service in kit.services),
            _dependencies(),
            *tiles,
            _firing(kit, alerts, left),
            *beside,
            *(replace(panel, size=(8, 8)) for panel in (_requests(), errors(t), latency(t))),
        ],
        rows=[*more, *of_logs, Row("Replicas", [_restarts(kit), *limits(t)], (8, 8))],
    )
