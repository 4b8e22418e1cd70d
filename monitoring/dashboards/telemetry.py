"""Health of the telemetry itself: whether what the other dashboards show can be trusted."""

from __future__ import annotations

from monitoring import alerts
from monitoring.dashboards.board import SERVICES, Dashboard
from monitoring.dashboards.panels import (
    BAD,
    GOOD,
    PLAIN,
    WARN,
    Panel,
    Query,
    lines,
    stat,
    steps,
    timed,
)

SERVICE = f"{{{SERVICES}}}"
RATE = "[$__rate_interval]"
SINK = f'{{exporter!="{alerts.OPTIONAL_EXPORTER}"}}'
UP = [timed("1", "up", GOOD), timed("0", "down", BAD)]


def _rate(metric: str, by: str, legend: str, labels: str = SERVICE) -> Query:
    return Query(f"sum by ({by}) (rate({metric}{labels}{RATE}))", legend)


def _either(metric: str, by: str, legend: str, labels: str = "") -> Query:
    """A counter of a Collector: its version decides whether the name ends in `_total`."""
    parts = [f"sum by ({by}) (rate({metric}{end}{labels}{RATE}))" for end in ("", "_total")]
    return Query(" or ".join(parts), legend)


def _scrapes() -> list[Panel]:
    samples = 'scrape_samples_post_metric_relabeling{service!=""}'
    return [
        stat(
            "Targets",
            "Whether Prometheus reaches each program. A service that is down: ServiceDown; "
            "another program: TelemetryTargetDown.",
            Query("min by (job) (up)", "{{job}}"),
            mappings=UP,
            thresholds=steps((1, GOOD), base=BAD),
            size=(24, 4),
        ),
        stat(
            "Watchdog",
            "An alert that always fires. Missing: Prometheus evaluates no rules, so nothing else "
            "would tell of a fault.",
            Query('sum(ALERTS{alertname="Watchdog",alertstate="firing"})', "watchdog"),
            mappings=[timed("1", "on watch", GOOD)],
            thresholds=steps((1, GOOD), base=BAD),
            no_data="silent",
            size=(4, 8),
        ),
        lines(
            "Scrape duration",
            "How long the slowest target of each job takes to answer; at 4 s Prometheus gives up.",
            Query("max by (job) (scrape_duration_seconds)", "{{job}}"),
            unit="s",
            size=(10, 8),
        ),
        lines(
            "Series of a service, of its budget",
            f"Samples in a scrape as a share of the {alerts.SAMPLE_LIMIT:,} beyond which "
            "Prometheus refuses the whole scrape. SeriesExplosion tells at "
            f"{alerts.SERIES_GROWTH} times the usual.",
            Query(f"max by (service) ({samples}) / {alerts.SAMPLE_LIMIT}", "{{service}}"),
            unit="percentunit",
            thresholds=steps((1, BAD)),
            size=(10, 8),
        ),
    ]


def _services() -> list[Panel]:
    return [
        lines(
            "Spans exported",
            "Spans that each service handed to the Collector, and batches that failed.",
            _rate("telemetry_spans_exported_total", "service, outcome", "{{service}} {{outcome}}"),
            unit="cps",
            size=(8, 8),
        ),
        lines(
            "Lost in the services",
            "Spans and log lines dropped because a queue was full, errors inside the telemetry. "
            "Anything above 0 is TelemetryDrops or LogIngestion; no request felt it.",
            _rate("telemetry_spans_dropped_total", "service", "{{service}} spans"),
            _rate("telemetry_log_lines_dropped_total", "service", "{{service}} lines"),
            _rate("telemetry_errors_total", "service", "{{service}} errors"),
            unit="cps",
            size=(8, 8),
        ),
        lines(
            "Waiting in the services",
            "Spans waiting as a share of the queue, and log lines waiting. A queue that fills: "
            "the Collector, or whatever reads the output, is too slow or away.",
            Query(
                f"max by (service) (telemetry_span_queue_depth{SERVICE}) / {alerts.SPAN_QUEUE}",
                "{{service}} spans, of the queue",
            ),
            Query(f"max by (service) (telemetry_log_queue_depth{SERVICE})", "{{service}} lines"),
            overrides=[
                {
                    "matcher": {"id": "byRegexp", "options": "/of the queue/"},
                    "properties": [{"id": "unit", "value": "percentunit"}],
                }
            ],
            size=(8, 8),
        ),
        lines(
            "Log lines written",
            "Lines that each service wrote, by kind.",
            _rate("telemetry_log_lines_total", "service, log_type", "{{service}} {{log_type}}"),
            unit="cps",
            stacked=True,
            size=(24, 7),
        ),
    ]


def _collector() -> list[Panel]:
    return [
        lines(
            "Spans in and out",
            "Spans that the Collector and Jaeger took and passed on. Fewer go out than come in "
            "when tail sampling leaves out some.",
            _either("otelcol_receiver_accepted_spans", "job", "{{job}} in"),
            _either("otelcol_exporter_sent_spans", "job, exporter", "{{job}} out, {{exporter}}"),
            unit="cps",
            size=(8, 8),
        ),
        lines(
            "Spans refused or lost",
            "Spans that could not be taken, passed on or queued. The console is left out: it is a "
            "view that may lose some.",
            _either("otelcol_receiver_refused_spans", "job", "{{job}} refused"),
            _either("otelcol_receiver_failed_spans", "job", "{{job}} failed"),
            _either("otelcol_exporter_send_failed_spans", "job", "{{job}} not sent", SINK),
            _either("otelcol_exporter_enqueue_failed_spans", "job", "{{job}} not queued", SINK),
            unit="cps",
            no_data="none was lost",
            size=(8, 8),
        ),
        lines(
            "Collector's queue, of its size",
            "Batches that wait for Jaeger, on disk. Full, the Collector refuses spans.",
            Query(
                "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
                "{{exporter}}",
            ),
            unit="percentunit",
            thresholds=steps((alerts.QUEUE_RATIO, WARN)),
            size=(8, 8),
        ),
    ]


def _loki() -> list[Panel]:
    return [
        lines(
            "Lines received by Loki",
            "Lines a second. The services write, Loki gets none: LogsSilent.",
            Query(f"sum(rate(loki_distributor_lines_received_total{RATE}))", "received"),
            unit="cps",
            size=(8, 8),
        ),
        lines(
            "Lines refused by Loki",
            "Lines a second that Loki refused, by reason, and writes its full disk refused.",
            Query(f"sum by (reason) (rate(loki_discarded_samples_total{RATE}))", "{{reason}}"),
            Query(
                f"sum(rate(loki_ingester_wal_disk_full_failures_total{RATE}))", "the disk is full"
            ),
            unit="cps",
            size=(8, 8),
        ),
        lines(
            "Bytes received by Loki",
            "What comes in, by the hours it is kept: 360 general, 720 errors, 2160 security.",
            Query(
                f"sum by (retention_hours) (rate(loki_distributor_bytes_received_total{RATE}))",
                "{{retention_hours}} h",
            ),
            unit="Bps",
            size=(8, 8),
        ),
    ]


def _rules() -> list[Panel]:
    return [
        lines(
            "Duration of the rules",
            "How long each group of rules took last. Beyond its interval (15 s or more) alerts "
            "come late.",
            Query(
                "max by (group) (label_replace(prometheus_rule_group_last_duration_seconds,"
                ' "group", "$1", "rule_group", ".*;(.*)"))',
                "{{group}}",
            ),
            unit="s",
            size=(8, 8),
        ),
        lines(
            "Rules that fail",
            "Evaluations that ended with an error, a second: RuleFailures.",
            Query(
                f"sum by (job) (rate(prometheus_rule_evaluation_failures_total{RATE}))", "{{job}}"
            ),
            unit="cps",
            thresholds=steps((0.0001, BAD), base=PLAIN),
            size=(8, 8),
        ),
        lines(
            "Series in Prometheus",
            "Series in memory, of everything. It grows with replicas and new labels.",
            Query("max(prometheus_tsdb_head_series)", "series"),
            size=(8, 8),
        ),
    ]


def telemetry() -> Dashboard:
    """Scrapes, the services' own telemetry, Collector, Loki and rules."""
    return Dashboard(
        uid="er-telemetry",
        title="Telemetry health",
        why="Can the other dashboards be trusted: does everything arrive, is anything lost?",
        rows=[
            ("Scrapes", _scrapes()),
            ("Services", _services()),
            ("Collector and Jaeger", _collector()),
            ("Loki", _loki()),
            ("Rules", _rules()),
        ],
    )
