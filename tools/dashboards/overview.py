"""Overview, real time: is it well, and what is going on."""

from __future__ import annotations

from tools import alerts
from tools.dashboards.board import SERVICES, Dashboard
from tools.dashboards.panels import (
    BAD,
    GOOD,
    PLAIN,
    WARN,
    Json,
    Panel,
    Query,
    coloured,
    column,
    lines,
    logs,
    organize,
    stat,
    steps,
    table,
    timed,
)
from tools.dashboards.right_now import business

SERVICE = f"{{{SERVICES}}}"
ERRORS = f'{{{SERVICES},status_code=~"5.."}}'
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
def _health() -> list[Panel]:
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
                f"min by (service, dependency) (dependency_up{SERVICE})",
                "{{service}}: {{dependency}}",
                instant=True,
            ),
            mappings=UP,
            thresholds=steps((1, GOOD), base=BAD),
            no_data="not scraped",
            size=(24, 4),
        ),
    ]


def _firing() -> list[Panel]:
    runbooks: list[Json] = [
        {
            "type": "value",
            "options": {
                alert.name: {"text": alert.runbook, "index": index}
                for index, alert in enumerate(alerts.ALERTS)
            },
        }
    ]
    started = f'process_start_time_seconds{{service!="",{SERVICES}}}'
    seen = f"count by (service) (count_over_time({started}[1h]))"
    return [
        table(
            "Firing alerts",
            "What fires in Prometheus, without the watchdog. Open the runbook first. The history "
            "and who was told is in Grafana's alert list.",
            Query(
                f"sum by (alertname, severity, service, runbook) (label_replace({FIRING},"
                ' "runbook", "$1", "alertname", "(.*)"))',
                instant=True,
                format="table",
            ),
            transformations=[
                organize(
                    {
                        "severity": "Severity", "alertname": "Alert", "service": "Service",
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
            ("Is it well?", _health()),
            ("Alerts and restarts", _firing()),
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
