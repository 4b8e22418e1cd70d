"""Panels of the current state, for an overview: readiness, dependencies, alerts, restarts."""

from collections.abc import Mapping, Sequence

from plainview.catalogue import Alert

from .config import Kit
from .panels import (
    BAD,
    GOOD,
    PLAIN,
    READY,
    UP,
    WARN,
    WIDTH,
    Column,
    Json,
    Panel,
    Query,
    column,
    merged,
    number,
    sorted_by,
    stat,
    steps,
    timed,
)
from .promql import ENVIRONMENT, SERVICE_MATCHERS

CRITICAL = 'ALERTS{alertstate="firing",severity="critical"}'
VERDICT = [
    timed("2", "all well", GOOD),
    timed("1", "a part is missing", WARN),
    timed("0", "look below", BAD),
]


def verdict(kit: Kit) -> Panel:
    """2: all well, 1: a replica or a dependency is down, 0: a service is, or a critical alert."""
    ours = f'{{{ENVIRONMENT},service=~"{"|".join(kit.services)}"}}'
    present = f"count(count by (service) (up{ours} == 1)) == bool {len(kit.services)}"
    calm = f"scalar(absent({CRITICAL}) or on () vector(0))"
    return stat(
        "Verdict",
        "All well: every replica is there and ready, all that they need is up, no critical "
        "alert fires. A part is missing: a replica or a dependency. Else a service is gone or "
        "somebody was called: look at the tiles beside it, then at the alerts.",
        Query(
            f"({present}) * min(service_ready{ours}) * (1 + min(dependency_up{ours})) * {calm}",
            "system",
        ),
        mappings=VERDICT,
        fill=True,
        thresholds=steps((1, WARN), (2, GOOD), base=BAD),
        no_data="nothing scraped",
        text="value",
        size=(4, 4),
    )


def readiness(service: str) -> Panel:
    """Not ready also if no replica answers; no data if Prometheus has no replica as a target."""
    ours = f'{{{ENVIRONMENT},service="{service}"}}'
    return stat(
        service.capitalize(),
        f"Readiness of {service} over all its replicas, as its own /health/ready says.",
        Query(f"min(service_ready{ours}) or min(up{ours}) * 0", service),
        mappings=READY,
        thresholds=steps((1, GOOD), base=BAD),
        no_data="not scraped",
        text="value",
        size=(3, 4),
    )


def dependencies() -> Panel:
    """The state of what the services need, as they report it."""
    return stat(
        "Dependencies",
        "What the services need, as they say, checked every two seconds: down if one of them "
        "cannot use it. The service's line dependency.failed says why.",
        Query(
            f"min by (dependency) (dependency_up{{{SERVICE_MATCHERS}}})",
            "{{dependency}}",
        ),
        mappings=UP,
        thresholds=steps((1, GOOD), base=BAD),
        no_data="not scraped",
        size=(7, 4),
    )


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


def firing(kit: Kit, alerts: Sequence[Alert], width: int = WIDTH) -> Panel:
    """The alerts that fire, the worst first, each with its graph and its runbook."""

    def graph(alert: Alert) -> str:
        if not alert.dashboards:
            return kit.uid("overview")
        view = f"?viewPanel={number(alert.panel)}" if alert.panel else ""
        return f"{kit.uid(alert.dashboards[0])}{view}"

    link = {
        "title": "Open the runbook", "url": kit.runbook("${__value.text}"), "targetBlank": True,
    }  # fmt: skip
    # A table is sorted by one column: severity and time in one number.
    order = f"{_since('critical')} + 4e10 or {_since('critical|warning')} + 2e10 or {_since('.+')}"
    colours = {"critical": BAD, "warning": WARN, "ticket": PLAIN}
    return merged(
        "Firing alerts",
        "What fires, the worst first; an empty table is good. The runbook says what to do, the "
        "alert's name leads to the graph that shows the fault. Who was told: Alerts, above.",
        {"severity": "Severity", "alertname": "Alert", "service": "Where", "runbook": "Runbook"},
        {
            "Since": Column(f"{_since('.+')} * 1000", {"unit": "dateTimeFromNow"}),
            "order": Column(order, {"custom__hidden": True}),
        },
        transformations=[sorted_by("order", descending=True)],
        overrides=[
            column(
                "Severity",
                mappings=[timed(name, name, colour) for name, colour in colours.items()],
                custom__cellOptions={"type": "color-text"},
                custom__width=90,
            ),
            column(
                "Alert",
                links=[{"title": "Open the graph", "url": "/d/${__data.fields.graph.text}"}],
            ),
            column(
                "graph",
                mappings=_shown_as({alert.name: graph(alert) for alert in alerts}),
                custom__hidden=True,
            ),
            column(
                "Runbook",
                mappings=_shown_as({alert.name: alert.runbook for alert in alerts}),
                links=[link] if link["url"] else [],
            ),
            column("Since", custom__width=130),
        ],
        size=(width, 7),
    )


def restarts(kit: Kit) -> Panel:
    """Processes that restarted or vanished, by service."""
    started = f"process_start_time_seconds{{{kit.selector},{SERVICE_MATCHERS}}}"
    seen = f"count by (service) (count_over_time({started}[1h]))"
    return stat(
        "Restarts, last hour",
        "Processes that began anew or went away in the last hour, by service. More than "
        f"{kit.thresholds.restarts} per replica in 15 minutes: RestartLoop. A roll-out is one "
        "each.",
        Query(
            f"sum by (service) (changes({started}[1h])) + {seen}"
            f" - (count by (service) ({started}) or {seen} * 0)",
            "{{service}}",
        ),
        no_data="not scraped",
        size=(8, 8),
    )
