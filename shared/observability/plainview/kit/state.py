"""Panels of the current state, for an overview: readiness, dependencies, alerts, restarts."""

from __future__ import annotations

from collections.abc import Iterable

from plainview.catalogue import Alert

from .config import Kit
from .panels import (
    BAD,
    GOOD,
    PLAIN,
    READY,
    UP,
    WARN,
    Json,
    Panel,
    Query,
    cells,
    column,
    organize,
    stat,
    steps,
    table,
    timed,
)
from .promql import SERVICE_MATCHERS

ENVIRONMENT = 'environment=~"$environment"'
CRITICAL = 'ALERTS{alertstate="firing",severity="critical"}'
FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
VERDICT = [
    timed("2", "all well", GOOD),
    timed("1", "a part is missing", WARN),
    timed("0", "look below", BAD),
]

# The states below are instant queries: over a range, the last value of a service that died would
# still be shown as its state.


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
            instant=True,
        ),
        mappings=VERDICT,
        thresholds=steps((1, WARN), (2, GOOD), base=BAD),
        no_data="nothing scraped",
        size=(6, 4),
    )


def readiness(service: str) -> Panel:
    """Not ready also if no replica answers; no data if Prometheus has no replica as a target."""
    ours = f'{{{ENVIRONMENT},service="{service}"}}'
    return stat(
        service.capitalize(),
        f"Readiness of {service} over all its replicas, as its own /health/ready says.",
        Query(f"min(service_ready{ours}) or min(up{ours}) * 0", service, instant=True),
        mappings=READY,
        thresholds=steps((1, GOOD), base=BAD),
        no_data="not scraped",
        size=(4, 4),
    )


def dependencies() -> Panel:
    """The state of each service's dependencies, as the service reports it."""
    return stat(
        "Dependencies",
        "What each service says of what it needs, checked every two seconds. One that is "
        "down: the service's line dependency.failed says why.",
        Query(
            f"min by (service, dependency) (dependency_up{{{SERVICE_MATCHERS}}})",
            "{{service}}: {{dependency}}",
            instant=True,
        ),
        mappings=UP,
        thresholds=steps((1, GOOD), base=BAD),
        no_data="not scraped",
        size=(24, 4),
    )


def firing(kit: Kit, alerts: Iterable[Alert]) -> Panel:
    """The alerts that fire, each with its runbook."""
    runbooks: Json = {
        "type": "value",
        "options": {
            alert.name: {"text": alert.runbook, "index": index}
            for index, alert in enumerate(alerts)
        },
    }
    address = kit.runbook("${__value.text}")
    link = {"title": "Open the runbook", "url": address, "targetBlank": True}
    severities = {"critical": BAD, "warning": WARN, "ticket": PLAIN}
    named = f'label_replace({FIRING}, "runbook", "$1", "alertname", "(.*)")'
    # alerts of other programs have no `service`, only `job`
    named = f'label_replace({named}, "service", "$1", "job", "(.+)")'
    return table(
        "Firing alerts",
        "What fires in Prometheus, without the watchdog. Open the runbook first. The history "
        "and who was told is in Grafana's alert list.",
        *cells(f"sum by (alertname, severity, service, runbook) ({named})"),
        transformations=[
            organize(
                {
                    "severity": "Severity",
                    "alertname": "Alert",
                    "service": "Where",
                    "runbook": "Runbook",
                    "Value": "How many",
                }
            )
        ],
        overrides=[
            column("Runbook", mappings=[runbooks], links=[link] if address else []),
            column(
                "Severity",
                mappings=[timed(name, name, colour) for name, colour in severities.items()],
                custom__cellOptions={"type": "color-text"},
            ),
        ],
        no_data="no alert fires",
        size=(16, 6),
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
            instant=True,
        ),
        no_data="not scraped",
        size=(8, 6),
    )
