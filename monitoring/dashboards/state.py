"""Is it well: a verdict, services, dependencies, alerts and restarts; rows of the overview."""

from __future__ import annotations

from monitoring import alerts
from monitoring.dashboards.board import SERVICES
from monitoring.dashboards.panels import (
    BAD,
    GOOD,
    PLAIN,
    WARN,
    Json,
    Panel,
    Query,
    column,
    organize,
    stat,
    steps,
    table,
    timed,
)

ENVIRONMENT = 'environment=~"$environment"'
CRITICAL = 'ALERTS{alertstate="firing",severity="critical"}'
FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
READY = [timed("1", "ready", GOOD), timed("0", "not ready", BAD)]
UP = [timed("1", "up", GOOD), timed("0", "down", BAD)]
VERDICT = [
    timed("2", "all well", GOOD),
    timed("1", "a part is missing", WARN),
    timed("0", "look below", BAD),
]


def _verdict() -> str:
    """2: all well, 1: a replica or a dependency is down, 0: a service is, or a critical alert."""
    services = "|".join(alerts.SERVICES)
    ours = f'{{{ENVIRONMENT},service=~"{services}"}}'
    present = f"count(count by (service) (up{ours} == 1)) == bool {len(alerts.SERVICES)}"
    calm = f"scalar(absent({CRITICAL}) or on () vector(0))"
    return f"({present}) * min(service_ready{ours}) * (1 + min(dependency_up{ours})) * {calm}"


def _readiness(service: str) -> str:
    """0 too when no replica answers; no data when none is to be found."""
    ours = f'{{{ENVIRONMENT},service="{service}"}}'
    return f"min(service_ready{ours}) or min(up{ours}) * 0"


# The state is asked for now and not over time: what a dead service said last is no state of it.
def health() -> list[Panel]:
    """One verdict, each service, each dependency."""
    return [
        stat(
            "Verdict",
            "All well: every replica is there and ready, all that they need is up, no critical "
            "alert fires. A part is missing: a replica or a dependency. Else a service is gone or "
            "somebody was called: look at the tiles beside it, then at the alerts.",
            Query(_verdict(), "system", instant=True),
            mappings=VERDICT,
            thresholds=steps((1, WARN), (2, GOOD), base=BAD),
            no_data="nothing scraped",
            size=(6, 4),
        ),
        *(
            stat(
                service.capitalize(),
                f"Readiness of {service} over all its replicas, as its own /health/ready says.",
                Query(_readiness(service), service, instant=True),
                mappings=READY,
                thresholds=steps((1, GOOD), base=BAD),
                no_data="not scraped",
                size=(4, 4),
            )
            for service in alerts.SERVICES
        ),
        stat(
            "Active users today",
            "Users with an authenticated request today in the business time zone; counted "
            "with a HyperLogLog, standard error 0.81 %.",
            Query(f'max(active_users{{{SERVICES},window="day"}})', "today"),
            no_data="none yet",
            size=(6, 4),
        ),
        stat(
            "Dependencies",
            "What each service says of what it needs, checked every two seconds. One that is "
            "down: follow the runbook MongoFailures or RedisDown.",
            Query(
                f"min by (service, dependency) (dependency_up{{{SERVICES}}})",
                "{{service}}: {{dependency}}",
                instant=True,
            ),
            mappings=UP,
            thresholds=steps((1, GOOD), base=BAD),
            no_data="not scraped",
            size=(24, 4),
        ),
    ]


def firing() -> list[Panel]:
    """Alerts that fire, and restarts."""
    runbooks: list[Json] = [
        {
            "type": "value",
            "options": {
                alert.name: {"text": alert.runbook, "index": index}
                for index, alert in enumerate(alerts.ALERTS)
            },
        }
    ]
    named = f'label_replace({FIRING}, "runbook", "$1", "alertname", "(.*)")'
    named = f'label_replace({named}, "service", "$1", "job", "(.+)")'  # of what is no service
    started = f'process_start_time_seconds{{service!="",{SERVICES}}}'
    seen = f"count by (service) (count_over_time({started}[1h]))"
    return [
        table(
            "Firing alerts",
            "What fires in Prometheus, without the watchdog. Open the runbook first. The history "
            "and who was told is in Grafana's alert list.",
            Query(
                f"sum by (alertname, severity, service, runbook) ({named})",
                instant=True,
                format="table",
            ),
            transformations=[
                organize(
                    {
                        "severity": "Severity", "alertname": "Alert", "service": "Where",
                        "runbook": "Runbook", "Value": "How many",
                    }
                )
            ],
            overrides=[
                column(
                    "Runbook",
                    mappings=runbooks,
                    links=[
                        {
                            "title": "Open the runbook",
                            "url": f"{alerts.HANDBOOK}/docs/runbooks/${{__value.text}}.md",
                            "targetBlank": True,
                        }
                    ],
                ),
                column(
                    "Severity",
                    mappings=[
                        timed("critical", "critical", BAD),
                        timed("warning", "warning", WARN),
                        timed("ticket", "ticket", PLAIN),
                    ],
                    custom__cellOptions={"type": "color-text"},
                ),
            ],
            no_data="no alert fires",
            size=(16, 6),
        ),
        stat(
            "Restarts, last hour",
            "Processes that began anew or went away in the last hour, by service. More than "
            f"{alerts.RESTARTS} per replica in 15 minutes: RestartLoop. A roll-out is one each.",
            Query(
                f"sum by (service) (changes({started}[1h])) + {seen}"
                f" - (count by (service) ({started}) or {seen} * 0)",
                "{{service}}",
                instant=True,
            ),
            no_data="not scraped",
            size=(8, 6),
        ),
    ]  # fmt: skip
