"""Overview, real time: is it well, and what is going on."""

from __future__ import annotations

from tools.dashboards.board import SERVICES, Dashboard
from tools.dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    Query,
    lines,
    logs,
    stat,
    steps,
    table,
    timed,
)

SERVICE = f"{{{SERVICES}}}"
ERRORS = f'{{{SERVICES},status_code=~"5.."}}'
READY = [timed("1", "ready", GOOD), timed("0", "not ready", BAD)]
UP = [timed("1", "up", GOOD), timed("0", "down", BAD)]


def overview() -> Dashboard:
    """What a person wants to know first: does it work, and what is going on."""
    status = [
        stat(
            "Verdict",
            "1 when every service that is scraped is up and ready. Look at the tiles beside it, "
            "then at the dependencies below.",
            Query(f"min(up{SERVICE}) * min(service_ready)", "system"),
            mappings=[timed("1", "all well", GOOD), timed("0", "look below", BAD)],
            thresholds=steps((1, GOOD), base=BAD),
            no_data="nothing scraped",
            size=(6, 4),
        ),
        *(
            stat(
                service.capitalize(),
                f"Readiness of {service} over all its replicas, as its own /health/ready says.",
                Query(f'min(service_ready{{service="{service}"}})', service),
                mappings=READY,
                thresholds=steps((1, GOOD), base=BAD),
                no_data="not scraped",
                size=(4, 4),
            )
            for service in ("gateway", "auth", "event")
        ),
        stat(
            "Active users today",
            "Users with an authenticated request today in the business time zone; counted "
            "with a HyperLogLog, standard error 0.81 %.",
            Query('max(active_users{window="day"})', "today"),
            no_data="none yet",
            size=(6, 4),
        ),
    ]
    red = [
        lines(
            "Requests per second",
            "Rate of requests by service, probes and scrapes left out.",
            Query(
                f"sum by (service) (rate(http_requests_total{SERVICE}[$__rate_interval]))",
                "{{service}}",
            ),
            unit="reqps",
            size=(8, 8),
        ),
        lines(
            "Error ratio",
            "Share of requests that ended with a status of 500 or above. Above 5 % for five "
            "minutes somebody is called.",
            Query(
                f"(sum by (service) (rate(http_requests_total{ERRORS}[$__rate_interval]))"
                f" or sum by (service) (rate(http_requests_total{SERVICE}[$__rate_interval])) * 0)"
                f" / sum by (service) (rate(http_requests_total{SERVICE}[$__rate_interval]))",
                "{{service}}",
            ),
            unit="percentunit",
            thresholds=steps((0.05, BAD)),
            size=(8, 8),
        ),
        lines(
            "Latency, 95th percentile",
            "95 of 100 requests were faster. A dot is one real request: click it to open its "
            "trace. Above 0.5 s for five minutes there is a message.",
            Query(
                "histogram_quantile(0.95, sum by (le, service) "
                f"(rate(http_request_duration_seconds_bucket{SERVICE}[$__rate_interval])))",
                "{{service}}",
                exemplars=True,
            ),
            unit="s",
            thresholds=steps((0.5, BAD)),
            size=(8, 8),
        ),
    ]
    business = [
        lines(
            "Activity by kind, last five minutes",
            "What users and operators did in the last five minutes.",
            Query("max by (kind) (activity_recent)", "{{kind}}"),
            size=(12, 8),
        ),
        table(
            "Running events",
            "Participants and their share of all members, by running event.",
            Query("max by (event_id) (event_participants)", instant=True, format="table"),
            Query("max by (event_id) (event_participation_rate)", instant=True, format="table"),
            transformations=[
                {"id": "joinByField", "options": {"byField": "event_id", "mode": "outer"}},
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": {"Time": True, "Time 1": True, "Time 2": True},
                        "renameByName": {
                            "event_id": "Event",
                            "Value #A": "Participants",
                            "Value #B": "Share of members",
                        },
                    },
                },
            ],
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "Share of members"},
                    "properties": [{"id": "unit", "value": "percentunit"}],
                }
            ],
            no_data="no running event",
            size=(12, 8),
        ),
    ]
    resources = [
        table(
            "Dependencies",
            "What each service says of what it needs, checked every two seconds.",
            Query("min by (service, dependency) (dependency_up)", instant=True, format="table"),
            transformations=[
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": {"Time": True},
                        "renameByName": {
                            "service": "Service",
                            "dependency": "Dependency",
                            "Value": "State",
                        },
                    },
                }
            ],
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "State"},
                    "properties": [
                        {"id": "mappings", "value": UP},
                        {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                        {"id": "thresholds", "value": steps((1, GOOD), base=BAD)},
                        {"id": "color", "value": {"mode": "thresholds"}},
                    ],
                }
            ],
            size=(8, 8),
        ),
        lines(
            "CPU, of its limit",
            "Processor time used, as a share of what the container or machine allows.",
            Query(
                f"max by (service) (rate(process_cpu_seconds_total{SERVICE}[$__rate_interval])"
                f" / on (service, instance) container_cpu_limit_cores{SERVICE})",
                "{{service}}",
            ),
            unit="percentunit",
            thresholds=steps((0.8, WARN)),
            size=(8, 8),
        ),
        lines(
            "Memory, of its limit",
            "Resident memory as a share of what the container or machine allows.",
            Query(
                f"max by (service) (process_resident_memory_bytes{SERVICE}"
                f" / on (service, instance) container_memory_limit_bytes{SERVICE})",
                "{{service}}",
            ),
            unit="percentunit",
            thresholds=steps((0.85, WARN)),
            size=(8, 8),
        ),
    ]
    return Dashboard(
        uid="er-overview",
        title="Overview",
        why="Is the platform well, and what is going on right now?",
        refresh="5s",
        since="now-15m",
        rows=[
            ("Is it well?", status),
            ("Requests", red),
            ("Business, right now", business),
            ("Dependencies and resources", resources),
            (
                "Newest errors",
                [
                    logs(
                        "Errors and refusals",
                        "Lines of kind error and security. Open one for its trace.",
                        '{log_type=~"error|security", service=~"$service"}',
                        no_data="no line in this time",
                    )
                ],
            ),
        ],
    )
