"""The dashboard of the telemetry itself: whether the other dashboards can be trusted."""

from __future__ import annotations

from .board import Dashboard, Row
from .config import Kit, Thresholds
from .panels import BAD, GOOD, PLAIN, UP, WARN, Panel, Query, by, lines, stat, steps, timed
from .promql import highest, rate


def _either(metric: str, labels: str, legend: str, selector: str = "") -> Query:
    """A counter of the Collector; whether its name ends in `_total` depends on the version."""
    names = (metric, f"{metric}_total")
    return Query(" or ".join(rate(name, labels, selector) for name in names), legend)


def _scrapes(kit: Kit) -> list[Panel]:
    t = kit.thresholds
    samples = highest("scrape_samples_post_metric_relabeling", "service", f"{{{kit.selector}}}")
    return [
        stat(
            "Targets",
            "Whether Prometheus reaches each program. A service that is down: ServiceDown; "
            "another program: TelemetryTargetDown.",
            by("job", "min by (job) (up)"),
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
            by("job", highest("scrape_duration_seconds", "job", "")),
            unit="s",
        ),
        lines(
            "Series of a service, of its budget",
            f"Samples in a scrape as a share of the {t.sample_limit:,} beyond which "
            "Prometheus refuses the whole scrape. SeriesExplosion tells at "
            f"{t.series_growth} times the usual.",
            by("service", f"{samples} / {t.sample_limit}"),
            unit="percentunit",
            thresholds=steps((1, BAD)),
        ),
    ]


def _services(t: Thresholds) -> list[Panel]:
    exported, written = "service, outcome", "service, log_type"
    of_queue = {
        "matcher": {"id": "byRegexp", "options": "/of the queue/"},
        "properties": [{"id": "unit", "value": "percentunit"}],
    }
    return [
        lines(
            "Spans exported",
            "Spans that each service handed to the Collector, and batches that failed.",
            by(exported, rate("telemetry_spans_exported_total", exported)),
            unit="cps",
        ),
        lines(
            "Lost in the services",
            "Spans and log lines dropped because a queue was full, errors inside the telemetry. "
            "Anything above 0 is TelemetryDrops or LogIngestion; no request felt it.",
            by("service", rate("telemetry_spans_dropped_total", "service"), "spans"),
            by("service", rate("telemetry_log_lines_dropped_total", "service"), "lines"),
            by("service", rate("telemetry_errors_total", "service"), "errors"),
            unit="cps",
        ),
        lines(
            "Waiting in the services",
            "Spans waiting as a share of the queue, and log lines waiting. A queue that fills: "
            "the Collector, or whatever reads the output, is too slow or away.",
            by(
                "service",
                f"{highest('telemetry_span_queue_depth', 'service')} / {t.span_queue}",
                "spans, of the queue",
            ),
            by("service", highest("telemetry_log_queue_depth", "service"), "lines"),
            overrides=[of_queue],
        ),
        lines(
            "Log lines written",
            "Lines that each service wrote, by kind.",
            by(written, rate("telemetry_log_lines_total", written)),
            unit="cps",
            stacked=True,
            size=(24, 7),
        ),
    ]


def _collector(kit: Kit) -> list[Panel]:
    return [
        lines(
            "Spans in and out",
            "Spans that the Collector and Jaeger took and passed on. Fewer go out than come in "
            "when tail sampling leaves out some.",
            _either("otelcol_receiver_accepted_spans", "job", "{{job}} in"),
            _either("otelcol_exporter_sent_spans", "job, exporter", "{{job}} out, {{exporter}}"),
            unit="cps",
        ),
        lines(
            "Spans refused or lost",
            "Spans that could not be taken, passed on or queued. The console is left out: it is a "
            "view that may lose some.",
            _either("otelcol_receiver_refused_spans", "job", "{{job}} refused"),
            _either("otelcol_receiver_failed_spans", "job", "{{job}} failed"),
            _either("otelcol_exporter_send_failed_spans", "job", "{{job}} not sent", kit.sinks),
            _either(
                "otelcol_exporter_enqueue_failed_spans", "job", "{{job}} not queued", kit.sinks
            ),
            unit="cps",
            no_data="none was lost",
        ),
        lines(
            "Collector's queue, of its size",
            "Batches that wait for Jaeger, on disk. Full, the Collector refuses spans.",
            by(
                "exporter",
                "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
            ),
            unit="percentunit",
            thresholds=steps((kit.thresholds.queue_ratio, WARN)),
        ),
    ]


def _loki(kit: Kit) -> list[Panel]:
    return [
        lines(
            "Lines received by Loki",
            "Lines a second. The services write, Loki gets none: LogsSilent.",
            Query(rate("loki_distributor_lines_received_total", labels=""), "received"),
            unit="cps",
        ),
        lines(
            "Lines refused by Loki",
            "Lines a second that Loki refused, by reason, and writes its full disk refused.",
            by("reason", rate("loki_discarded_samples_total", "reason", "")),
            Query(
                rate("loki_ingester_wal_disk_full_failures_total", labels=""), "the disk is full"
            ),
            unit="cps",
        ),
        lines(
            "Bytes received by Loki",
            f"What comes in, by the hours it is kept: {kit.kept('{hours} {kind}')}.",
            by(
                "retention_hours",
                rate("loki_distributor_bytes_received_total", "retention_hours", ""),
                "h",
            ),
            unit="Bps",
        ),
    ]


def _rules() -> list[Panel]:
    named = (
        "label_replace(prometheus_rule_group_last_duration_seconds,"
        ' "group", "$1", "rule_group", ".*;(.*)")'
    )
    return [
        lines(
            "Duration of the rules",
            "How long each group of rules took last. Beyond its interval (15 s or more) alerts "
            "come late.",
            by("group", f"max by (group) ({named})"),
            unit="s",
        ),
        lines(
            "Rules that fail",
            "Evaluations that ended with an error, a second: RuleFailures.",
            by("job", rate("prometheus_rule_evaluation_failures_total", "job", "")),
            unit="cps",
            thresholds=steps((0.0001, BAD), base=PLAIN),
        ),
        lines(
            "Series in Prometheus",
            "Series in memory, of everything. It grows with replicas and new labels.",
            Query("max(prometheus_tsdb_head_series)", "series"),
        ),
    ]


def telemetry(kit: Kit) -> Dashboard:
    """The dashboard: scrapes, the services' own telemetry, Collector, Loki and rules."""
    return Dashboard(
        kit,
        "telemetry",
        title="Telemetry health",
        why="Can the other dashboards be trusted: does everything arrive, is anything lost?",
        rows=[
            Row("Scrapes", _scrapes(kit), (10, 8)),
            Row("Services", _services(kit.thresholds), (8, 8)),
            *(
                [Row("Collector and Jaeger", _collector(kit), (8, 8))]
                if "collector" in kit.parts
                else []
            ),
            *([Row("Loki", _loki(kit), (8, 8))] if "loki" in kit.parts else []),
            Row("Rules", _rules(), (8, 8)),
        ],
    )
