"""The alerts of any observed service; an installation adds those of its other parts.

An expression gives a series only for what is wrong. No data counts as good, so absent data has
rules of its own. Where one alert has several causes, each series says its own in the label
`cause`, which begins with the unit of its value: "90 % of its connections are in use".
"""

from collections.abc import Iterator
from typing import Literal

from plainview.catalogue import Alert

from . import databases
from .config import Kit, Thresholds, Windows
from .promql import either

_REFUSED = "prometheus_target_scrapes_exceeded_sample_limit_total"


def _burning(
    name: str, severity: Literal["critical", "ticket"], windows: Windows, floor_rps: float
) -> Alert:
    long, short, factor, for_ = windows
    # Data of half the long window: the first minutes of a new service say nothing about hours.
    enough = {"1h": 6, "6h": 36, "1d": 144, "3d": 432}[long]
    return Alert(
        name,
        f"service:slo_burn:rate{long} > {factor} and service:slo_burn:rate{short} > {factor}"
        f" and service:slo_requests:rate{long} > {floor_rps}"
        f" and count_over_time(service:slo_requests:rate5m[{long}:5m]) >= {enough}",
        "{{ $labels.service }} spends the error budget of {{ $labels.slo }} {value:humanize} "
        f"times too fast, over {long} and {short}",
        for_, severity, ("slos",), f"Burn rate over {long} and {short}", {"window": long},
    )  # fmt: skip


def generic_alerts(kit: Kit) -> list[Alert]:
    """All alerts but those of `kit.without`, in the order of the table in the docs."""
    every = (
        *_requests(kit.thresholds),
        *_running(kit),
        *_resources(kit),
        *databases.alerts(kit),
        *_telemetry(kit),
    )
    return [alert for alert in every if alert.name not in kit.without]


def _requests(t: Thresholds) -> list[Alert]:
    return [
        Alert(
            "ApiErrorRate",
            f"service:http_request_errors:ratio_rate5m > {t.error_ratio}"
            f" and service:http_requests:rate5m > {t.floor_rps}",
            "{{ $labels.service }}: {value:humanizePercentage} of requests end in a server error",
            for_="1m", severity="critical", dashboards=("system",), panel="Error ratio by service",
        ),
        Alert(
            "ApiLatencyP95",
            f"service:http_request_duration_seconds:p95_5m > {t.latency_s}"
            f" and service:http_requests:rate5m > {t.floor_rps}",
            "{{ $labels.service }}: 5 % of requests take longer than {value:humanizeDuration}",
            dashboards=("system",), panel="Latency by service, 95 of 100",
        ),
        *(_burning("SloBurnPage", "critical", windows, t.floor_rps) for windows in t.page),
        *(_burning("SloBurnTicket", "ticket", windows, t.floor_rps) for windows in t.ticket),
    ]  # fmt: skip


def _running(kit: Kit) -> list[Alert]:
    restarts = kit.thresholds.restarts
    started = f"process_start_time_seconds{{{kit.selector}}}"
    absent = " or ".join(f'absent(up{{job="{service}"}})' for service in kit.services)
    return [
        Alert(
            "ServiceDown", f"up{{{kit.selector}}} == 0",
            "{{ $labels.service }} at {{ $labels.instance }} does not answer Prometheus",
            for_="1m", severity="critical", dashboards=("telemetry",), panel="Targets",
        ),
        Alert(
            # the DNS name of a stopped container is removed, so its target is gone, not down
            "TargetAbsent", absent, "nothing of {{ $labels.job }} is to be found",
            for_="1m", severity="critical", dashboards=("telemetry",), panel="Targets",
        ),
        Alert(
            # a target that was never up in six hours is not installed (make up-core)
            "TelemetryTargetDown",
            f"up{{{kit.around}}} == 0 and max_over_time(up{{{kit.around}}}[6h]) == 1",
            "{{ $labels.job }} at {{ $labels.instance }} does not answer Prometheus any more",
            dashboards=("telemetry",), panel="Targets",
        ),
        Alert(
            "NotReady", "service_ready == 0",  # for 2 minutes, as draining takes seconds
            "{{ $labels.service }} at {{ $labels.instance }} takes no requests",
            for_="2m", severity="critical", dashboards=("overview",), panel="Verdict",
        ),
        Alert(
            # a restarted container may be a new instance, so vanished instances count too
            "RestartLoop",
            f"(sum by (service) (changes({started}[15m]))"
            f" + count by (service) (count_over_time({started}[15m]))"
            f" - count by (service) ({started}))"
            f" / max_over_time(count by (service) ({started})[15m:15s]) > {restarts}",
            "{{ $labels.service }}: {value:humanize} restarts per replica in 15 minutes",
            for_="0s", dashboards=("overview",), panel="Restarts, last hour",
        ),
    ]  # fmt: skip


def _resources(kit: Kit) -> list[Alert]:
    t = kit.thresholds
    return [
        Alert(
            "HighMemory",
            f"process_resident_memory_bytes{{{kit.selector}}} / (container_memory_limit_bytes > 0)"
            f" > {t.memory_ratio}",
            "{{ $labels.service }} at {{ $labels.instance }} uses {value:humanizePercentage} "
            "of its memory",
            dashboards=("system",), panel="Memory of each replica, of its limit",
        ),
        Alert(
            "HighCpu",
            f"rate(process_cpu_seconds_total{{{kit.selector}}}[5m])"
            f" / (container_cpu_limit_cores > 0) > {t.cpu_ratio}",
            "{{ $labels.service }} at {{ $labels.instance }} uses {value:humanizePercentage} "
            "of its CPU",
            for_="10m", dashboards=("system",), panel="CPU of each replica, of its limit",
        ),
    ]  # fmt: skip


def _growing(metric: str, by: str = "service", selector: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{selector}[5m])) > 0"


def _of_collector(what: str, selector: str = "") -> str:
    """A counter of the Collector; whether its name ends in `_total` depends on the version."""
    name = f"otelcol_{what}_spans"
    return " or ".join(_growing(full, "job", selector) for full in (f"{name}_total", name))


def _spans_lost(kit: Kit) -> Iterator[tuple[str, str]]:
    t, sinks = kit.thresholds, kit.sinks
    failed = _growing("telemetry_spans_exported_total", selector='{outcome="failure"}')
    waiting = f"max by (service) (telemetry_span_queue_depth) / {t.span_queue} > {t.queue_ratio}"
    dropped = _growing("telemetry_spans_dropped_total")
    yield dropped, "spans a second are dropped, its queue is full"
    yield failed, "spans a second cannot be sent"
    yield _growing("telemetry_errors_total"), "errors a second inside its telemetry"
    yield f"100 * ({waiting})", "% of its queue of spans is full"
    if "collector" not in kit.parts:
        return
    size = (
        f"max by (job) (otelcol_exporter_queue_size{sinks} / otelcol_exporter_queue_capacity)"
        f" > {t.queue_ratio}"
    )
    overflow = _of_collector("exporter_enqueue_failed", sinks)
    yield _of_collector("receiver_refused"), "spans a second are refused"
    yield _of_collector("receiver_failed"), "spans a second cannot be read"
    yield _of_collector("exporter_send_failed", sinks), "spans a second cannot be delivered"
    yield overflow, "spans a second find no place in its queue"
    yield f"100 * ({size})", "% of its queue is full"


def _lines_lost(kit: Kit) -> Iterator[tuple[str, str]]:
    if "loki" in kit.parts:
        # "too old" is left out: a restarted Alloy sends old lines again
        new = '{reason!~"too_far_behind|greater_than_max_sample_age"}'
        full = _growing("loki_ingester_wal_disk_full_failures_total", "job")
        yield _growing("loki_discarded_samples_total", "job", new), "lines a second are refused"
        yield full, "writes a second fail, its disk is full"
    dropped = _growing("telemetry_log_lines_dropped_total")
    yield dropped, "lines a second are dropped, its queue is full"


def _too_many_series(kit: Kit) -> Iterator[tuple[str, str]]:
    t = kit.thresholds
    samples = f"scrape_samples_post_metric_relabeling{{{kit.selector}}}"
    usual = f"max by (service) (avg_over_time({samples}[6h] offset 30m))"
    yield (
        f"max by (service) ({samples}) > {t.series_growth} * clamp_min({usual}, {t.series_base})",
        f"of a scrape, more than {t.series_growth} times as many as usual",
    )
    yield (
        f"sum by (job) (increase({_REFUSED}[10m])) > 0",
        "scrapes of 10 minutes were over the limit, and are lost",
    )


def _telemetry(kit: Kit) -> list[Alert]:
    silent = Alert(
        # an idle platform writes no lines; only lines written but not received are an error
        "LogsSilent",
        "sum(rate(telemetry_log_lines_total[10m])) > 0"
        ' and on () max_over_time(up{job="loki"}[6h]) == 1'
        " unless on () sum(rate(loki_distributor_lines_received_total[10m])) > 0",
        "services write {value:%.3g} log lines a second, Loki got none for 10 minutes",
        dashboards=("telemetry",), panel="Log lines written and received",
    )  # fmt: skip
    return [
        Alert(
            "TelemetryDrops", either(_spans_lost(kit)),
            "{{ or $labels.service $labels.job }} loses traces, or soon will: "
            "{value:%.3g} {{ $labels.cause }}",
            dashboards=("telemetry",), panel="Lost telemetry",
        ),
        Alert(
            "LogIngestion", either(_lines_lost(kit)),
            "{{ or $labels.service $labels.job }} loses log lines: "
            "{value:%.3g} {{ $labels.cause }}",
            dashboards=("telemetry",),
            panel="Lines refused by Loki" if "loki" in kit.parts else "Lost telemetry",
        ),
        *([silent] if "loki" in kit.parts else []),
        Alert(
            "SeriesExplosion", either(_too_many_series(kit)),
            "{{ or $labels.service $labels.job }} has too many series: "
            "{value:humanize} {{ $labels.cause }}",
            for_="10m", dashboards=("telemetry",), panel="Series of a service, of its budget",
        ),
        Alert(
            "RuleFailures",
            " or ".join(
                _growing(f"{who}_rule_evaluation_failures_total", "job")
                for who in ("prometheus", "grafana_alerting")
            ),
            "{{ $labels.job }} cannot evaluate rules: alerts may be missing",
            severity="critical", dashboards=("telemetry",), panel="Rules that fail",
        ),
        Alert(
            "Watchdog", "vector(1)",
            "always fires: when it stops arriving, alerts do not arrive either",
            for_="0s", severity="none",
        ),
    ]  # fmt: skip
