"""The dashboard of the telemetry itself: whether the other dashboards can be trusted."""

from .board import Dashboard, Row
from .config import Kit
from .panels import GOOD, ONE_IS_GOOD, PER_SECOND, UP, Panel, Query, by, lines, stat, timed
from .promql import SERVICE, highest, rate, where


def _of_collector(what: str, labels: str, legend: str, selector: str = "") -> Query:
    """A counter of the Collector; whether its name ends in `_total` depends on the version."""
    names = (f"otelcol_{what}_spans", f"otelcol_{what}_spans_total")
    return Query(" or ".join(rate(name, labels, selector) for name in names), legend)


def _arrives(kit: Kit) -> list[Panel]:
    around = [
        _of_collector("receiver_accepted", "job", "{{job}} in"),
        _of_collector("exporter_sent", "job, exporter", "{{job}} out, {{exporter}}"),
    ]
    received = Query(rate("loki_distributor_lines_received_total", labels=""), "received by Loki")
    sent = rate("telemetry_spans_exported_total", labels=where('outcome="success"'))
    return [
        stat(
            "Targets",
            "Whether Prometheus reaches each program. A service that is down: ServiceDown; "
            "another program: TelemetryTargetDown.",
            by("job", "min by (job) (up)"), mappings=UP, thresholds=ONE_IS_GOOD, size=(20, 4),
        ),
        stat(
            "Watchdog",
            "An alert that always fires. Missing: Prometheus evaluates no rules, so nothing else "
            "would tell of a fault.",
            Query('sum(ALERTS{alertname="Watchdog",alertstate="firing"})', "watchdog"),
            mappings=[timed("1", "on watch", GOOD)], thresholds=ONE_IS_GOOD,
            no_data="silent", text="value", size=(4, 4),
        ),
        _lost(kit),
        _queues(kit),
        lines(
            "Log lines written and received",
            "Lines a second that all services write, and that Loki gets, from other programs too. "
            "Written and not received: LogsSilent.",
            Query(rate("telemetry_log_lines_total"), "written by services"),
            *([received] if "loki" in kit.parts else []),
            unit=PER_SECOND, size=(12, 7),
        ),
        lines(
            "Spans from the services to Jaeger",
            "Spans a second. Fewer leave the Collector than come in when tail sampling leaves "
            "out some; none in while the services send: look at Lost telemetry.",
            Query(sent, "sent by services"),
            *(around if "collector" in kit.parts else []),
            unit=PER_SECOND, size=(12, 7),
        ),
    ]  # fmt: skip


def _lost(kit: Kit) -> Panel:
    """Everything that the alert TelemetryDrops looks at, but the queues."""
    failed = where('outcome="failure"')
    around = [
        _of_collector("receiver_refused", "job", "{{job}} refused"),
        _of_collector("receiver_failed", "job", "{{job}} failed"),
        _of_collector("exporter_send_failed", "job", "{{job}} not sent", kit.sinks),
        _of_collector("exporter_enqueue_failed", "job", "{{job}} not queued", kit.sinks),
    ]
    return lines(
        "Lost telemetry",
        "A second: spans and lines dropped, refused or not passed on, errors inside the telemetry. "
        "Anything above 0 is TelemetryDrops or LogIngestion; no request felt it.",
        *(
            Query(rate(metric, labels=which), legend)
            for legend, metric, which in (
                ("spans dropped", "telemetry_spans_dropped_total", SERVICE),
                ("batches failed", "telemetry_spans_exported_total", failed),
                ("lines dropped", "telemetry_log_lines_dropped_total", SERVICE),
                ("errors", "telemetry_errors_total", SERVICE),
            )
        ),
        *(around if "collector" in kit.parts else []),
        unit=PER_SECOND,
        no_data="none was lost",
    )


def _queues(kit: Kit) -> Panel:
    t = kit.thresholds
    spans, log_lines = (
        highest(f"telemetry_{what}_queue_depth", "service") for what in ("span", "log")
    )
    size = "otelcol_exporter_queue_size / otelcol_exporter_queue_capacity"
    return lines(
        "Queues, of their size",
        "What waits in the services for the Collector and to be written, and in the Collector for "
        "Jaeger. A queue that fills: what comes after it is too slow or away. Full, it drops.",
        by("service", f"{spans} / {t.span_queue}", "spans"),
        by("service", f"{log_lines} / {t.log_queue}", "lines"),
        *([by("exporter", f"max by (exporter) ({size})")] if "collector" in kit.parts else []),
        unit="percentunit", warn=t.queue_ratio,
    )  # fmt: skip


def _refused_by_loki() -> Panel:
    return lines(
        "Lines refused by Loki",
        "Lines a second that Loki refused, by reason, writes that its full disk refused, and "
        "lines that the services dropped: LogIngestion.",
        by("reason", rate("loki_discarded_samples_total", "reason", "")),
        Query(rate("loki_ingester_wal_disk_full_failures_total", labels=""), "the disk is full"),
        Query(rate("telemetry_log_lines_dropped_total"), "dropped by services"),
        unit=PER_SECOND,
    )


def _prometheus(kit: Kit) -> list[Panel]:
    t = kit.thresholds
    samples = highest("scrape_samples_post_metric_relabeling", "service", f"{{{kit.selector}}}")
    named = (
        "label_replace(prometheus_rule_group_last_duration_seconds,"
        ' "group", "$1", "rule_group", ".*;(.*)")'
    )
    return [
        lines(
            "Scrape duration",
            "How long the slowest target of each job takes to answer; at 4 s Prometheus gives up.",
            by("job", highest("scrape_duration_seconds", "job", "")),
            unit="s", bad=4, custom={"axisSoftMax": 1},
        ),
        lines(
            "Series of a service, of its budget",
            f"Samples in a scrape as a share of the {t.sample_limit:,} beyond which "
            "Prometheus refuses the whole scrape. SeriesExplosion tells at "
            f"{t.series_growth} times the usual.",
            by("service", f"{samples} / {t.sample_limit}"), unit="percentunit", bad=1,
        ),
        lines(
            "Duration of the rules",
            "How long each group of rules took last. Beyond its interval (15 s or more) alerts "
            "come late.",
            by("group", f"max by (group) ({named})"), unit="s",
        ),
        lines(
            "Rules that fail",
            "Evaluations that ended with an error, a second, of Prometheus and of Grafana: "
            "RuleFailures.",
            *(
                by("job", rate(f"{name}_rule_evaluation_failures_total", "job", ""))
                for name in ("prometheus", "grafana_alerting")
            ),
            unit=PER_SECOND,
        ),
    ]  # fmt: skip


def telemetry(kit: Kit) -> Dashboard:
    """The dashboard: scrapes, the services' own telemetry, Collector, Loki and rules."""
    loki = [Row("Loki", [_refused_by_loki()])] if "loki" in kit.parts else []
    return Dashboard(
        kit,
        "telemetry",
        title="Telemetry health",
        why="Can the other dashboards be trusted: does everything arrive, is anything lost?",
        first=_arrives(kit),
        rows=[*loki, Row("Prometheus", _prometheus(kit))],
    )
